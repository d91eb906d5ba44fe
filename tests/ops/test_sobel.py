"""Sobel filtering against loops and by hand."""

from __future__ import annotations

import itertools

import numpy as np
import tensorflow as tf

from tf_simclr.ops.sobel import sobel

RNG = np.random.default_rng(0)
ACROSS = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])


def naive_sobel(image):
    """The two sums over the neighbours, pixel by pixel; the border is mirrored."""
    padded = np.pad(image.astype(np.float64), [(1, 1), (1, 1), (0, 0)], mode="reflect")
    result = np.zeros(image.shape)
    for y, x, c in np.ndindex(image.shape):
        patch = padded[y : y + 3, x : x + 3, c]
        result[y, x, c] = np.hypot((patch * ACROSS).sum(), (patch * ACROSS.T).sum()) / np.sqrt(20)
    return result


def test_against_loops_one_image_and_a_batch():
    images = RNG.random([2, 3, 6, 9, 3], dtype=np.float32)
    ours = sobel(tf.constant(images))
    assert ours.shape == images.shape and ours.numpy().min() >= 0 and ours.numpy().max() <= 1
    for place in np.ndindex(2, 3):
        np.testing.assert_allclose(ours[place], naive_sobel(images[place]), atol=1e-5)
    np.testing.assert_allclose(sobel(tf.constant(images[0, 0])), ours[0, 0], atol=1e-6)


def test_by_hand():
    edge = np.zeros([4, 4, 3], np.float32)
    edge[:, 2:, 0] = 1.0  # a red half: its edge stays red
    ours = sobel(tf.constant(edge)).numpy()
    np.testing.assert_allclose(ours[..., 0], np.tile([0, 4 / np.sqrt(20), 4 / np.sqrt(20), 0], (4, 1)), atol=1e-6)
    np.testing.assert_array_equal(ours[..., 1:], 0)
    np.testing.assert_allclose(sobel(tf.fill([4, 5, 3], 0.7)), np.zeros([4, 5, 3]), atol=1e-6)


def test_the_steepest_patch_gives_one():
    patches = np.float32(list(itertools.product([0, 1], repeat=9))).reshape(-1, 3, 3, 1)
    middle = sobel(tf.constant(patches))[:, 1, 1, 0].numpy()
    raw = np.hypot((patches[..., 0] * ACROSS).sum((1, 2)), (patches[..., 0] * ACROSS.T).sum((1, 2)))
    np.testing.assert_allclose(middle, raw / np.sqrt(20), atol=1e-6)
    np.testing.assert_allclose(middle.max(), 1.0, atol=1e-6)
