"""The built-in photos: deterministic, balanced, and with colours that say nothing about the class."""

from __future__ import annotations

import numpy as np
import pytest

from tf_simclr.data.shapes import SHAPES, SPLIT_SIZES, render_shapes, shapes_source
from tf_simclr.errors import InputError

NUM_CLASSES = len(SHAPES)


@pytest.fixture(scope="module")
def photos():
    return render_shapes(0, "train", 0, 2000)


def test_a_photo_depends_on_seed_split_and_number_only():
    images, labels = render_shapes(3, "train", 0, 260)
    again, labels_again = render_shapes(3, "train", 0, 260)
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(labels, labels_again)
    # Another start, and so other chunks, gives the same photos under the same numbers.
    part, part_labels = render_shapes(3, "train", 137, 260)
    np.testing.assert_array_equal(images[137:], part)
    np.testing.assert_array_equal(labels[137:], part_labels)
    assert images.shape == (260, 48, 48, 3) and images.dtype == np.uint8


def test_seeds_and_splits_never_share_a_photo():
    everything = [render_shapes(s, split, 0, 200)[0] for s in (0, 1) for split in SPLIT_SIZES]
    flat = np.concatenate(everything).reshape(len(everything) * 200, -1)
    assert len(np.unique(flat, axis=0)) == len(flat)


def test_every_block_of_ten_holds_every_class_in_an_order_of_its_own(photos):
    _, labels = photos
    blocks = labels.reshape(-1, NUM_CLASSES)
    np.testing.assert_array_equal(np.sort(blocks, axis=1), np.tile(np.arange(NUM_CLASSES), (200, 1)))
    assert len(np.unique(blocks, axis=0)) > 190


def _histograms(images: np.ndarray) -> np.ndarray:
    """Joint histogram of colours, 4 levels a channel, [n, 64], square-rooted so that distances compare shares."""
    codes = (images // 64).astype(int) @ np.array([16, 4, 1])
    counts = np.stack([np.bincount(c.ravel(), minlength=64) for c in codes])
    return np.sqrt(counts / counts.sum(1, keepdims=True))


def _centroid_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Nearest class centroid, fitted on the first half and tested on the second."""
    half = len(features) // 2
    centroids = np.stack([features[:half][labels[:half] == c].mean(0) for c in range(NUM_CLASSES)])
    distances = ((features[half:, None] - centroids[None]) ** 2).sum(-1)
    return float((distances.argmin(1) == labels[half:]).mean())


def test_colours_do_not_tell_the_class(photos):
    images, labels = photos
    means = images.reshape(len(images), -1, 3).mean(1)
    # Chance is 0.1, with a standard deviation of 0.0095 over 1000 test photos: four of them and a bit.
    assert _centroid_accuracy(means, labels) < 0.14
    assert _centroid_accuracy(_histograms(images), labels) < 0.16


def test_colours_do_tell_the_photo(photos):
    """The shortcut: of 200 photos, the histogram of one half finds the other half of the same photo."""
    images = photos[0][:200]
    left, right = _histograms(images[:, :, :24]), _histograms(images[:, :, 24:])
    found = (left @ right.T).argmax(1)
    assert (found == np.arange(200)).mean() > 0.6  # chance is 0.005


def test_the_shape_can_be_seen_in_grey(photos):
    """Foreground and background differ in lightness, so that the class survives the loss of colour."""
    grey = photos[0].mean(-1) / 255.0
    assert np.percentile(grey.std(axis=(1, 2)), 1) > 0.05


def test_source_decodes_to_the_rendered_photos():
    source = shapes_source("validation[10:30]", seed=5)
    images, labels = render_shapes(5, "validation", 10, 30)
    assert (source.num_examples, source.num_classes, source.labelled) == (20, 10, True)
    assert source.image_shape == (48, 48, 3) and source.class_names == tuple(SHAPES)
    records = list(source.records(None))
    np.testing.assert_array_equal([r["index"].numpy() for r in records], np.arange(10, 30))
    np.testing.assert_array_equal([r["label"].numpy() for r in records], labels)
    decoded = np.stack([source.decode(r["data"]).numpy() for r in records])
    np.testing.assert_allclose(decoded, images / 255.0, atol=1e-7)
    assert decoded.dtype == np.float32


@pytest.mark.parametrize(
    ("split", "size"),
    [("train[:20]", 20), ("test[1990:]", 10), ("test[:1%]", 20), ("train[99%:]", 100)],
)
def test_slices(split, size):
    assert shapes_source(split).num_examples == size


def test_a_shuffled_pass_is_a_permutation_that_the_seed_decides():
    source = shapes_source("test[:50]")
    order = [[int(r["index"]) for r in source.records(seed)] for seed in (1, 1, 2)]
    assert order[0] == order[1] != order[2]
    assert sorted(order[0]) == sorted(order[2]) == list(range(50)) != order[0]


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("dev", "train, validation, test"),
        ("train[:0]", "no image"),
        ("train[9:3]", "no image"),
        ("train[a:]", "NAME"),
    ],
)
def test_bad_splits_teach(split, message):
    with pytest.raises(InputError, match=message):
        shapes_source(split)
