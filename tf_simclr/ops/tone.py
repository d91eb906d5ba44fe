"""What AutoAugment does to the values of pixels, with the meaning that Pillow gives these operators.

Pillow works on whole numbers from 0 to 255, these functions on float32 [..., h, w, 3] in [0, 1]. `posterize` and
`equalize` round to Pillow's levels first, since levels are what they are about; the others do not, and differ from
Pillow by its rounding. Parameters are scalars or one value an image [...].

Source: Cubuk et al. 2019, "AutoAugment: Learning Augmentation Strategies from Data", Appendix, Table 6.
"""

from __future__ import annotations

from typing import TypeAlias

import tensorflow as tf

from tf_simclr.ops.batching import flatten_batch, per_image
from tf_simclr.ops.color import to_grayscale
from tf_simclr.ops.image import clip

Parameter: TypeAlias = "tf.Tensor | float"

_TOP_LEVEL = 255
_SMOOTHING = ((1.0, 1.0, 1.0), (1.0, 5.0, 1.0), (1.0, 1.0, 1.0))  # Pillow's ImageFilter.SMOOTH, divided by 13


def invert(images: tf.Tensor) -> tf.Tensor:
    """The negative."""
    return 1.0 - images


def solarize(images: tf.Tensor, threshold: Parameter) -> tf.Tensor:
    """Inverts what is not below the threshold; one above 1 inverts nothing."""
    return tf.where(images < per_image(threshold, images), images, 1.0 - images)


def posterize(images: tf.Tensor, bits: Parameter) -> tf.Tensor:
    """Keeps the `bits` highest of the eight bits of every channel; `bits` is a whole number from 0 to 8."""
    step = 2.0 ** (8.0 - per_image(bits, images))
    return tf.floor(tf.round(images * _TOP_LEVEL) / step) * step / _TOP_LEVEL


def autocontrast(images: tf.Tensor) -> tf.Tensor:
    """Stretches every channel to [0, 1]; a channel of a single level stays as it is."""
    low = tf.reduce_min(images, axis=[-3, -2], keepdims=True)
    span = tf.reduce_max(images, axis=[-3, -2], keepdims=True) - low
    # Less than half a level is rounding, which must not be stretched to black and white.
    flat = span < 0.5 / _TOP_LEVEL
    return clip(tf.where(flat, images, (images - low) / tf.where(flat, 1.0, span)))


def equalize(images: tf.Tensor) -> tf.Tensor:
    """Makes the levels of every channel equally frequent, as far as a table from level to level can."""
    flat, restore = flatten_batch(images)
    b, h, w, c = tf.unstack(tf.shape(flat))
    planes = tf.reshape(tf.transpose(flat, [0, 3, 1, 2]), [b * c, h * w])
    levels = tf.cast(tf.round(planes * _TOP_LEVEL), tf.int32)
    counts = _histograms(levels)  # [b * c, 256]
    # Pillow's step: the pixels below the brightest level that occurs, over the 255 steps of the scale.
    brightest = tf.reduce_max(levels, axis=1, keepdims=True)
    step = (h * w - tf.gather(counts, brightest, batch_dims=1)) // _TOP_LEVEL  # [b * c, 1]
    below = tf.cumsum(counts, axis=1, exclusive=True)
    table = tf.minimum((below + step // 2) // tf.maximum(step, 1), _TOP_LEVEL)
    table = tf.where(step > 0, table, tf.range(_TOP_LEVEL + 1))
    planes = tf.cast(tf.gather(table, levels, batch_dims=1), flat.dtype) / _TOP_LEVEL
    equal = tf.transpose(tf.reshape(planes, [b, c, h, w]), [0, 2, 3, 1])
    equal.set_shape(flat.shape)
    return restore(equal)


def brightness(images: tf.Tensor, factor: Parameter) -> tf.Tensor:
    """Blends with black: 0 is black, 1 the image."""
    return clip(images * per_image(factor, images))


def contrast(images: tf.Tensor, factor: Parameter) -> tf.Tensor:
    """Blends with the mean grey of the whole image: 0 is that grey, 1 the image.

    Another operator than `color.contrast`, which keeps the mean of each channel.
    """
    grey = tf.reduce_mean(to_grayscale(images), axis=[-3, -2, -1], keepdims=True)
    return _blend(grey, images, factor)


def saturation(images: tf.Tensor, factor: Parameter) -> tf.Tensor:
    """Blends with the image in grey ("Color" in the paper): 0 is grey, 1 the image, above it is more colourful."""
    return _blend(to_grayscale(images), images, factor)


def sharpness(images: tf.Tensor, factor: Parameter) -> tf.Tensor:
    """Blends with the smoothed image: 0 is that, 1 the image, above it is sharper; the outermost pixels stay."""
    flat, restore = flatten_batch(images)
    kernel = tf.constant(_SMOOTHING, flat.dtype)[:, :, tf.newaxis, tf.newaxis] / 13.0
    kernel = tf.repeat(kernel, flat.shape[-1], axis=2)
    smooth = tf.nn.depthwise_conv2d(flat, kernel, [1, 1, 1, 1], "VALID")
    change = tf.pad(smooth - flat[:, 1:-1, 1:-1], [[0, 0], [1, 1], [1, 1], [0, 0]])
    return _blend(images + restore(change), images, factor)


def _blend(other: tf.Tensor, images: tf.Tensor, factor: Parameter) -> tf.Tensor:
    return clip(other + (images - other) * per_image(factor, images))


def _histograms(levels: tf.Tensor) -> tf.Tensor:
    """How often each of the 256 levels occurs in each row: int32 [n, k] -> [n, 256]."""
    rows = tf.shape(levels)[0]
    bins = levels + (_TOP_LEVEL + 1) * tf.range(rows)[:, tf.newaxis]
    counts = tf.math.unsorted_segment_sum(tf.ones_like(bins), bins, rows * (_TOP_LEVEL + 1))
    return tf.reshape(counts, [rows, _TOP_LEVEL + 1])
