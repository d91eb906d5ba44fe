"""Affine maps of the image plane, each image its own, by the nearest pixel.

A map is a matrix [2, 3] from places in the result to places in the source, (x, y) in pixels from the upper left corner;
the middle of the first pixel is (0.5, 0.5). These are the conventions of Pillow.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import tensorflow as tf

from tf_simclr.ops.batching import flatten_batch

Amount: TypeAlias = "tf.Tensor | float"


def transform(images: tf.Tensor, maps: tf.Tensor, fill: float = 0.0) -> tf.Tensor:
    """Takes every pixel of the result from where its image's map says.

    Args:
        images: float32 [..., h, w, c].
        maps: float32 [2, 3] or [..., 2, 3].
        fill: value of the pixels whose place lies outside the source.

    Returns:
        float32 [..., h, w, c].
    """
    flat, restore = flatten_batch(images)
    b, h, w, c = tf.unstack(tf.shape(flat))
    maps = tf.broadcast_to(maps, tf.concat([tf.shape(images)[:-3], [2, 3]], 0))
    maps = tf.reshape(maps, [-1, 2, 3, 1])
    y, x = tf.meshgrid(tf.range(h), tf.range(w), indexing="ij")
    x, y = (tf.cast(tf.reshape(axis, [1, -1]), flat.dtype) + 0.5 for axis in (x, y))  # [1, h * w]
    column, row = (
        tf.cast(tf.floor(maps[:, i, 0] * x + maps[:, i, 1] * y + maps[:, i, 2]), tf.int32) for i in (0, 1)
    )  # [b, h * w]
    inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
    source = tf.where(inside, row * w + column, 0)
    pixels = tf.gather(tf.reshape(flat, [b, h * w, c]), source, batch_dims=1)
    moved = tf.reshape(tf.where(inside[..., tf.newaxis], pixels, fill), [b, h, w, c])
    moved.set_shape(flat.shape)
    return restore(moved)


def shear_x(amount: Amount) -> tf.Tensor:
    """Rows move to the left by `amount` times their height below the upper edge."""
    return _map([1.0, amount, 0.0, 0.0, 1.0, 0.0])


def shear_y(amount: Amount) -> tf.Tensor:
    """Columns move up by `amount` times their distance from the left edge."""
    return _map([1.0, 0.0, 0.0, amount, 1.0, 0.0])


def translate(x: Amount, y: Amount) -> tf.Tensor:
    """The image moves by x pixels to the left and by y pixels up."""
    return _map([1.0, 0.0, x, 0.0, 1.0, y])


def rotate(degrees: Amount, height: Amount, width: Amount) -> tf.Tensor:
    """The image turns around its middle, against the clock."""
    angle = tf.convert_to_tensor(degrees, tf.float32) * (math.pi / 180.0)
    cosine, sine = tf.cos(angle), tf.sin(angle)
    x, y = 0.5 * tf.cast(width, tf.float32), 0.5 * tf.cast(height, tf.float32)
    return _map([cosine, -sine, x - cosine * x + sine * y, sine, cosine, y - sine * x - cosine * y])


def _map(entries: list[Amount]) -> tf.Tensor:
    """Six scalars or [...], row by row, as [..., 2, 3]."""
    entries = [tf.convert_to_tensor(entry, tf.float32) for entry in entries]
    zero = 0.0 * sum(entries)  # in the shape of them all
    matrix = tf.stack([entry + zero for entry in entries], axis=-1)
    return tf.reshape(matrix, tf.concat([tf.shape(matrix)[:-1], [2, 3]], 0))
