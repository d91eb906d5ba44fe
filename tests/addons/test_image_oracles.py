"""TensorFlow Addons as a second, independent opinion on our operators."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr import compat
from tf_simclr.ops import affine, blur, draws, image, tone

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
    # Their mask has one shape for the batch, so one photo at a time.
    theirs = [
        compat.addons().image.cutout(photo[tf.newaxis], (6, 8), tf.cast(pixel, tf.int32), 0.5)[0]
        for photo, pixel in zip(images, pixels, strict=True)
    ]
    np.testing.assert_array_equal(image.cutout(images, boxes, fill=0.5), tf.stack(theirs))


@pytest.mark.parametrize("degrees", [-30.0, -7.3, 12.0, 26.7, 75.0])
def test_rotation(degrees):
    images = tf.constant(RNG.random([2, 13, 16, 3], dtype=np.float32))
    theirs = compat.addons().image.rotate(images, np.radians(degrees), "nearest", "constant", fill_value=0.25)
    np.testing.assert_array_equal(affine.transform(images, affine.rotate(degrees, 13, 16), 0.25), theirs)


@pytest.mark.parametrize("amount", [-0.27, 0.13])
def test_shear(amount):
    levels = tf.constant(RNG.integers(0, 256, [12, 15, 3]), tf.uint8)
    image_of_ours = tf.constant(levels.numpy() / np.float32(255))
    grey = tf.constant([128, 128, 128], tf.uint8)
    # They shear around the middle of the first pixel and we around its corner: half a row's shift.
    half = tf.constant([[0.0, 0.0, -0.5 * amount], [0.0, 0.0, 0.0]])
    theirs = compat.addons().image.shear_x(levels, amount, grey)
    ours = affine.transform(image_of_ours, affine.shear_x(amount) + half, 128 / 255)
    np.testing.assert_allclose(ours * 255, tf.cast(theirs, tf.float32), atol=1e-3)
    theirs = compat.addons().image.shear_y(levels, amount, grey)
    ours = affine.transform(image_of_ours, affine.shear_y(amount) + half[::-1], 128 / 255)
    np.testing.assert_allclose(ours * 255, tf.cast(theirs, tf.float32), atol=1e-3)


def test_translation():
    images = tf.constant(RNG.random([2, 9, 11, 3], dtype=np.float32))
    shifts = tf.constant([[3.0, -2.0], [-4.0, 5.0]])  # to the right and down
    theirs = compat.addons().image.translate(images, shifts, "nearest", "constant", fill_value=0.5)
    ours = affine.transform(images, affine.translate(-shifts[:, 0], -shifts[:, 1]), 0.5)
    np.testing.assert_array_equal(ours, theirs)


def test_equalize():
    levels = tf.constant(RNG.integers(0, 200, [3, 20, 22, 3]), tf.uint8)
    theirs = compat.addons().image.equalize(levels)
    ours = tone.equalize(tf.constant(levels.numpy() / np.float32(255)))
    np.testing.assert_allclose(ours * 255, tf.cast(theirs, tf.float32), atol=1e-3)


@pytest.mark.parametrize("factor", [0.1, 0.9, 1.6])
def test_sharpness(factor):
    levels = tf.constant(RNG.integers(0, 256, [2, 12, 10, 3]), tf.uint8)
    theirs = tf.cast(compat.addons().image.sharpness(levels, factor), tf.float32)
    ours = tone.sharpness(tf.constant(levels.numpy() / np.float32(255)), factor) * 255
    np.testing.assert_allclose(ours, theirs, atol=2.0)  # they cut fractions off, twice
