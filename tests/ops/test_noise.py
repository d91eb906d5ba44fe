"""Gaussian noise: a function of the key, with the moments of a normal distribution."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.ops import draws, noise
from tf_simclr.ops.philox import philox_uniforms

RNG = np.random.default_rng(0)


def keys(n, view=0):
    return draws.noise_key(draws.example_key(3, 1, tf.range(n), view))


def naive_normals(key, n):
    """Box and Muller, pair by pair, from the generator written in integer operations."""
    pairs = -(-n // 2)
    u = philox_uniforms(key, 2 * pairs).numpy().astype(np.float64)
    radius, angle = np.sqrt(-2 * np.log(1 - u[:pairs])), 2 * np.pi * u[pairs:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:n]


@pytest.mark.parametrize("n", [1, 6, 27])
def test_normals_against_float64(n):
    ours = draws.normals(keys(4), n)
    assert ours.shape == [4, n]
    for key, row in zip(keys(4), ours, strict=True):
        np.testing.assert_allclose(row, naive_normals(key, n), atol=1e-5)


def test_normals_are_normal():
    x = draws.normals(keys(40), 2500).numpy().astype(np.float64)
    n = x.size
    assert abs(x.mean()) < 4 / np.sqrt(n) and abs(x.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs((x**4).mean() - 3) < 4 * np.sqrt(96 / n)
    for bound, share in {1.0: 0.682689, 2.0: 0.954500, 3.0: 0.997300}.items():
        assert abs((np.abs(x) < bound).mean() - share) < 4 * np.sqrt(share * (1 - share) / n)
    # Neither the halves of one key nor two keys go together.
    assert abs((x[:, :1250] * x[:, 1250:]).mean()) < 4 / np.sqrt(n / 2)
    assert abs((x[1:] * x[:-1]).mean()) < 4 / np.sqrt(n)


def test_by_hand():
    images = np.float32([[[[0.5, 0.0, 1.0]]]])
    z = naive_normals(keys(1)[0], 3)
    assert z.min() < 0 < z.max()
    expected = np.clip(images[0, 0, 0] + 0.1 * z, 0, 1)
    np.testing.assert_allclose(noise.gaussian_noise(tf.constant(images), keys(1), 0.1)[0, 0, 0], expected, atol=1e-6)


def test_one_image_is_a_batch_and_every_image_has_its_own_sigma():
    images, sigmas = RNG.random([4, 5, 6, 3], dtype=np.float32), [0.0, 0.05, 0.1, 1.0]
    batch = noise.gaussian_noise(tf.constant(images), keys(4), tf.constant(sigmas)).numpy()
    np.testing.assert_array_equal(batch[0], images[0])
    assert batch.min() == 0.0 and batch.max() == 1.0
    for image, key, sigma, ours in zip(images, keys(4), sigmas, batch, strict=True):
        np.testing.assert_array_equal(noise.gaussian_noise(tf.constant(image), key, sigma), ours)
        naive = np.clip(image + sigma * naive_normals(key, image.size).reshape(image.shape), 0, 1)
        np.testing.assert_allclose(ours, naive, atol=1e-5)


def test_keys_of_noise_are_nobody_elses():
    drawn = draws.example_key(3, tf.constant([0, 2**20 - 1], tf.int64), tf.constant([0, 2**36 - 1], tf.int64), 127)
    assert drawn.numpy()[:, 1].min() >= 0
    ours = draws.noise_key(drawn).numpy()
    assert ours[:, 1].max() < 0
    np.testing.assert_array_equal(ours[:, 0], drawn[:, 0])
    np.testing.assert_array_equal(ours[:, 1] - np.iinfo(np.int64).min, drawn[:, 1])


def test_the_view_in_a_key():
    drawn = draws.example_key(-5, 7, tf.range(3), 2)
    np.testing.assert_array_equal(draws.view_number(drawn), [2, 2, 2])
    np.testing.assert_array_equal(draws.first_view_key(drawn), draws.example_key(-5, 7, tf.range(3), 0))
