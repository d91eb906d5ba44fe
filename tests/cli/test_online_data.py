"""--online_data_dir: pretraining on images without labels, evaluated on a folder that has some."""

from __future__ import annotations

import json
import re

import pytest

from tests.data.folders import class_folders, make_images
from tf_simclr.cli.main import main

FLAGS = ("--image_size=16", "--resnet_depth=10", "--width_multiplier=0.0625", "--num_proj_layers=2", "--use_blur=False")
SHORT = ("--train_batch_size=8", "--eval_batch_size=8", "--warmup_epochs=0", "--train_steps=2", "--draw_views=False")


@pytest.fixture
def folders(tmp_path):
    plain = make_images(tmp_path / "plain", [f"{number}.png" for number in range(16)], side=20)
    labelled = make_images(tmp_path / "labelled", class_folders({"a": 12, "b": 12}), side=20)
    return plain, labelled


def command(folder, directory, *more):
    return ["train", f"--data_dir={folder}", "--dataset=folder", f"--model_dir={directory}", *FLAGS, *SHORT, *more]


def test_h_is_evaluated_on_the_other_folder(folders, tmp_path, capsys):
    plain, labelled = folders
    online = ("--mode=train_then_eval", f"--online_data_dir={labelled}")
    assert main(command(plain, tmp_path / "run", *online, "--eval_every_epochs=1")) == 0
    said = capsys.readouterr().out
    assert f"training images of --online_data_dir={labelled}" in said
    assert "held-out images of --online_data_dir" in said
    assert "kNN top-1" in said and "linear" in said
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert {"eval/knn_top_1", "eval/linear_top_1"} < set(result)
    gallery, queries = result["evaluated_on"]["online"]
    assert gallery["fingerprint"] and queries["fingerprint"] and gallery != queries
    assert main(command(plain, tmp_path / "at the end", *online)) == 0
    (at_the_end,) = {
        json.loads((tmp_path / name / "result.json").read_text())["eval/knn_top_1"] for name in ("run", "at the end")
    }
    assert at_the_end == result["eval/knn_top_1"]


def test_images_in_both_are_said(folders, tmp_path, capsys):
    _, labelled = folders
    links = tmp_path / "links"
    for path in labelled.rglob("*.png"):
        links.mkdir(exist_ok=True)
        (links / f"{path.parent.name}-{path.name}").symlink_to(path)
    made = command(links, tmp_path / "linked", "--mode=train_then_eval", f"--online_data_dir={labelled}")
    assert main(made) == 0
    assert "images of --online_data_dir that h is evaluated on are among the training images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--online_data_dir={plain}"], "must be a folder of images with labels: .* with no labels"),
        (["--online_data_dir={plain}/missing"], "There is no such folder: check --online_data_dir"),
        (["--mode=train"], "`online_data_dir` evaluates h of a pretraining"),
        (["--train_mode=finetune", "--data_dir={labelled}"], "`online_data_dir` evaluates h of a pretraining"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(folders, tmp_path, capsys, more, expected):
    plain, labelled = folders
    words = [word.format(plain=plain, labelled=labelled) for word in more]
    given = command(plain, tmp_path / "run", "--mode=train_then_eval", f"--online_data_dir={labelled}", *words)
    assert main(given) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert re.search(expected, line), line
    assert not (tmp_path / "run").exists()
