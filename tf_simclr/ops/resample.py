"""Bicubic interpolation as a matrix, so that every image of a batch can have a crop box of its own."""

from __future__ import annotations

import tensorflow as tf

_TABLE = 1024.0  # tf.image.resize looks its coefficients up at multiples of 1/1024


def bicubic_weights(offset: tf.Tensor, length: tf.Tensor, source: int | tf.Tensor, target: int) -> tf.Tensor:
    """The matrix that cuts `length` pixels from `offset` on out of one axis and resizes them to `target`.

    Equals `tf.image.resize(..., method="bicubic")` without antialiasing of the cut piece: Keys' kernel with a = -1/2,
    pixel centres at half-integers, positions rounded to 1/1024, and at the borders only the pixels inside the piece,
    their weights rescaled to sum to one.

    Args:
        offset: int32 [...], the first pixel.
        length: int32 [...], at least 1, offset + length <= source.
        source: pixels along the axis.
        target: pixels wanted.

    Returns:
        float32 [..., target, source]; each row sums to one.
    """
    offset, length = (tf.cast(x, tf.float32)[..., tf.newaxis] for x in (offset, length))  # [..., 1]
    centers = tf.range(target, dtype=tf.float32) + 0.5
    position = centers * (length / target) - 0.5  # [..., target], in pixels of the piece
    base = tf.floor(position)
    position = base + tf.round((position - base) * _TABLE) / _TABLE
    pixel = tf.range(source, dtype=tf.float32) - offset  # [..., source]
    inside = (pixel >= 0.0) & (pixel < length)
    # Out of every kernel's reach: its weight becomes exactly zero.
    pixel = tf.where(inside, pixel, -1e6)
    weights = _keys_kernel(tf.abs(pixel[..., tf.newaxis, :] - position[..., tf.newaxis]))
    return weights / tf.reduce_sum(weights, axis=-1, keepdims=True)


def _keys_kernel(distance: tf.Tensor) -> tf.Tensor:
    """Keys' cubic convolution kernel with a = -1/2 ("Cubic convolution interpolation", 1981, equation 15)."""
    d = tf.minimum(distance, 2.0)  # the outer piece is zero at 2, and so beyond
    inner = (1.5 * d - 2.5) * d * d + 1.0
    outer = ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    return tf.where(d <= 1.0, inner, outer)


def resample(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Applies weight matrices to the rows and the columns of every image, v pairs of them each.

    Args:
        images: [b, h, w, c].
        rows: [b, v, height, h].
        columns: [b, v, width, w].

    Returns:
        [b, v, height, width, c].
    """
    # Each product wants its axis in front and all else behind; one einsum takes twice as long on a CPU.
    _, views, height, source_height = _shape(rows)
    width, source_width = _shape(columns)[2:]
    channels = _shape(images)[-1]
    product = tf.matmul(
        tf.reshape(rows, [-1, views * height, source_height]),
        tf.reshape(images, [-1, source_height, source_width * channels]),
    )  # [b, v height, w c]
    product = tf.transpose(tf.reshape(product, [-1, height, source_width, channels]), [0, 2, 1, 3])
    product = tf.matmul(
        tf.reshape(columns, [-1, width, source_width]), tf.reshape(product, [-1, source_width, height * channels])
    )  # [b v, width, height c]
    product = tf.transpose(tf.reshape(product, [-1, width, height, channels]), [0, 2, 1, 3])
    result = tf.reshape(product, [-1, views, height, width, channels])
    result.set_shape([images.shape[0], *rows.shape[1:3], columns.shape[2], images.shape[3]])
    return result


def _shape(x: tf.Tensor) -> list[int | tf.Tensor]:
    """Sizes, as numbers where they are known."""
    dynamic = tf.unstack(tf.shape(x))
    return [known if known is not None else size for known, size in zip(x.shape, dynamic, strict=True)]
