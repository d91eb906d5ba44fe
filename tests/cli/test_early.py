"""Mistakes that need no TensorFlow are found before it is imported, and a folder is listed once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.folders import class_folders, make_images
from tests.networks import write_run
from tf_simclr.cli.main import run_task
from tf_simclr.config import build_config
from tf_simclr.data import layout, scan
from tf_simclr.errors import InputError
from tf_simclr.train.build import build_data
from tf_simclr.train.checkpoints import resolve

ROOT = Path(__file__).parents[2]
NO_CHECKPOINT = "where none was found. Check the path"
NO_FOLDER = "There is no such folder: check --data_dir"
NO_LABELS = "An evaluation needs labels. Received: folder"
# Words of a command, and of its error.
MISTAKES = {
    "no folder": ("train --dataset=folder --data_dir=nowhere", NO_FOLDER),
    "a file for a folder": ("train --data_dir=flat/a.png", "--data_dir must be a folder of images. Received"),
    "no images": ("train --data_dir=empty", "There is no readable image"),
    "an empty class": ("train --data_dir=hollow", "The class 'b' has no readable image"),
    "no labels to fine-tune": ("train --data_dir=flat --train_mode=finetune", "`train_mode` must be pretrain"),
    "no labels for a baseline": ("train --data_dir=flat --untrained_baseline", "`untrained_baseline` needs one label"),
    "no split": ("train --data_dir=splits --mode=train_then_eval --eval_split=test", "has no split 'test'; it has: tr"),
    "no split of shapes": ("train --dataset=shapes --train_split=all", "has the splits: train, validation, test"),
    "no table": ("train --data_dir=classes --labels=labels.csv", "`labels` must"),
    "a batch of shapes": ("train --dataset=shapes --train_split=train[:64] --train_batch_size=65", "at most the 64 im"),
    "a batch of a folder": ("train --data_dir=classes --train_batch_size=39", "at most the 38 images"),
    "no checkpoint": ("train --dataset=shapes --train_mode=finetune --checkpoint=nowhere", NO_CHECKPOINT),
    "an empty checkpoint": ("train --dataset=shapes --train_mode=finetune --checkpoint=empty", NO_CHECKPOINT),
    "following: no folder": ("train --mode=eval --model_dir=run --data_dir=nowhere", NO_FOLDER),
    "following: no split": ("train --mode=eval --model_dir=run --eval_split=all", "has the splits: train, validation"),
    "evaluate: no checkpoint": ("evaluate --checkpoint=nowhere", NO_CHECKPOINT),
    "evaluate: an empty checkpoint": ("evaluate --checkpoint=empty", NO_CHECKPOINT),
    "evaluate: no folder": ("evaluate --checkpoint=run --data_dir=nowhere", NO_FOLDER),
    "evaluate: no labels": ("evaluate --checkpoint=run --data_dir=flat", NO_LABELS),
    "evaluate: no split": ("evaluate --checkpoint=run --eval_split=all", "has the splits: train, validation, test"),
    "convert: no checkpoint": ("convert --checkpoint=nowhere --output=out", NO_CHECKPOINT),
    "study: no folder": ("study --study=table4 --scale=tiny --data_dir=nowhere", NO_FOLDER),
    "study: no labels": ("study --study=table4 --scale=tiny --data_dir=flat", NO_LABELS),
    "study: a batch": (
        "study --study=table4 --scale=small --train_split=train[:99]",
        "`train_batch_size` must be",
    ),
    "study: no cell": ("study --study=table4 --scale=tiny --cells=none", "`cells` must be one of"),
    "study: an empty data set": (
        "study --study=table8 --scale=tiny --study_datasets=empty",
        "There is no readable ima",
    ),
    "study: no data set": ("study --study=table8 --scale=tiny", "`study_datasets` must name the data sets"),
    "compare: no evaluation": ("compare run run", "`run_a` must be the directory of an evaluation"),
}
EACH = """
import contextlib, io, json, sys
from tf_simclr.cli.main import main

found = {}
for name, words in json.load(sys.stdin).items():
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        code = main(words.split())
    found[name] = code, errors.getvalue(), "tensorflow" in sys.modules
