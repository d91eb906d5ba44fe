"""Histograms of crops: of the very views of pretraining, and the share of crops that they tell apart."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf
from sklearn.neighbors import NearestNeighbors

from tf_simclr.config.augmentation import read_augmentation
from tf_simclr.data.shapes import render_shapes, shapes_source
from tf_simclr.data.views import ViewPolicy, make_view
from tf_simclr.errors import InputError
from tf_simclr.ops.draws import example_key
from tf_simclr.studies.histograms import CropHistograms, crop_histograms, histogram_curves, nearest_is_own

SIDE, SEED, COUNT = 16, 3, 30


@pytest.fixture(scope="module")
def source():
    return shapes_source(f"train[:{COUNT}]", side=SIDE)


@functools.cache
def measured(source, **changed):
    """Histograms of a few crops, made once for every set of arguments."""
    arguments = {"images": 4, "crops": 3, "image_size": 12, "color_jitter_strength": None, "seed": SEED, "bins": 16}
    return crop_histograms(source, **(arguments | changed))


def given(pooled):
    """Histograms as they are written here; what else is in the class plays no role."""
    pooled = np.asarray(pooled, float)
    return CropHistograms(pooled, np.repeat(pooled[:, :, np.newaxis], 3, axis=2), np.arange(len(pooled)))


# ---- The histograms ----


@pytest.mark.parametrize(
    ("strength", "composition", "area"),
    [
        (None, "crop,flip", {}),
        (0.7, "crop,flip,color_jitter,color_drop", {}),
        (0.0, "crop,flip", {"min_crop_area": 0.6}),
    ],
)
def test_they_are_of_the_very_views_of_the_first_epoch(source, strength, composition, area):
    """Every view is made again by itself, from a policy that is written by the names of its operators."""
    found = measured(source, color_jitter_strength=strength, **area)
    images, _ = render_shapes(0, "train", 0, COUNT, SIDE)
    policy = ViewPolicy.composed(12, read_augmentation(composition), color_jitter_strength=strength or 1.0, **area)
    for i, index in enumerate(found.index):
        for j in range(3):
            image = tf.constant(images[index], tf.float32) / 255.0
            view = make_view(policy, image, example_key(SEED, 0, int(index), j)).numpy()
            # Cropped alone and in a batch, a pixel differs by rounding, and may fall on the other side of an edge.
            pixel = 16 / view.size
            pooled = np.histogram(view.ravel(), 16, (0, 1), density=True)[0]
            np.testing.assert_allclose(found.pooled[i, j], pooled, atol=2.5 * pixel)
            for channel in range(3):
                alone = np.histogram(view[..., channel], 16, (0, 1), density=True)[0]
                np.testing.assert_allclose(found.channels[i, j, channel], alone, atol=2.5 * 3 * pixel)


def test_a_density_by_hand():
    """Images of one colour: all pixels of a channel are in one bin of four, whose density is 4."""
    colour = np.array([0, 51, 255], np.uint8)  # 0, 0.2 and 1, which is in the last bin
    images = np.broadcast_to(colour, (2, SIDE, SIDE, 3))
    source = dataclasses.replace(
        shapes_source("train[:2]", side=SIDE),
        records=lambda seed: tf.data.Dataset.from_tensor_slices(
            {"index": np.arange(2), "label": np.zeros(2, np.int64), "data": images.copy()}
        ),
    )
    found = measured(source, images=2, bins=4)
    np.testing.assert_allclose(found.channels[1, 2], [[4, 0, 0, 0], [4, 0, 0, 0], [0, 0, 0, 4]])
    np.testing.assert_allclose(found.pooled[1, 2], [8 / 3, 0, 0, 4 / 3])
    np.testing.assert_allclose(found.centres, [0.125, 0.375, 0.625, 0.875])


def test_they_are_densities(source):
    found = measured(source, color_jitter_strength=1.0)
    assert found.pooled.shape == (4, 3, 16) and found.channels.shape == (4, 3, 3, 16)
    np.testing.assert_allclose(found.pooled.mean(axis=-1), 1)
    np.testing.assert_allclose(found.channels.mean(axis=-1), 1)
    assert (found.channels >= 0).all()


def test_images_are_chosen_at_random_and_each_once(source):
    every = measured(source, images=COUNT, crops=1).index
    assert sorted(every) == list(range(COUNT))
    assert list(every) != sorted(every)
    np.testing.assert_array_equal(measured(source).index, every[:4])


def test_the_seed_decides_all(source):
    first = measured(source, color_jitter_strength=1.0)
    again, other = (measured.__wrapped__(source, color_jitter_strength=1.0, seed=seed) for seed in (SEED, 9))
    np.testing.assert_array_equal(first.channels, again.channels)
    np.testing.assert_array_equal(first.index, again.index)
    assert list(first.index) != list(other.index)


def test_distortion_changes_colours_of_the_same_images(source):
    plain, distorted = measured(source), measured(source, color_jitter_strength=1.0)
    np.testing.assert_array_equal(plain.index, distorted.index)
    assert np.abs(plain.pooled - distorted.pooled).mean() > 0.1


# ---- The shortcut in one number ----


@pytest.fixture(scope="module")
def plain_and_distorted():
    source = shapes_source("train[:40]", side=24)
    arguments = {"images": 32, "crops": 6, "image_size": 24, "seed": 0}
    return [crop_histograms(source, color_jitter_strength=strength, **arguments) for strength in (None, 1.0)]


def test_without_distortion_a_histogram_tells_the_image_and_with_it_no_longer(plain_and_distorted):
    plain, distorted = map(nearest_is_own, plain_and_distorted)
    assert plain > 0.9
    assert distorted < 0.4


def test_a_fifth_of_the_distorted_crops_is_grey(plain_and_distorted):
    """A grey crop has one histogram for all channels, and shapes in colour have not."""
    plain, distorted = ((np.ptp(found.channels, axis=2) == 0).all(axis=-1).mean() for found in plain_and_distorted)
    assert plain == 0
    assert 0.1 < distorted < 0.3


def test_nearest_by_hand():
    """Crops at 0, 1 and at 10, 3 on a line: 0 and 1 find each other, 3 finds 1, and 10 finds 3, its own."""
    assert nearest_is_own(given([[[0], [1]], [[10], [3]]])) == 3 / 4
    assert nearest_is_own(given([[[0], [1]], [[10], [11]]])) == 1
    assert nearest_is_own(given([[[0], [10]], [[1], [11]]])) == 0


def test_equally_near_ones_share():
    """All crops are alike: of the 5 others, 2 are of the same image."""
    assert nearest_is_own(given(np.ones([2, 3, 4]))) == pytest.approx(2 / 5)


def drawn(images, crops, bins, spread, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random([images, 1, bins]) + spread * rng.random([images, crops, bins])


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_nearest_equals_a_loop(spread):
    values = drawn(6, 3, 8, spread)
    rows = [(i, j) for i in range(6) for j in range(3)]
    own = 0
    for i, j in rows:
        others = [place for place in rows if place != (i, j)]
        nearest = min(
            others, key=lambda place: sum(abs(a - b) for a, b in zip(values[i, j], values[place], strict=True))
        )
        own += nearest[0] == i
    assert nearest_is_own(given(values)) == pytest.approx(own / len(rows))


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_nearest_equals_scikit_learn(spread):
    values = drawn(20, 5, 16, spread, seed=1)
    rows, image = values.reshape(100, 16), np.repeat(np.arange(20), 5)
    nearest = NearestNeighbors(n_neighbors=1, metric="manhattan").fit(rows).kneighbors(return_distance=False)[:, 0]
    share = np.mean(image[nearest] == image)
    assert nearest_is_own(given(values)) == pytest.approx(share)
    assert 0 < share <= 1


# ---- Curves ----


def test_curves_are_of_the_first_two_images(source):
    found = measured(source)
    curves = histogram_curves(found)
    assert list(curves) == [f"image {i}, crop {j}" for i in (1, 2) for j in (1, 2, 3)]
    assert curves["image 2, crop 3"] == {"x": found.centres.tolist(), "y": found.pooled[1, 2].tolist()}
    assert all(type(y) is float for y in curves["image 1, crop 1"]["y"])
    assert list(histogram_curves(measured(source, images=1))) == [f"image 1, crop {j}" for j in (1, 2, 3)]


# ---- Bad input ----


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": 0}, "`images` must be >= 1 and <= 30"),
        ({"images": 31}, "`images` must be >= 1 and <= 30. Received: images=31"),
        ({"crops": 0}, "`crops` must be >= 1 and <= 128"),
        ({"crops": 129}, "`crops` must be >= 1 and <= 128"),
        ({"bins": 1}, "`bins` must be >= 2"),
        ({"image_size": 0}, "`image_size` must be >= 1"),
        ({"color_jitter_strength": -1.0}, "`color_jitter_strength` must be >= 0"),
    ],
)
def test_bad_input_teaches(source, changed, message):
    with pytest.raises(InputError, match=message):
        measured(source, **changed)


def test_a_nearest_other_crop_needs_others():
    with pytest.raises(InputError, match="`images` must be >= 2"):
        nearest_is_own(given(np.ones([1, 3, 4])))
    with pytest.raises(InputError, match="`crops` must be >= 2"):
        nearest_is_own(given(np.ones([3, 1, 4])))
