"""The wheel holds all that the program needs: installed alone, it trains the quickstart from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv

import pytest

from tests.docs.test_docs import copy_checkout

pytestmark = pytest.mark.whole_runs


def checked(*command, cwd):
    """Runs a command; its output is shown where it fails."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The bin folder of an environment with the wheel; what it depends on comes from the environment of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    checkout = copy_checkout(folder / "checkout")
    options = ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip"]
    checked(*pip, "wheel", checkout, "--no-build-isolation", "--wheel-dir", folder / "wheels", *options, cwd=folder)
    venv.create(folder / "venv", with_pip=False)
    binaries = folder / "venv" / "bin"
    [wheel] = (folder / "wheels").glob("*.whl")
    checked(*pip, "--python", binaries / "python", "install", wheel, *options, cwd=folder)
    [packages] = (folder / "venv" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return binaries


def test_the_quickstart_trains_from_an_empty_folder(installed, tmp_path):
    flags = ["--train_steps=2", "--mode=train", "--train_batch_size=16", "--model_dir=run"]
    output = checked(installed / "tf-simclr", "train", *flags, cwd=tmp_path)
    assert "flags not given come from configs/quickstart.cfg" in output
    assert (tmp_path / "run" / "ckpt-2.index").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_recipes_modules_and_the_public_names_are_there(installed, tmp_path):
    code = (
        "import sys, tf_simclr; assert 'tensorflow' not in sys.modules; "
        "from tf_simclr.cli import flags; from tf_simclr.cli.completion import ALL_FLAG_GROUPS; "
        "assert flags.parse(['--flagfile=configs/tiny.cfg'], ALL_FLAG_GROUPS).given; "
        "from tf_simclr.cli.recipe import read_recipe; assert read_recipe('simclr_v2').stages; "
        "import data_util, lars_optimizer, model_util; "
        "from importlib import resources; pages = resources.files('tf_simclr') / 'studies' / 'templates'; "
        "assert all((pages / name).is_file() for name in ('page.html', 'page.md')); "
        "assert all(getattr(tf_simclr, name) is not None for name in tf_simclr.PUBLIC); "
        "print([m.__file__ for m in (tf_simclr, data_util, lars_optimizer, model_util)])"
    )
    output = checked(installed / "python", "-c", code, cwd=tmp_path)
    assert output.count(str(installed.parent)) == 4
