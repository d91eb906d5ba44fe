from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_simclr.data.folder import load_folder
from tf_simclr.data.joined import joined
from tf_simclr.data.shapes import shapes_source
from tf_simclr.errors import InputError


def rows_of(source, seed=None):
    return [(int(r["index"]), int(r["label"])) for r in source.records(seed).as_numpy_iterator()]


def test_every_example_of_both_once_and_shuffled_together():
    first, second = shapes_source("train[:30]"), shapes_source("validation[:20]")
    both = joined(first, second)
    assert both.num_examples == 50
    assert both.split == "train[:30]+validation[:20]"
    plain = rows_of(both)
    assert [label for _, label in plain] == [label for part in (first, second) for _, label in rows_of(part)]
    assert len({index for index, _ in plain}) == 50
    shuffled = rows_of(both, 5)
    assert sorted(shuffled) == sorted(plain)
    assert shuffled == rows_of(both, 5) != rows_of(both, 6)
    # The second part is spread over the whole, not appended.
    places = [place for place, (index, _) in enumerate(shuffled) if index >= 2**35]
    assert min(places) < 15
    assert np.mean(places) < 35


def test_pictures_are_those_of_their_files_whether_loaded_or_not(tmp_path):
    for number, name in enumerate(["train/a", "train/b", "more/a", "more/b"]):
        (tmp_path / name).mkdir(parents=True)
        Image.fromarray(np.full((9, 9), 50 * number, np.uint8)).save(tmp_path / name / "1.png")
    both = joined(*load_folder(str(tmp_path), train_split="train", eval_split="more"))
    for source in (both, both.load()):
        levels = [float(source.decode(r["data"])[0, 0, 0]) for r in source.records(None)]
        np.testing.assert_allclose(levels, np.array([0, 50, 100, 150]) / 255, atol=1e-6)


def test_only_one_data_set(tmp_path):
    for name in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / name).mkdir(parents=True)
        Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / name / "1.png")
    folder, _ = load_folder(str(tmp_path), train_split="train", eval_split="test")
    with pytest.raises(InputError, match="Only splits of one data set"):
        joined(folder, shapes_source("train[:20]"))


def test_the_global_seed_is_no_part_of_the_order():
    """A run sets it to its own seed, 0 by default, which TensorFlow would compare with the tensor in Python."""
    both = joined(shapes_source("train[:30]"), shapes_source("validation[:20]"))
    orders = []
    for global_seed in (None, 0, 3):
        tf.random.set_seed(global_seed)
        epochs = tf.data.Dataset.range(2).flat_map(both.records)
        orders.append([int(record["index"]) for record in epochs.as_numpy_iterator()])
    tf.random.set_seed(None)
    assert orders[0] == orders[1] == orders[2]
    assert orders[0][:50] != orders[0][50:]
