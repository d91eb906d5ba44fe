"""Sobel filtering: how steep the image is at every pixel."""

from __future__ import annotations

import math

import tensorflow as tf

from tf_simclr.ops.batching import flatten_batch
from tf_simclr.ops.image import clip

# The steepest 3x3 patch in [0, 1] has 4 in one direction and 2 in the other.
_STEEPEST = math.sqrt(20.0)


def sobel(images: tf.Tensor) -> tf.Tensor:
    """The magnitude of the Sobel gradient of every channel by itself, so that coloured edges stay coloured.

    Divided by the largest magnitude that there is, sqrt(20): nothing saturates and no image is scaled by its own
    content. The border is mirrored, so it is no edge. SimCLR names the operator (Section 3) and none of these choices.

    Args:
        images: float32 [..., h, w, c] in [0, 1], both sides at least 2.

    Returns:
        float32 [..., h, w, c] in [0, 1].
    """
    flat, restore = flatten_batch(images)
    gradients = tf.image.sobel_edges(flat)  # [b, h, w, c, 2]
    magnitude = tf.sqrt(tf.reduce_sum(tf.square(gradients), axis=-1))
    magnitude.set_shape(flat.shape)
    return restore(clip(magnitude / _STEEPEST))
