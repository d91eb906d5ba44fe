"""Draws by range and distribution; the numbers are fixed by their keys, so nothing here can flake."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.errors import InputError
from tf_simclr.ops import draws

N = 20_000


@pytest.fixture(scope="module")
def u():
    return draws.uniforms(draws.example_key(1, 0, tf.range(N), 0), 14)


def assert_uniform(values, low, high):
    """Kolmogorov-Smirnov distance below the 1e-4 quantile (2.23 / sqrt(n))."""
    values = np.sort(np.asarray(values, np.float64))
    assert values[0] >= low and values[-1] <= high
    expected = (values - low) / (high - low)
    ranks = np.arange(1, len(values) + 1) / len(values)
    assert np.max(np.abs(ranks - expected)) < 2.23 / np.sqrt(len(values))


def test_uniforms_are_uniform_and_uncorrelated(u):
    for column in u.numpy().T:
        assert_uniform(column, 0.0, 1.0)
    correlation = np.corrcoef(u.numpy().T) - np.eye(14)
    assert np.abs(correlation).max() < 4.5 / np.sqrt(N)


def test_one_key_and_a_batch_of_keys_agree():
    keys = draws.example_key(3, 2, tf.range(6), 1)
    alone = tf.stack([draws.uniforms(key, 5) for key in keys])
    np.testing.assert_array_equal(draws.uniforms(keys, 5), alone)


def test_every_part_of_a_key_matters():
    keys = {tuple(draws.example_key(*parts).numpy()) for parts in itertools.product(*[(0, 1, 2)] * 3, (0, 1))}
    assert len(keys) == 3**3 * 2


def test_key_packs_without_overlap():
    last = draws.MAX_EXAMPLES - 1
    assert draws.example_key(5, 1, 0, 0).numpy().tolist() == [5, 2**43]
    assert draws.example_key(5, 0, last, 127).numpy().tolist() == [5, 2**43 - 1]


def test_view_out_of_range():
    with pytest.raises(InputError, match="view=128"):
        draws.example_key(0, 0, 0, 128)


@pytest.mark.parametrize(("chosen", "smallest"), [((), 0.08), ((0.5,), 0.5), ((0.01,), 0.01)])
def test_crop_area_is_uniform_and_aspect_ratio_in_range(u, chosen, smallest):
    size = 10_000  # large, so that rounding to pixels does not show
    y, x, h, w = draws.crop_box(u[:, :4], size, size, *chosen).numpy().T
    assert_uniform(h / size * w / size, smallest - 2e-4, 1.0)
    ratio = w / h
    assert ratio.min() >= 3 / 4 - 2e-3 and ratio.max() <= 4 / 3 + 2e-3
    # Portrait and landscape are equally likely.
    assert abs(np.mean(ratio > 1.0) - 0.5) < 0.02
    for offset, side in ((y, h), (x, w)):
        roomy = side < 0.9 * size
        assert_uniform(offset[roomy] / (size - side[roomy]), 0.0, 1.0)


def test_crops_of_the_whole_area_are_the_image(u):
    assert (draws.crop_box(u[:, :4], 30, 70, 1.0).numpy() == [0, 0, 30, 70]).all()


def test_aspect_ratio_is_relative_to_the_image(u):
    _, _, h, w = draws.crop_box(u[:, :4], 1000, 4000).numpy().T
    ratio = (w / 4000) / (h / 1000)
    assert ratio.min() >= 0.745 and ratio.max() <= 1.34


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 50), (400, 2), (32, 32), (3, 5)])
def test_box_lies_inside_any_image(u, height, width):
    y, x, h, w = draws.crop_box(u[:, :4], height, width).numpy().T
    assert h.min() >= 1 and w.min() >= 1 and y.min() >= 0 and x.min() >= 0
    assert (y + h).max() <= height and (x + w).max() <= width
    # Every pixel is reached.
    assert y.min() == 0 and (y + h).max() == height and (x + w).max() == width


def test_crop_box_by_hand():
    # area 0.08 + 0.92 * 0.25 = 0.31, ratio halfway between 3/4 and 4/3 on a log scale = 1
    box = draws.crop_box(tf.constant([0.25, 0.5, 0.0, 0.999]), 100, 200)
    side = np.sqrt(0.31)
    h, w = round(100 * side), round(200 * side)
    assert box.numpy().tolist() == [0, 200 - w, h, w]


def test_extreme_numbers_stay_inside():
    almost_one = 1.0 - 2.0**-23
    corners = tf.constant(list(itertools.product([0.0, almost_one], repeat=4)))
    for size in (1, 7, 32, 224, 9999):
        y, x, h, w = draws.crop_box(corners, size, size).numpy().T
        assert (y >= 0).all() and (x >= 0).all() and (h >= 1).all() and (w >= 1).all()
        assert (y + h <= size).all() and (x + w <= size).all()


def test_orders_are_all_permutations_equally_often(u):
    orders, counts = np.unique(draws.order_of_four(u[:, 5]).numpy(), axis=0, return_counts=True)
    assert {tuple(o) for o in orders} == set(itertools.permutations(range(4)))
    expected = N / 24
    assert np.sum((counts - expected) ** 2 / expected) < 58  # chi-square, 23 degrees, 1e-4


def test_happens_never_always_and_by_probability(u):
    assert not draws.happens(u, 0.0).numpy().any()
    assert draws.happens(u, 1.0).numpy().all()
    assert abs(draws.happens(u[:, 0], 0.8).numpy().mean() - 0.8) < 0.012


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 2.0, 8.0])
@pytest.mark.parametrize("impl", ["simclrv1", "simclrv2"])
def test_jitter_amounts(u, strength, impl):
    amounts = draws.jitter_amounts(u[:, :4], strength, impl)
    change, turn = 0.8 * strength, min(0.2 * strength, 0.5)
    factors = (max(1 - change, 0.0), 1 + change)
    ranges = {
        "brightness": (-change, change) if impl == "simclrv1" else factors,
        "contrast": factors,
        "saturation": factors,
        "hue": (-turn, turn),
    }
    for op, (low, high) in ranges.items():
        if low == high:
            assert (amounts[op].numpy() == low).all()
        else:
            assert_uniform(amounts[op], low - 1e-6, high + 1e-6)


def test_unknown_brightness_lists_the_choices():
    with pytest.raises(InputError, match="simclrv1, simclrv2"):
        draws.jitter_amounts(tf.zeros([4]), 1.0, "v3")


def test_cutout_boxes_are_of_one_size_around_every_pixel_alike(u):
    y, x, height, width = draws.cutout_box(u[:, :2], 20, 33, fraction=0.4).numpy().T
    assert set(height) == {8} and set(width) == {14}
    rows, columns = np.bincount(y + 4, minlength=20), np.bincount(x + 7, minlength=33)
    for counts in (rows, columns):
        expected = N / len(counts)
        assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected))


def test_a_cutout_box_has_at_least_two_pixels():
    assert draws.cutout_box(tf.constant([0.0, 0.99]), 4, 4, fraction=0.01).numpy().tolist() == [-1, 2, 2, 2]


@pytest.mark.parametrize("fraction", [0.0, 1.1])
def test_cutout_needs_a_fraction(fraction):
    with pytest.raises(InputError, match="fraction"):
        draws.cutout_box(tf.constant([0.1, 0.1]), 4, 4, fraction=fraction)
