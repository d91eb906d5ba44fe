"""Folders and files whose names would colour a terminal, begin a line of a log, or run a script in a page."""

from __future__ import annotations

import contextlib
import csv
import html.parser
import io
import os
import re
from pathlib import Path

import pytest

from tests.data.folders import make_images
from tests.networks import small_networks
from tf_simclr.cli.main import run_task
from tf_simclr.evaluate import load
from tf_simclr.train import build

pytestmark = pytest.mark.whole_runs
RED, SCRIPT, LINES, MARKUP = "\x1b[31mred\x9b0m", "<script>alert(1)<|script>", "a\nerror: b\r", "[red]$x^{$ |`*_\u202e"
FILE = '\x1b]0;title\x07"><img src=x onerror=alert(1)>=1+1'
ROOT_NAME = "\x1b[2J<b>data\n```\n# x"
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")  # all but the end of a line


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images") / ROOT_NAME
    names = [
        f"{name}/{FILE.replace('/', '|')}{number}.png" for name in (RED, SCRIPT, LINES, MARKUP) for number in range(12)
    ]
    return make_images(root, names)


def run(task, flags):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_task(task, flags)
    return code, out.getvalue(), err.getvalue()


def assert_harmless(text, names=True):
    assert CONTROL.search(text) is None, repr(CONTROL.search(text))
    assert not [line for line in text.splitlines() if line.startswith("error: b")]
    assert not names or "x1b" in text  # the names are there, as text


@pytest.fixture(scope="module")
def outputs(folder, tmp_path_factory):
    """What a training and an evaluation print, and the directories that they write."""
    place = tmp_path_factory.mktemp("runs") / "\x1b[1mrun"
    with pytest.MonkeyPatch.context() as patch:
        for module in (build, load):
            patch.setattr(module, "build_networks", small_networks)
        flags = [f"--data_dir={folder}", "--image_size=16", "--train_batch_size=16", "--eval_batch_size=4"]
        flags += ["--train_steps=1", "--warmup_epochs=0", "--mode=train_then_eval", f"--model_dir={place}"]
        code, trained, errors = run("train", [*flags, "--width_multiplier=1", "--use_blur=False"])
        assert code == 0, errors
        report = place.parent / "report"
        knn = [f"--checkpoint={place}", "--protocols=knn", f"--model_dir={report}", "--eval_batch_size=4"]
        code, evaluated, errors = run("evaluate", knn)
        assert code == 0, errors
    return trained, evaluated, place, report


def test_what_is_printed(outputs):
    trained, evaluated, _, _ = outputs
    assert_harmless(trained)
    assert_harmless(evaluated)


def test_json_and_csv(outputs):
    _, _, place, report = outputs
    for path in [*place.rglob("*.json"), *report.rglob("*.json")]:
        assert_harmless(path.read_text(), names=False)
    tables = list(report.rglob("predictions/*.csv"))
    assert tables
    for path in tables:
        assert_harmless(path.read_bytes().decode())
        rows = list(csv.reader(io.StringIO(path.read_text())))
        assert len({len(row) for row in rows}) == 1  # no name has begun a column or a row


def test_markdown(outputs):
    text = (outputs[3] / "report.md").read_text()
    assert_harmless(text)
    without_code = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    assert re.search(r"(?<!\\)<(script|img|b)", without_code) is None
    assert sum(line.startswith("```") for line in text.splitlines()) == 2
    columns = {
        len(re.split(r"(?<!\\)\|", line)) for line in text.split("## Classes")[1].splitlines() if line[:1] == "|"
    }
    assert len(columns) == 1


def test_errors(folder, tmp_path):
    broken = Path(str(folder)) / RED / f"{FILE.replace('/', '|')}broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nno image")
    try:
        small = ["--image_size=16", "--train_batch_size=16"]
        code, _, errors = run("train", [f"--data_dir={folder}", f"--model_dir={tmp_path / 'run'}", *small])
    finally:
        os.remove(broken)
    assert code == 2 and errors.count("\n") == 1, errors
    assert_harmless(errors)
    code, _, errors = run("train", [f"--data_dir={folder}/\x1b[31m\ngone", f"--model_dir={tmp_path / 'run'}"])
    assert code == 2 and errors.count("\n") == 1, errors
    assert_harmless(errors)


class Tags(html.parser.HTMLParser):
    """The elements of a page and their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found, self.attributes = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_the_page_of_a_study(folder, tmp_path):
    flags = ["--study=figure6", "--scale=tiny", f"--data_dir={folder}", f"--model_dir={tmp_path / 'study'}"]
    code, printed, errors = run("study", flags)
    assert code == 0, errors + printed
    assert_harmless(printed)
    page = (tmp_path / "study" / "index.html").read_text()
    assert_harmless(page)
    tags = Tags(page)
    assert "table" in tags.found and not tags.found & {"script", "b"}
    assert not [name for name in tags.attributes if name.startswith("on")]
    assert_harmless((tmp_path / "study" / "README.md").read_text())
    assert_harmless((tmp_path / "study" / "numbers.csv").read_text(), names=False)
