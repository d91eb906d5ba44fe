"""--help shows what most commands need in 80 columns, --helpfull everything, and neither needs TensorFlow."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tf_simclr import __version__
from tf_simclr.cli import flags
from tf_simclr.cli.help_pages import HELP, Help, help_text
from tf_simclr.cli.main import TASKS, main

ROOT = Path(__file__).parents[2]
MOST = 20
EVERY_PAGE = """
import contextlib, io, json, sys
from tf_simclr.cli.main import TASKS, main

pages = {}
for task in TASKS:
    for flag in ("--help", "--helpfull"):
        with contextlib.redirect_stdout(io.StringIO()) as page:
            assert main([task, flag]) == 0
        pages[task + flag] = page.getvalue()
with contextlib.redirect_stdout(io.StringIO()) as page:
    assert main([]) == 2 and main(["--help"]) == 0
pages["tasks"] = page.getvalue()
print(json.dumps([pages, "tensorflow" in sys.modules]))
"""
TASK_NAMES = pytest.mark.parametrize("task", TASKS)


@pytest.fixture(scope="module")
def pages():
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    found = subprocess.run([sys.executable, "-c", EVERY_PAGE], env=environment, capture_output=True, check=True)
    read, tensorflow = json.loads(found.stdout)
    assert not tensorflow
    return read


def groups_of(task):
    return importlib.import_module(TASKS[task]).FLAG_GROUPS


def names_in(page):
    return re.findall(r"^  --(?:\[no\])?(\w+)", page, re.M)


@TASK_NAMES
def test_help_is_short_and_fits_80_columns(pages, task):
    short, full = pages[f"{task}--help"], pages[f"{task}--helpfull"]
    assert max(len(line) for line in (short + full).splitlines()) <= 80
    assert len(names_in(short)) <= MOST, "list the flags that are used most in HELP"
    assert set(names_in(short)) <= set(names_in(full))
    assert short.startswith("usage: python ") and "\nExample" in short
    assert f"--helpfull shows all {len(names_in(full))} flags" in short


@TASK_NAMES
def test_helpfull_shows_every_flag_once_with_its_whole_text(pages, task):
    page = pages[f"{task}--helpfull"]
    fields = [field for group in groups_of(task) for field in group.fields]
    assert names_in(page) == [*(field.name for field in fields), "flagfile", *flags.IGNORED_FLAGS]
    shown = " ".join(page.split())
    texts = {field.name: field.metadata["help"] for field in fields}
    if HELP[task].directory:
        texts["model_dir"] = HELP[task].directory
    assert not [name for name, text in texts.items() if " ".join(text.split()) not in shown]


def test_no_default_is_shown_that_a_task_does_not_take(pages):
    assert "Directory of the stages; omitted: runs/RECIPE." in pages["recipe--help"]
    assert "--image_size=N" in pages["study--help"] and "(default: 224)" not in pages["study--helpfull"]
    assert "(default: 224)" in pages["train--help"]


def test_what_stands_in_brackets_stays_together():
    page = help_text("plan", f"usage: {'x' * 62} [flags of run.py]", groups_of("plan"), full=False)
    assert page.splitlines()[1] == "       [flags of run.py]"


@pytest.mark.parametrize("words", [["--version"], ["search", "--version"]])
def test_the_version_is_a_line(words, capsys):
    assert main(words) == 0 and capsys.readouterr().out == f"tf_simclr {__version__}\n"


def test_a_mistyped_task_names_the_one_that_was_meant(capsys):
    assert main(["serch"]) == 2
    assert "Received: serch. Did you mean: search?" in capsys.readouterr().err


@TASK_NAMES
def test_the_examples_are_command_lines_of_the_task(pages, task):
    pasted = pages[f"{task}--help"].replace("\\\n", " ")
    for example in HELP[task].examples:
        assert shlex.split(example) in [
            shlex.split(line) for line in pasted.splitlines() if line.startswith("  python")
        ]
        words = shlex.split(example)
        start = ["python", "run.py"] if task == "train" else ["python", "-m", "tf_simclr", task]
        assert words[: len(start)] == start
        module = importlib.import_module(TASKS[task])
        flags.parse(words[len(start) :], module.FLAG_GROUPS, getattr(module, "WORDS", ()))


def test_every_task_is_listed(pages):
    assert re.findall(r"^  (\w+) ", pages["tasks"], re.M) == [*TASKS] * 2
    assert max(map(len, pages["tasks"].splitlines())) <= 80


def test_defaults_and_first_sentences():
    groups = groups_of("train")
    short, full = (" ".join(help_text("train", "usage: x", groups, full=full).split()) for full in (False, True))
    assert "--temperature=NUMBER Temperature tau of the loss. (default: 0.1)" in short
    assert "or a TFDS name such as cifar10, imagenet2012 or name/config. --image_size" in short
    for changed in ("our default; the authors': imagenet2012", "our default is False; the authors' is True"):
        assert changed in full
    assert "--weight_decay=NUMBER Weight decay. (default: 1e-06)" in full and "--[no]use_blur" in full


def test_a_task_without_an_entry_shows_everything(monkeypatch):
    monkeypatch.setitem(HELP, "search", Help(()))
    page = help_text("search", "usage: x", groups_of("search"), full=False)
    assert len(names_in(page)) == sum(len(group.fields) for group in groups_of("search")) and "Example" not in page


def test_a_reader_may_leave_before_the_end():
    """As `| head -1` does."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "tf_simclr", "train", "--helpfull"]
    done = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert done.returncode == 0 and done.stderr == b""
