"""Splits held in memory: the same examples in the same orders, decoded where they are small and of one size."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_simclr.data import memory
from tf_simclr.data.datasets import load_sources
from tf_simclr.data.joined import joined
from tf_simclr.data.memory import held
from tf_simclr.data.pipeline import eval_batches, train_batches
from tf_simclr.data.shapes import shapes_source
from tf_simclr.data.subset import chosen_at_random, hold_out
from tf_simclr.data.views import ViewPolicy

COUNT = 11


def folder(root, sizes):
    """A folder of images of these (height, width), half of them partly transparent: no whole 255ths of a level."""
    generator = np.random.default_rng(1)
    for number, (height, width) in enumerate(sizes):
        pixels = generator.integers(0, 256, (height, width, 3 + number % 2), np.uint8)
        path = root / "train" / f"class{number % 2}" / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return load_sources("folder", data_dir=str(root), eval_split=None)[0]


@pytest.fixture
def alike(tmp_path):
    return folder(tmp_path, [(12, 10)] * COUNT)


def examples(source, seed):
    return [
        (int(record["index"]), int(record["label"]), source.decode(record["data"]).numpy())
        for record in source.records(seed)
    ]


def assert_same_examples(first, second):
    for seed in (None, 3, 4):
        for (index, label, image), (other_index, other_label, other) in zip(
            examples(first, seed), examples(second, seed), strict=True
        ):
            assert (index, label) == (other_index, other_label)
            np.testing.assert_array_equal(image, other)


def test_small_images_of_one_size_are_decoded(alike):
    inside = held(alike)
    assert inside.image_shape == (12, 10, 3) and inside.load is None and inside.read is None
    (record,) = inside.records(None).take(1)
    assert record["data"].dtype == tf.float32
    assert_same_examples(alike, inside)


@pytest.mark.parametrize("sizes", [[(12, 10)] * 10 + [(10, 12)], [(70, 12)] * 3], ids=["many sizes", "large"])
def test_other_images_stay_encoded(tmp_path, sizes):
    source = folder(tmp_path, sizes)
    inside = held(source)
    assert inside.image_shape is None and inside.load is None
    (record,) = inside.records(None).take(1)
    assert record["data"].dtype == tf.string
    assert_same_examples(source, inside)


def test_pictures_that_take_too_much_stay_encoded(alike, monkeypatch):
    size = COUNT * 12 * 10 * 3 * 4
    monkeypatch.setattr(memory, "MOST_DECODED_BYTES", size - 1)
    assert held(alike).image_shape is None
    monkeypatch.setattr(memory, "MOST_DECODED_BYTES", size)
    assert held(alike).image_shape == (12, 10, 3)


def jpegs(root, sizes):
    """A folder of photographs of these (height, width)."""
    for number, size in enumerate(sizes):
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
        path = root / "train" / f"class{number % 2}" / f"{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[274] = 1 + number % 8
        Image.fromarray(pixels).save(path, exif=exif)
    return load_sources("folder", data_dir=str(root), eval_split=None)[0]


def test_jpegs_of_many_sizes_are_held_as_levels(tmp_path, monkeypatch):
    source = jpegs(tmp_path, [(70 + number, 90 - 3 * number) for number in range(9)])
    inside = held(source)
    assert isinstance(inside.decode, memory.HeldLevels) and inside.load is None and inside.image_shape is None
    assert inside.decode.levels.dtype == tf.uint8
    assert_same_examples(source, inside)
    options = dict(policy=ViewPolicy(80, blur=False), batch_size=4, seed=5)
    for from_files, from_memory in zip(
        itertools.islice(train_batches(source, **options).as_numpy_iterator(), 3),
        train_batches(source, cache=True, **options).as_numpy_iterator(),
        strict=False,
    ):
        tf.nest.map_structure(np.testing.assert_array_equal, from_files, from_memory)
    monkeypatch.setattr(memory, "MOST_DECODED_BYTES", 70 * 90 * 3)
    assert not isinstance(held(source).decode, memory.HeldLevels)


def test_orders_of_subsets_and_of_two_splits_stay(alike):
    part = chosen_at_random(alike, 5, memory_budget=0).source
    assert part.load is not None
    assert_same_examples(part.load(), held(part))
    both = joined(*(part.source for part in hold_out(alike, 0.3)))
    assert both.load is not None
    assert_same_examples(both, held(both))


def test_what_lies_in_memory_is_left_as_it_is():
    source = shapes_source("train[:4]")
    assert held(source) is source
    inside = held(held(source))
    assert inside is source


@pytest.mark.parametrize("side", [8, 20], ids=["smaller views", "larger views"])
def test_batches_are_those_of_the_files(alike, side):
    """Cropped as a batch and not one by one, which may round otherwise."""
    options = dict(policy=ViewPolicy(side), batch_size=4, seed=5)
    from_files, from_memory = (
        list(itertools.islice(train_batches(alike, cache=cache, **options).as_numpy_iterator(), 6))
        for cache in (False, True)
    )
    for one, other in zip(from_files, from_memory, strict=True):
        np.testing.assert_array_equal(one["index"], other["index"])
        np.testing.assert_allclose(one["views"], other["views"], atol=1e-5)


def test_evaluation_is_that_of_the_files(alike):
    options = dict(image_size=8, batch_size=4, eval_crop=0.875)
    from_files, from_memory = (
        list(eval_batches(alike, cache=cache, **options).as_numpy_iterator()) for cache in (False, True)
    )
    for one, other in zip(from_files, from_memory, strict=True):
        for field in one:
            np.testing.assert_array_equal(one[field], other[field])
