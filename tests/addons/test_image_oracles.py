"""TensorFlow Addons as a second, independent opinion on our operators."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr import compat
from tf_simclr.ops import blur, draws, image

pytestmark = pytest.mark.skipif(
    compat.KERAS_3, reason="TensorFlow Addons exist for TensorFlow 2.15 only (requirements-addons.txt)"
)
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("kernel_size", [3, 5, 9])
@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_gaussian_blur(kernel_size, sigma):
    images = tf.constant(RNG.random([2, 11, 14, 3], dtype=np.float32))
    theirs = compat.addons().image.gaussian_filter2d(images, kernel_size, sigma, padding="CONSTANT")
    np.testing.assert_allclose(blur.gaussian_blur(images, sigma, kernel_size), theirs, atol=2e-6)


@pytest.mark.parametrize("size", [(4, 4), (2, 8)])
def test_cutout_where_addons_drew_it(size):
    images = tf.constant(RNG.uniform(0.1, 1.0, [5, 12, 16, 3]).astype(np.float32))
    theirs = compat.addons().image.random_cutout(images, size, constant_values=0, seed=3).numpy()
    covered = np.all(theirs == 0, axis=-1)
    corners = [np.argwhere(mask).min(axis=0) for mask in covered]
    boxes = tf.constant([[y, x, *size] for y, x in corners], tf.int32)
    np.testing.assert_array_equal(image.cutout(images, boxes), theirs)


def test_cutout_at_the_pixel_that_we_drew_also_over_the_edge():
    images = tf.constant(RNG.uniform(0.1, 1.0, [64, 12, 16, 3]).astype(np.float32))
    u = draws.uniforms(draws.example_key(0, 0, tf.range(64), 0), 2)
    boxes = draws.cutout_box(u, 12, 16)
    pixels = tf.stack([tf.floor(u[:, 0] * 12), tf.floor(u[:, 1] * 16)], axis=-1)
    # Their mask has one shape for the batch, so one picture at a time.
    theirs = [
        compat.addons().image.cutout(picture[tf.newaxis], (6, 8), tf.cast(pixel, tf.int32), 0.5)[0]
        for picture, pixel in zip(images, pixels, strict=True)
    ]
    np.testing.assert_array_equal(image.cutout(images, boxes, fill=0.5), tf.stack(theirs))
