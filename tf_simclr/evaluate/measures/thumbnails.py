"""A few hundred numbers that say what an image looks like, without any network: what twins are found by."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

# Changes with what the numbers mean; part of the name that they are kept under.
THUMBNAIL = "thumbnail_v1"
SIDE, PROJECTIONS = 16, 8
PIXELS = SIDE * SIDE * 3
_SEED = (0x7711, 1)


def thumbnails(images: tf.Tensor) -> tf.Tensor:
    """A thumbnail of each image without its mean, and random projections of the whole image.

    Args:
        images: float32 [b, s, s, 3] in [0, 1], s known.

    Returns:
        float32 [b, PIXELS + PROJECTIONS]. First the image averaged down to 16 x 16 pixels [16, 16, 3], minus the mean
        of all its values: the cosine of two of them is the correlation of the two thumbnails, which neither brightness
        nor contrast change. Then 8 projections of all s * s * 3 values on fixed Gaussian directions, scaled so that the
        root mean square of the differences of two images' projections estimates that of their pixels, to about a
        quarter (Johnson and Lindenstrauss, 1984): equal images, and only these, have equal ones.
    """
    side = images.shape[1]
    weights = tf.constant(_averaging(side), tf.float32)
    small = tf.reshape(tf.einsum("is,bstc,jt->bijc", weights, images, weights), [-1, PIXELS])
    shape = [side * side * 3, PROJECTIONS]
    directions = tf.random.stateless_normal(shape, _SEED, alg="philox") / np.sqrt(shape[0])
    projections = tf.matmul(tf.reshape(images, [-1, shape[0]]), tf.cast(directions, tf.float32))
    return tf.concat([small - tf.reduce_mean(small, axis=1, keepdims=True), projections], axis=1)


def mirrored(small: np.ndarray) -> np.ndarray:
    """Thumbnails [n, PIXELS] of the images, each flipped left to right."""
    return small.reshape(-1, SIDE, SIDE, 3)[:, :, ::-1].reshape(-1, PIXELS)


def _averaging(side: int) -> np.ndarray:
    """Weights [SIDE, side] that average a line of `side` pixels over SIDE equal parts; each row sums to 1."""
    edges = np.arange(SIDE + 1) * side / SIDE
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.clip(overlap, 0, None) * SIDE / side
