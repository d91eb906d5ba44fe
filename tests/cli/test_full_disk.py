"""A disk that is full while `evaluate`, `study` and `convert` write: one line, nothing half, and a way on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.limited import limited_run
from tests.networks import write_run
from tests.weights.foreign_files import Spec, write_tf1
from tf_simclr.cli.failures import EXIT_NO_FILE
from tf_simclr.cli.main import run_task

pytestmark = pytest.mark.whole_runs
RUN = {"dataset": "shapes", "image_size": 16, "resnet_depth": 10, "width_multiplier": 0.0625, "train_batch_size": 16}
SPLITS = ("--train_split=train[:48]", "--eval_split=test[:22]")


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"), RUN, 3)


def require_one_line(found, directory):
    """The command ended for want of room, with a line that names the place, and left no half of a file."""
    assert found.returncode == EXIT_NO_FILE, found.stdout + found.stderr
    # TensorFlow's own lines may have "error: " in the middle.
    errors = [line for line in found.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in found.stderr
    assert ("Free some space" in found.stderr or "Make room" in found.stderr) and str(directory) in found.stderr
    assert not list(Path(directory).rglob("*.tmp"))


@pytest.mark.parametrize("size", [50, 2_000])
def test_in_an_evaluation(run_directory, tmp_path, size):
    """At the lock, and at the first result."""
    report = tmp_path / "report"
    flags = [f"--checkpoint={run_directory}", "--protocols=knn", "--eval_batch_size=8", *SPLITS]
    flags.append(f"--model_dir={report}")
    require_one_line(limited_run("evaluate", size, flags), report)
    assert not (report / "report.json").exists()
    if size > 50:
        assert run_task("evaluate", flags) == 0 and (report / "report.json").is_file()


@pytest.mark.parametrize("size", [50, 20_000])
def test_in_a_study(tmp_path, size):
    """At the lock, and at the first checkpoint of a cell."""
    directory = tmp_path / "study"
    flags = ["--study=figure5", "--cells=crop", "--scale=tiny", *SPLITS, f"--model_dir={directory}"]
    require_one_line(limited_run("study", size, flags), directory)
    assert not list(directory.glob("cells/*"))


@pytest.mark.parametrize("to", ["run", "saved_model"])
def test_in_a_conversion(run_directory, tmp_path, to):
    """To a run of ours, from the authors' files, and from a run of ours."""
    source = run_directory
    if to == "run":
        source = tmp_path / "theirs"
        source.mkdir()
        write_tf1(source / "model.ckpt-1", Spec(18, width=4, head=2))
    output = tmp_path / "written" / "out"
    found = limited_run("convert", 10_000, [f"--checkpoint={source}", f"--output={output}", f"--to={to}"])
    require_one_line(found, output)
    assert os.listdir(output.parent) == []
