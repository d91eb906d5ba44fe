"""The predictions of a run's head, against the head called by hand."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
import tensorflow as tf

from tests.data.folders import class_folders, make_images
from tests.networks import TINY_RUN, write_run
from tf_simclr.cli.main import main
from tf_simclr.data.source import decode_image
from tf_simclr.evaluate.load import load_trained

FLAGS = TINY_RUN | {"train_batch_size": 16, "train_steps": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"), FLAGS, 2)


def predicted(tmp_path, run, *words):
    table = tmp_path / "predictions.csv"
    assert main(["predict", f"--checkpoint={run}", f"--csv={table}", "--eval_batch_size=4", *words]) == 0
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_most_probable_classes_are_those_of_the_softmax(run, tmp_path):
    folder = make_images(tmp_path / "images", class_folders({"a": 3, "b": 2}), side=16)
    lines = predicted(tmp_path, run, f"--data_dir={folder}", "--top=3")
    assert [line["rank"] for line in lines] == ["1", "2", "3"] * 5
    assert [line["class"] for line in lines[::3]] == list("aaabb")
    model = load_trained(str(run)).model
    for first in range(0, 15, 3):
        image = decode_image((folder / lines[first]["path"]).read_bytes())[tf.newaxis]
        shares = tf.nn.softmax(model.endpoints(image, training=False)["logits_sup"])[0].numpy()
        best = np.argsort(-shares)[:3]
        assert [line["prediction"] for line in lines[first : first + 3]] == [str(number) for number in best]
        np.testing.assert_allclose(
            [float(line["probability"]) for line in lines[first : first + 3]], shares[best], atol=1e-4
        )


def test_images_without_labels_and_other_data_sets_are_predicted(run, tmp_path):
    folder = make_images(tmp_path / "images", [f"{number}.png" for number in range(3)], side=20)
    lines = predicted(tmp_path, run, f"--data_dir={folder}")
    assert [line["path"] for line in lines] == ["0.png", "1.png", "2.png"] and not any(line["class"] for line in lines)
    assert len(predicted(tmp_path, run, "--predict_split=train[:6],test[:3]")) == 9


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--csv=/nowhere/predictions.csv"], "`csv` must lie in a folder that exists"),
        (["--data_dir=/nowhere"], "no such folder"),
        (["--checkpoint="], "`checkpoint` must name the network"),
        (["--predict_split=nothing"], "nothing"),
    ],
)
def test_what_cannot_be_predicted_is_one_line_and_writes_nothing(run, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(["predict", f"--checkpoint={run}", *words]) == 2
    assert re.search(message, capsys.readouterr().err.strip().splitlines()[-1]) and list(tmp_path.iterdir()) == []


def test_a_network_without_a_head_is_refused(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    run = write_run(tmp_path / "run", FLAGS | {"lineareval_while_pretraining": False}, 2)
    folder = make_images(tmp_path / "images", ["0.png"])
    assert main(["predict", f"--checkpoint={run}", f"--data_dir={folder}"]) == 2
    assert "`checkpoint` must have a supervised head" in capsys.readouterr().err
