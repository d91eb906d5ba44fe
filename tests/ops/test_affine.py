"""Affine maps against Pillow and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_simclr.ops import affine

RNG = np.random.default_rng(0)
LEVELS = RNG.integers(1, 256, [17, 14, 3], dtype=np.uint8)
IMAGE = tf.constant(LEVELS / np.float32(255))
# None of these amounts, nor the angles below, puts the middle of a pixel on the edge of another one to within the 16
# bits behind the point that Pillow computes with, where rounding would decide.
MAPS = {
    "shear_x": (affine.shear_x(0.23), (1, 0.23, 0, 0, 1, 0)),
    "shear_y": (affine.shear_y(-0.17), (1, 0, 0, -0.17, 1, 0)),
    "translate": (affine.translate(3.0, -2.0), (1, 0, 3, 0, 1, -2)),
    "part_of_a_pixel": (affine.translate(0.3, 1.7), (1, 0, 0.3, 0, 1, 1.7)),
    "mixed": (tf.constant([[0.8, 0.31, 1.1], [-0.4, 1.2, 0.7]]), (0.8, 0.31, 1.1, -0.4, 1.2, 0.7)),
}


def levels_of(images):
    return np.rint(np.asarray(images) * 255).astype(np.uint8)


@pytest.mark.parametrize("name", MAPS)
def test_against_pillow(name):
    ours, data = MAPS[name]
    theirs = Image.fromarray(LEVELS).transform((14, 17), Image.Transform.AFFINE, data, Image.Resampling.NEAREST)
    np.testing.assert_array_equal(levels_of(affine.transform(IMAGE, ours)), np.asarray(theirs))


@pytest.mark.parametrize("degrees", [30.0, -30.0, 7.3, -103.7, 0.0])
def test_rotation_against_pillow(degrees):
    theirs = Image.fromarray(LEVELS).rotate(degrees, Image.Resampling.NEAREST, fillcolor=(128, 128, 128))
    ours = affine.transform(IMAGE, affine.rotate(degrees, 17, 14), fill=128 / 255)
    np.testing.assert_array_equal(levels_of(ours), np.asarray(theirs))


def test_against_loops():
    matrix = np.array([[0.913, -0.457, 2.0], [0.317, 1.129, -1.3]])
    expected = np.full([17, 14, 3], 0.25)
    for y, x in np.ndindex(17, 14):
        column, row = np.floor(matrix @ [x + 0.5, y + 0.5, 1.0]).astype(int)
        if 0 <= column < 14 and 0 <= row < 17:
            expected[y, x] = IMAGE[row, column]
    np.testing.assert_allclose(affine.transform(IMAGE, matrix.astype(np.float32), 0.25), expected, atol=1e-7)


def test_by_hand():
    image = tf.constant([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]]])
    moved = affine.transform(image, affine.translate(1.0, 0.0), fill=9.0)
    np.testing.assert_array_equal(moved[..., 0], [[2, 3, 9], [5, 6, 9]])
    # The lower row's middle is 1.5 below the edge: it moves by 1.5 to the left, and the upper one by 0.5.
    sheared = affine.transform(image, affine.shear_x(0.98), fill=9.0)
    np.testing.assert_array_equal(sheared[..., 0], [[1, 2, 3], [5, 6, 9]])
    quarter = affine.transform(image[:, :2], affine.rotate(90.0, 2, 2), fill=9.0)
    np.testing.assert_array_equal(quarter[..., 0], [[2, 5], [1, 4]])


def test_every_image_its_own_map_and_one_image_is_a_batch():
    images = tf.constant(RNG.random([2, 3, 8, 9, 3], dtype=np.float32))
    degrees = tf.constant(RNG.uniform(-30, 30, [2, 3]).astype(np.float32))
    batch = tf.function(lambda x, d: affine.transform(x, affine.rotate(d, 8, 9), 0.5))(images, degrees)
    for place in np.ndindex(2, 3):
        alone = affine.transform(images[place], affine.rotate(degrees[place], 8, 9), 0.5)
        np.testing.assert_array_equal(batch[place], alone)
