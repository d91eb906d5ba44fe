"""The documentation is held to the code: its runnable blocks run, its links lead somewhere, its flags exist."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.interpreter import Interpreter
from tf_simclr.cli.flags import build_parser
from tf_simclr.cli.main import TASKS

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    p
    for p in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        ROOT / "SECURITY.md",
        *ROOT.glob("docs/**/*.md"),
    )
)
CONFIGS = sorted(ROOT.glob("tf_simclr/configs/**/*.cfg"))
RUNNABLE = "runnable"
FEWEST_BLOCKS = 10
# Flags in the documentation that belong to other programs.
FLAGS_OF_OTHERS = {
    "build-arg": "docker build",
    "config": "gcloud",
    "dir": "saved_model_cli",
    "direct_num_workers": "Apache Beam",
    "direct_running_mode": "Apache Beam",
    "dir-mode": "kaggle",
    "display-name": "gcloud",
    "format": "git archive",
    "gpus": "docker run",
    "help": "every program",
    "helpfull": "every program of ours",
    "version": "every program of ours",
    "inputs": "saved_model_cli",
    "keep-going": "sphinx",
    "logdir": "tensorboard",
    "outdir": "saved_model_cli",
    "region": "gcloud",
    "requeue": "sbatch",
    "signature_def": "saved_model_cli",
    "strict": "twine",
    "tag_set": "saved_model_cli",
    "upgrade": "pip",
}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, the other words of its info string, its first line and its text."""

    page: Path
    line: int
    language: str
    words: tuple[str, ...]
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page):
    """The fenced blocks of a page, in order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    found, start = [], None
    for number, line in enumerate(lines):
        if not line.lstrip().startswith("```"):
            continue
        assert line == line.lstrip(), f"{page.name}:{number + 1}: an indented fence; move it to the left"
        if start is None:
            start = number
            continue
        language, *words = lines[start][3:].split() or [""]
        text = "\n".join(lines[start + 1 : number]) + "\n"
        found.append(Block(page, start + 2, language, tuple(words), text))
        start = None
    assert start is None, f"{page.name}:{start + 1}: this fence is never closed"
    return found


def prose_of(page):
    """A page's text without its fenced blocks and inline code."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", text)


BLOCKS = {page: blocks_of(page) for page in PAGES}
RUNNABLE_BLOCKS = {p: [b for b in found if RUNNABLE in b.words] for p, found in BLOCKS.items()}


# ---- Blocks ----


def copy_checkout(to):
    """Copies the checkout without what .gitignore names; the .git directory itself need not exist."""
    names = [line.strip().rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    assert not any("/" in name for name in names), ".gitignore has a path; only plain names are understood here"
    shutil.copytree(ROOT, to, ignore=shutil.ignore_patterns(".git", *filter(None, names)))
    return to


def environment(folder):
    """The environment of a block: `python` is the interpreter that runs the tests, whatever its file is called."""
    folder.mkdir()
    for name in ("python", "python3"):
        launcher = folder / name
        launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        launcher.chmod(0o755)
    path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])
    # Modules must come from the copy, and one test process must not tell another what it is.
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONPATH" and not k.startswith("PYTEST_")}
    return inherited | {"PATH": path, "TF_CPP_MIN_LOG_LEVEL": "2"}


def run_bash(block, checkout, env):
    """Exit code and output of a Bash block."""
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{block.text}"],
        cwd=checkout,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def run_python(block, checkout, interpreter):
    """Exit code and output of a Python block."""
    # A file and not standard input: AutoGraph reads the source of what it translates.
    script = checkout / f"{block.page.stem}_line_{block.line}.py"
    script.write_text(block.text, encoding="utf-8")
    return interpreter.run(script, checkout)


@pytest.fixture(scope="module")
def run_block(tmp_path_factory):
    """Runs a block in the copy; a failure shows where it stands, what it is and what it printed."""
    env = environment(tmp_path_factory.mktemp("environment") / "bin")
    interpreter = Interpreter(env)

    def run(block, checkout):
        if block.language == "bash":
            code, output = run_bash(block, checkout, env)
        elif block.language == "python":
            code, output = run_python(block, checkout, interpreter)
        else:
            pytest.fail(f"{block.place}: only bash and python blocks can be runnable, not {block.language!r}")
        if code:
            pytest.fail(f"{block.place}: exit code {code}\n\n{block.text}\n---- output ----\n{output}")

    yield run
    interpreter.close()


PAGES_WITH_RUNNABLE_BLOCKS = [page for page, found in RUNNABLE_BLOCKS.items() if found]


@pytest.mark.whole_runs
@pytest.mark.parametrize("page", PAGES_WITH_RUNNABLE_BLOCKS, ids=lambda page: page.name)
def test_runnable_blocks_run(page, run_block, tmp_path):
    checkout = copy_checkout(tmp_path / "checkout")
    for block in RUNNABLE_BLOCKS[page]:
        run_block(block, checkout)