print(json.dumps(found))
"""


def start(*words, cwd, **options):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"}
    return subprocess.Popen([sys.executable, *words], cwd=cwd, env=environment, text=True, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("early")
    (root / "empty").mkdir()
    make_images(root / "flat", ["a.png", "b.png"])
    make_images(root / "hollow", ["a/a.png"])
    (root / "hollow" / "b").mkdir()
    make_images(root / "splits", class_folders({"train/a": 20, "train/b": 20}))
    make_images(root / "classes", class_folders({"a": 20, "b": 20}))
    (root / "run").mkdir()
    write_run(root / "run", {"dataset": "shapes", "image_size": 16, "resnet_depth": 10, "width_multiplier": 0.0625}, 3)
    return root


@pytest.fixture(scope="module")
def answers(folder):
    """Of a process that makes all mistakes, one after the other."""
    before = sorted(os.listdir(folder))
    process = start("-c", EACH, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    found, _ = process.communicate(json.dumps({name: words for name, (words, _) in MISTAKES.items()}), timeout=120)
    assert sorted(os.listdir(folder)) == before, f"something was written: {found}"
    return json.loads(found)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_a_line_before_tensorflow_is_imported(answers, name):
    code, errors, imported = answers[name]
    assert code == 2 and errors.startswith("error: ") and errors.count("\n") == 1
    assert MISTAKES[name][1] in errors and not imported


def test_the_library_says_the_same(answers, folder, monkeypatch):
    """`answers` are of the command line's look before TensorFlow; these are of who opens the data."""
    monkeypatch.chdir(folder)
    for name, call in {
        "no folder": lambda: build_data(build_config({"dataset": "folder", "data_dir": "nowhere"})),
        "no images": lambda: build_data(build_config({"dataset": "folder", "data_dir": "empty"})),
        "no split of shapes": lambda: build_data(build_config({"dataset": "shapes", "train_split": "all"})),
        "no checkpoint": lambda: resolve("nowhere"),
    }.items():
        with pytest.raises(InputError) as caught:
            call()
        assert answers[name][1] == f"error: {caught.value}\n"


def listings(monkeypatch):
    """The folders whose files are looked at, as a run goes on."""
    seen, real = [], scan.find_images

    def noted(folder, **options):
        seen.append(os.path.basename(folder))
        return real(folder, **options)

    monkeypatch.setattr(layout, "find_images", noted)
    return seen


TINY = ("--image_size=16", "--resnet_depth=10", "--width_multiplier=0.0625", "--use_blur=False", "--warmup_epochs=0")
STEP = (*TINY, "--train_batch_size=16", "--train_steps=1", "--proj_out_dim=8")


@pytest.mark.whole_runs
def test_a_folder_is_listed_once(folder, tmp_path, monkeypatch, capsys):
    seen = listings(monkeypatch)
    data = f"--data_dir={folder / 'classes'}"
    assert run_task("train", [data, *STEP, f"--model_dir={tmp_path / 'run'}"]) == 0, capsys.readouterr().err
    assert seen == ["classes", "a", "b"]
    seen.clear()
    flags = ["--protocols=knn", "--eval_batch_size=8", f"--model_dir={tmp_path / 'report'}"]
    assert run_task("evaluate", [f"--checkpoint={tmp_path / 'run'}", *flags]) == 0, capsys.readouterr().err
    assert seen == ["classes", "a", "b"]
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert sum(split["images"] for split in report["subject"]["splits"]) == 40


BUSY = """
import sys, threading
from tf_simclr.cli import main
from tf_simclr.data import layout

def endless(folder, **options):
    print("listing", flush=True)
    threading.Event().wait()

layout.find_images = endless
sys.exit(main.main(["train", "--data_dir=classes"]))
"""


def test_sigterm_while_a_folder_is_listed(folder):
    process = start("-c", BUSY, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert any("listing" in line for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143 and errors == "SIGTERM received: ended; what was saved before is kept\n"


@pytest.mark.parametrize("words", [["run.py"], ["-m", "tf_simclr", "search"]])
def test_an_environment_that_is_not_activated_is_one_line(words):
    """-S is Python without installed packages."""
    done = subprocess.run([sys.executable, "-S", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    [line] = done.stderr.splitlines()
    assert "absl" in line and "source .venv/bin/activate" in line
