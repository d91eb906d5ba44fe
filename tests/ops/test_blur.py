"""Gaussian blur against a naive convolution, depthwise convolution and hand-computed weights."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.errors import InputError
from tf_simclr.ops import blur

RNG = np.random.default_rng(0)


def naive_blur(image, sigma, radius):
    """The two-dimensional sum, with zeros outside the image."""
    offsets = range(-radius, radius + 1)
    g = np.array([np.exp(-(d**2) / (2 * sigma**2)) for d in offsets])
    g /= g.sum()
    h, w, _ = image.shape
    result = np.zeros(image.shape)
    for y, x in np.ndindex(h, w):
        for i, dy in enumerate(offsets):
            for j, dx in enumerate(offsets):
                if 0 <= y + dy < h and 0 <= x + dx < w:
                    result[y, x] += g[i] * g[j] * image[y + dy, x + dx]
    return result


@pytest.mark.parametrize(("height", "expected"), [(1, 3), (32, 3), (39, 3), (40, 5), (96, 9), (224, 23)])
def test_kernel_is_a_tenth_of_the_height(height, expected):
    assert blur.blur_kernel_size(height) == expected


def test_weights_by_hand():
    outer, middle = np.exp(-0.5), 1.0
    expected = np.array([outer, middle, outer]) / (1 + 2 * outer)
    np.testing.assert_allclose(blur.gaussian_weights(tf.constant([1.0]), 3), [expected], atol=1e-6)


@pytest.mark.parametrize("kernel_size", [3, 5, 9])
def test_each_image_has_its_own_sigma(kernel_size):
    images = RNG.random([3, 6, 9, 3], dtype=np.float32)
    sigmas = [0.1, 1.0, 2.0]
    batched = blur.gaussian_blur(tf.constant(images), tf.constant(sigmas), kernel_size)
    assert batched.shape == images.shape
    for image, sigma, ours in zip(images, sigmas, batched, strict=True):
        np.testing.assert_allclose(ours, naive_blur(image, sigma, kernel_size // 2), atol=1e-6)
        alone = blur.gaussian_blur(tf.constant(image), sigma, kernel_size)
        np.testing.assert_allclose(ours, alone, atol=1e-6)


def test_valid_padding_is_the_inside_of_same_padding():
    images = tf.constant(RNG.random([2, 8, 9, 3], dtype=np.float32))
    same = blur.gaussian_blur(images, 1.3, 5)
    valid = blur.gaussian_blur(images, 1.3, 5, "VALID")
    np.testing.assert_allclose(valid, same[:, 2:-2, 2:-2], atol=1e-6)


def test_zero_padding_darkens_the_border_of_white():
    white = tf.ones([5, 5, 3])
    g = blur.gaussian_weights(tf.constant(1.0), 3).numpy()
    ours = blur.gaussian_blur(white, 1.0, 3).numpy()
    np.testing.assert_allclose(ours[2, 2], 1.0, atol=1e-6)
    np.testing.assert_allclose(ours[0, 2], g[0] + g[1], atol=1e-6)
    np.testing.assert_allclose(ours[0, 0], (g[0] + g[1]) ** 2, atol=1e-6)


def test_even_kernel_grows_by_one():
    image = tf.constant(RNG.random([7, 7, 3], dtype=np.float32))
    np.testing.assert_array_equal(blur.gaussian_blur(image, 1.0, 4), blur.gaussian_blur(image, 1.0, 5))


@pytest.mark.parametrize("chosen", [[True, False, True], [False] * 3, [True] * 3])
def test_only_the_chosen_are_blurred(chosen):
    images = RNG.random([3, 6, 6, 3], dtype=np.float32)
    sigma = tf.constant([0.5, 1.0, 1.5])
    ours = tf.function(blur.blur_chosen)(tf.constant(images), tf.constant(chosen), sigma, 3)
    everything = blur.gaussian_blur(tf.constant(images), sigma, 3).numpy()
    expected = np.where(np.array(chosen)[:, None, None, None], everything, images)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_unknown_padding():
    with pytest.raises(InputError, match="SAME, VALID"):
        blur.gaussian_blur(tf.zeros([3, 3, 3]), 1.0, 3, "REFLECT")