def test_there_are_blocks_to_run():
    assert sum(map(len, RUNNABLE_BLOCKS.values())) >= FEWEST_BLOCKS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_fence_is_misspelt(page):
    for block in BLOCKS[page]:
        assert block.words in ((), (RUNNABLE,)), f"{block.place}: unknown words {' '.join(block.words)!r}"


@pytest.mark.parametrize(
    ("language", "text"),
    [("bash", "false\necho never printed\n"), ("bash", "echo $NEVER_SET\n"), ("python", "print('before')\n1 / 0\n")],
)
def test_a_block_that_fails_is_a_failure_that_names_it(language, text, run_block, tmp_path):
    block = Block(tmp_path / "page.md", 7, language, (RUNNABLE,), text)
    with pytest.raises(pytest.fail.Exception, match=r"page\.md:7: exit code") as failure:
        run_block(block, tmp_path)
    shown, output = str(failure.value).split("---- output ----")
    assert text in shown and "never printed" not in output


def test_blocks_use_this_interpreter_and_the_copy(run_block, tmp_path):
    (tmp_path / "tf_simclr.py").write_text("")
    text = f"import os, sys, tf_simclr\nassert os.path.dirname(tf_simclr.__file__) == {str(tmp_path)!r}\n"
    text += f"assert sys.executable == {sys.executable!r} and os.getcwd() == {str(tmp_path)!r}\n"
    run_block(Block(tmp_path / "page.md", 1, "python", (), text), tmp_path)
    check = f"test \"$(python -c 'import sys; print(sys.executable)')\" = {sys.executable}\n"
    run_block(Block(tmp_path / "page.md", 2, "bash", (), check), tmp_path)


def test_a_python_block_sees_nothing_of_the_one_before(run_block, tmp_path):
    """Nor of its use of TensorFlow, whose devices are fixed once they are used."""
    text = """
import builtins
import tensorflow as tf
assert not hasattr(builtins, "left_behind")
builtins.left_behind = True
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
assert len(tf.config.list_logical_devices("CPU")) == 2
assert float(tf.reduce_sum(tf.matmul(tf.ones([9, 9]), tf.ones([9, 9])))) == 729
"""
    for line in (1, 20):
        run_block(Block(tmp_path / "page.md", line, "python", (), text), tmp_path)


def test_the_copy_is_a_checkout_without_its_history(tmp_path):
    copied = copy_checkout(tmp_path / "checkout")
    assert (
        (copied / "run.py").is_file()
        and (copied / "tf_simclr" / "configs").is_dir()
        and (copied / "README.md").is_file()
    )
    assert not (copied / ".git").exists() and not (copied / "runs").exists()
    assert not list(copied.rglob("__pycache__"))


# ---- Links ----


def anchors_of(page):
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ +(.+?)\s*$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links_of(page):
    """Targets of links and images that are not addresses of other sites."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose_of(page)) + re.findall(r'(?:src|href)="([^"]+)"', prose_of(page))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def test_there_are_links_to_check():
    assert sum(len(links_of(page)) for page in PAGES) >= 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_images_lead_somewhere(page):
    for link in links_of(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link} leads nowhere"
        assert not anchor or anchor in anchors_of(target), f"{page.name}: {target.name} has no heading #{anchor}"


# ---- Flags ----


def flags_of_tasks():
    """The names of all flags of all tasks; switches also with `no` before them."""
    names = set()
    for module in TASKS.values():
        parser = build_parser(importlib.import_module(module).FLAG_GROUPS)
        names |= {name for name in parser} | {f"no{name}" for name in parser if parser[name].boolean}
    return names


def flags_of_scripts():
    """The flags that the scripts beside the library define."""
    scripts = [path for folder in ("benchmarks", "tools") for path in (ROOT / folder).glob("*.py")]
    return {name for path in scripts for name in re.findall(r'add_argument\(\s*"--([\w-]+)"', path.read_text())}


def flags_named_in(path):
    """Every --flag in a file, with its line number."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        yield from ((number, name) for name in re.findall(r"(?<![\w-])--([a-z][\w-]*)", line))


def test_the_flags_of_the_program_are_found():
    assert {"temperature", "use_blur", "nouse_blur", "flagfile"} <= flags_of_tasks()
    assert {"block_rows", "check"} <= flags_of_scripts()


@pytest.mark.parametrize("path", [*PAGES, *CONFIGS], ids=lambda path: path.name)
def test_every_flag_exists(path):
    known = flags_of_tasks() | flags_of_scripts() | set(FLAGS_OF_OTHERS)
    unknown = [f"{path.name}:{number}: --{name}" for number, name in flags_named_in(path) if name not in known]
    assert not unknown, f"no such flag: {'; '.join(unknown)}"
