"""Views that are drawn are those of a training with the same flags."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.data.folders import class_folders, make_images
from tf_simclr.cli.main import main
from tf_simclr.config import build_config
from tf_simclr.train.build import build_data
from tf_simclr.train.drawn_views import as_drawing, drawn_views
from tf_simclr.train.input import build_train_iterator

FLAGS = {"dataset": "shapes", "train_split": "train[:4]", "image_size": 16, "train_batch_size": 4, "seed": 7}


@pytest.mark.parametrize("more", [{}, {"augmentation": "crop,flip,rotate"}, {"min_crop_area": 0.9, "use_blur": False}])
def test_the_views_are_those_of_the_first_epochs(more):
    config = build_config(FLAGS | more)
    source = build_data(config).train
    drawn = drawn_views(config, source, 4, 4)
    assert drawn.shape == (4, 5, 16, 16, 3)
    indices = [int(record["index"]) for record in source.records(tf.constant(7, tf.int64)).take(4)]
    batches = build_train_iterator(config, source, tf.distribute.get_strategy(), 0)
    for epoch in range(2):
        batch = next(batches)
        place = {int(index): number for number, index in enumerate(batch["index"])}
        for row, index in enumerate(indices):
            for view in range(2):
                expected = batch["views"][view][place[index]]
                np.testing.assert_allclose(drawn[row, 1 + 2 * epoch + view], expected, atol=2e-3)


def test_a_picture_has_a_tile_for_each_image_and_view():
    tiles = np.random.default_rng(0).random((2, 3, 48, 48, 3)).astype(np.float32)
    whole = np.asarray(as_drawing(tiles))
    assert whole.shape == (2 * 100 - 4, 3 * 100 + 8, 3)
    found = whole[100:196, 112:208]
    np.testing.assert_array_equal(found, np.rint(tiles[1, 1] * 255).astype(np.uint8).repeat(2, 0).repeat(2, 1))


def test_a_folder_is_drawn_without_training_and_without_labels(tmp_path, capsys):
    folder = make_images(tmp_path / "images", [f"{number}.png" for number in range(6)], side=20)
    out = tmp_path / "views.png"
    assert main(["views", f"--data_dir={folder}", f"--out={out}", "--images=3", "--views=2", "--image_size=24"]) == 0
    assert Image.open(out).size == (3 * 100 + 8, 3 * 100 - 4)
    assert "3 images of 24 pixels, each with 2 views" in capsys.readouterr().out
    labelled = make_images(tmp_path / "classes", class_folders({"a": 4, "b": 4}))
    assert main(["views", f"--data_dir={labelled}", f"--out={out}", "--images=1", "--views=1"]) == 0
    assert "note: --image_size=64 --color_jitter_strength=0.5 --use_blur=False, as run.py" in capsys.readouterr().out
    before = out.read_bytes()
    again = ["--images=1", "--views=1", "--seed=1"]
    assert main(["views", f"--data_dir={labelled}", f"--out={out}", *again]) == 0
    assert out.read_bytes() != before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out=views.txt"], "`out` must be an image file"),
        (["--out=/nowhere/views.png"], "`out` must lie in a folder that exists"),
        (["--data_dir=/nowhere"], "no such folder"),
        (["--images=0"], "`images` must be >= 1"),
        (["--augmentation=nothing"], "nothing"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(["views", *words]) == 2
    error = capsys.readouterr().err.strip()
    assert re.search(message, error) and "\n" not in error and list(tmp_path.iterdir()) == []


def test_a_training_begins_with_a_drawing_of_its_views(tmp_path, tiny_flags):
    directory = tmp_path / "run"
    flags = [flag for flag in tiny_flags if not flag.startswith("--draw_views")]
    command = ["train", *flags, "--seed=7", "--mode=train", f"--model_dir={directory}", "--train_steps=2"]
    assert main(command) == 0
    drawn = np.asarray(Image.open(directory / "views.png"))
    config = build_config(FLAGS | {"train_split": "train[:48]", "use_blur": False})
    np.testing.assert_array_equal(drawn, np.asarray(as_drawing(drawn_views(config, build_data(config).train, 8, 4))))
    (file,) = [path for path in directory.glob("events.out*") if b"views" in path.read_bytes()]
    (image,) = [
        value.tensor.string_val
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
        if value.tag == "views"
    ]
    np.testing.assert_array_equal(tf.io.decode_png(image[2]), drawn)
    (directory / "views.png").unlink()
    assert main([*command, "--train_steps=4"]) == 0  # a run that goes on draws nothing
    assert not (directory / "views.png").exists()
