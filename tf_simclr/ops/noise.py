"""Gaussian noise that is a function of a key."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.ops import draws
from tf_simclr.ops.batching import flatten_batch, flatten_parameter, per_image
from tf_simclr.ops.image import clip


def gaussian_noise(images: tf.Tensor, keys: tf.Tensor, sigma: tf.Tensor | float) -> tf.Tensor:
    """Adds a normal number of its own to every channel of every pixel, and clips (SimCLR, Section 3).

    Args:
        images: float32 [..., h, w, c], with a static h, w and c.
        keys: int64 [..., 2], of `draws.noise_key`.
        sigma: standard deviation >= 0, a scalar or [...].

    Returns:
        float32 [..., h, w, c] in [0, 1].
    """
    flat, restore = flatten_batch(images)
    noise = draws.normals(tf.reshape(keys, [-1, 2]), flat.shape[1:].num_elements())
    noise = tf.reshape(noise, tf.shape(flat))
    return restore(clip(flat + per_image(flatten_parameter(sigma, images), flat) * noise))
