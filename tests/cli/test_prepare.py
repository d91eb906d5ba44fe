"""From a folder of images to a prepared one, and on to a run and an index: the commands as they are typed."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

import tf_simclr
from tests.data.folders import class_folders, make_images
from tests.limited import limited_run
from tests.networks import TINY_RUN, write_run
from tf_simclr.cli.failures import EXIT_NO_FILE
from tf_simclr.cli.main import main
from tf_simclr.data import prepare_images
from tf_simclr.index.store import open_index

TINY = ("--image_size=16", "--resnet_depth=10", "--width_multiplier=0.0625", "--train_batch_size=8")


@pytest.fixture
def folder(tmp_path):
    return make_images(tmp_path / "images", class_folders({"a": 12, "b": 10}), side=20)


@pytest.fixture
def prepare(folder, tmp_path, capsys):
    """Runs prepare into tmp_path/out; returns the exit code, and what it printed."""

    def call(*words):
        code = main(["prepare", f"--data_dir={folder}", f"--out={tmp_path / 'out'}", "--side=16", *words])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return call


def left_over(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir() if path.name not in ("images", "out"))


def test_a_run_and_an_index_of_a_prepared_folder(prepare, folder, tmp_path, capsys):
    code, printed = prepare()
    assert code == 0 and "22 images in" in printed and "22 reduced" in printed
    out, run = str(tmp_path / "out"), str(tmp_path / "run")
    words = [f"--data_dir={out}", f"--model_dir={run}", "--train_steps=2", "--warmup_epochs=0", "--use_blur=False"]
    assert main(["train", "--mode=train_then_eval", "--dataset=folder", *TINY, *words]) == 0
    assert Path(run, "result.json").is_file()
    # Without --data_dir: the images of the run.
    assert main(["embed", f"--checkpoint={run}", f"--out={tmp_path / 'index'}"]) == 0
    index = open_index(str(tmp_path / "index"))
    assert [row.path for row in index.rows] == class_folders({"a": 12, "b": 10})
    assert {row.label for row in index.rows} == {"a", "b"} and index.path_of(0) == str(folder / "a" / "000.png")
    capsys.readouterr()
    assert main(["embed", f"--checkpoint={run}", f"--out={tmp_path / 'index'}"]) == 0
    assert "22 kept" in capsys.readouterr().out
    assert main(["search", f"--index={tmp_path / 'index'}", "--query=a/003.png"]) == 0
    table = tmp_path / "predictions.csv"
    assert main(["predict", f"--checkpoint={run}", f"--csv={table}"]) == 0
    assert "b/009.png" in table.read_text()


def test_features_are_those_of_the_folder(tmp_path):
    """Images that are not reduced are the same, and so are their features."""
    folder = make_images(tmp_path / "images", class_folders({"a": 3, "b": 3}), side=16)
    (tmp_path / "run").mkdir()
    run = write_run(tmp_path / "run", TINY_RUN, 2)
    result = tf_simclr.prepare(data_dir=folder, out=tmp_path / "out")
    assert (result.directory, result.images, result.reduced, result.damaged) == (str(tmp_path / "out"), 6, 0, ())
    for name in ("images", "out"):
        tf_simclr.embed(checkpoint=run, data_dir=tmp_path / name, out=tmp_path / f"{name}-index")
    one, other = (open_index(str(tmp_path / f"{name}-index")) for name in ("images", "out"))
    np.testing.assert_array_equal(one.features, other.features)
    assert [(row.path, row.label) for row in one.rows] == [(row.path, row.label) for row in other.rows]
    # Pages have thumbnails, also where the folder is gone.
    pages = []
    for gone in (False, True):
        if gone:
            shutil.rmtree(folder)
        page = tmp_path / "page.html"
        tf_simclr.search(index=tmp_path / "out-index", query="b/001.png", k=5, page=page)
        pages.append(page.read_text())
    assert pages[0] == pages[1] and pages[0].count("data:image/jpeg") == 6


def test_the_same_preparation_has_nothing_to_do_and_another_one_is_refused(prepare, folder, tmp_path):
    assert prepare()[0] == 0
    before = (tmp_path / "out" / "prepare.json").read_bytes()
    code, printed = prepare()
    assert code == 0 and "nothing to do" in printed
    for words in (["--side=12"], ["--decoder=pillow"]):
        code, printed = prepare(*words)
        assert code == 2 and "prepared from other images, or in another way" in printed
    make_images(folder, ["a/new.png"])
    assert prepare()[0] == 2
    assert (tmp_path / "out" / "prepare.json").read_bytes() == before and left_over(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out="], "`out` must name the directory"),
        (["--out={images}/a/out"], "`out` must lie outside of the folder of images"),
        (["--out={images}"], "`out` must lie outside"),
        (["--out=gs://bucket/out"], "`out` must be a local directory"),
        (["--out={tmp}/file"], "`out` must be a new directory"),
        (["--out={tmp}/file/out"], "where .*file is a file"),
        (["--data_dir={tmp}/nowhere"], "no such folder"),
        (["--data_dir={tmp}/empty"], "no readable image"),
        (["--data_dir="], "--data_dir"),
        (["--side=7"], "`side` must be"),
        (["--labels={tmp}/file"], "`labels` must be a table"),
    ],
)
def test_what_cannot_be_prepared_is_one_line_and_writes_nothing(prepare, folder, tmp_path, words, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("some text")
    code, printed = prepare(*(word.format(images=folder, tmp=tmp_path) for word in words))
    assert code == 2 and re.search(message, printed.strip().splitlines()[-1])
    assert left_over(tmp_path) == ["empty", "file"] and not (tmp_path / "out").exists()


def test_damaged_images(prepare, folder, tmp_path):
    make_images(folder, [f"a/more{number:03d}.png" for number in range(90)])
    path = folder / "a" / "more050.png"
    path.write_bytes(path.read_bytes()[:50])
    code, printed = prepare()
    assert code == 2 and "damaged" in printed and "a/more050.png" in printed and left_over(tmp_path) == []
    assert not (tmp_path / "out").exists()
    code, printed = prepare("--on_bad_image=skip")
    assert code == 0 and "1 damaged images are left out, prepare.json lists them: a/more050.png" in printed


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_leaves_nothing(prepare, tmp_path, monkeypatch, name):
    """It comes when all images are written, and their list is not."""
    write_whole = prepare_images.write_whole

    def interrupted(*arguments):
        signal.raise_signal(getattr(signal, name))
        write_whole(*arguments)

    monkeypatch.setattr(prepare_images, "write_whole", interrupted)
    code, printed = prepare()
    assert code == {"SIGTERM": 143, "SIGINT": 130}[name] and f"{name} received: nothing is written" in printed
    assert os.listdir(tmp_path) == ["images"]


def test_what_a_killed_process_left_is_removed(prepare, tmp_path):
    from tf_simclr.processes import own_mark

    left = tmp_path / f"out.partial-{own_mark()}"
    left.mkdir()
    (left / "prepare.json").write_text("{}")
    assert prepare()[0] == 0 and left_over(tmp_path) == []


@pytest.mark.whole_runs
def test_a_full_disk(folder, tmp_path):
    out = tmp_path / "written" / "out"
    found = limited_run("prepare", 2_000, [f"--data_dir={folder}", f"--out={out}"])
    assert found.returncode == EXIT_NO_FILE, found.stdout + found.stderr
    errors = [line for line in found.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Free some space" in errors[0] and "Traceback" not in found.stderr
    assert os.listdir(out.parent) == []
