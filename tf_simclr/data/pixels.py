"""From the integers of a decoder to an image: bounded, upright, on white."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_simclr.data.image_limits import MOST_DECODED, MOST_PIXELS, MOST_SIDE, too_many_pixels

# What the sides of an image may be divided by while it is decoded.
FACTORS = (1, 2, 4)


def uninlined(function: Callable[..., Any]) -> Any:
    """A function that stays one node in the graphs that call it.

    An executor visits every node of the branches that are not taken. What few images need is kept out of its way.
    """
    return tf.function(function, autograph=False, reduce_retracing=True, experimental_attributes={"_noinline": True})


def too_many(height: tf.Tensor, width: tf.Tensor, most: tf.Tensor | int = MOST_PIXELS) -> tf.Tensor:
    """`image_limits.too_large` of int64 sides."""
    many = tf.cast(height, tf.float64) * tf.cast(width, tf.float64) > tf.cast(most, tf.float64)
    return tf.logical_or(many, tf.maximum(height, width) > MOST_SIDE)


def too_many_text(height: tf.Tensor, width: tf.Tensor, most: tf.Tensor | int = MOST_PIXELS) -> tf.Tensor:
    """`image_limits.too_many_pixels` of tensors."""
    texts = too_many_pixels("|", "|", "|").split("|")
    numbers = [tf.strings.as_string(number) for number in (width, height, most)]
    return tf.strings.join([texts[0], numbers[0], texts[1], numbers[1], texts[2], numbers[2], texts[3]])


def reduction(height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """int32, `image_limits.reduction` of int64 sides."""
    pixels = height * width
    return tf.where(pixels > 4 * MOST_DECODED, 4, tf.where(pixels > MOST_DECODED, 2, 1))


def scaled(pixels: tf.Tensor, widened: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Integers -> float32, times two numbers one after the other."""
    return tf.cast(pixels, tf.float32) * widened * scale


def finished(
    pixels: tf.Tensor, orientation: tf.Tensor, factor: tf.Tensor, widened: tf.Tensor, scale: tf.Tensor
) -> tf.Tensor:
    """Brings an image upright, puts it on white, and reduces it.

    Args:
        pixels: uint8 or uint16 [h, w, 3 or 4], RGB and perhaps alpha.
        orientation: int32, 1 to 8, what EXIF asks for.
        factor: int32; each factor x factor pixels become their mean.
        widened: as in `scaled`.
        scale: likewise; the largest integer becomes 1.

    Returns:
        float32 [h', w', 3] in [0, 1].
    """
    pixels = tf.ensure_shape(pixels, [None, None, None])
    pixels = tf.cond(orientation > 1, lambda: upright(pixels, orientation), lambda: pixels)
    plain = tf.logical_and(tf.shape(pixels)[-1] == 3, factor == 1)
    image = tf.cond(
        plain,
        lambda: scaled(pixels, widened, scale),
        lambda: _reduced_on_white(pixels, factor, widened, scale),
    )
    return tf.ensure_shape(image, [None, None, 3])


@uninlined
def upright(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Brings pixels [h, w, c] as they are stored into the position that EXIF asks for.

    Orientations 5 to 8 are transposed, then each is flipped or not along either axis.
    """
    lying = tf.cond(orientation >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    return tf.reverse(lying, tf.boolean_mask([0, 1], _flipped(orientation)))


@uninlined
def stored_box(box: tf.Tensor, height: tf.Tensor, width: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Where a box of an image lies before the image is brought `upright`.

    Args:
        box: int32 [4]: offset_y, offset_x, height, width, in the upright image.
        height: int32, of the upright image.
        width: likewise.
        orientation: int32, 1 to 8, what EXIF asks for.

    Returns:
        int32 [4], the box in the pixels as they are stored.
    """
    offset, extent = box[:2], box[2:]
    offset = tf.where(_flipped(orientation), tf.stack([height, width]) - offset - extent, offset)
    lying = tf.where(orientation >= 5, [1, 0, 3, 2], [0, 1, 2, 3])
    return tf.gather(tf.concat([offset, extent], 0), lying)


def _flipped(orientation: tf.Tensor) -> tf.Tensor:
    """Bool [2]: whether the rows and the columns run the other way."""
    return tf.stack([tf.reduce_any(orientation == [3, 4, 7, 8]), tf.reduce_any(orientation == [2, 3, 6, 7])])


@uninlined
def _reduced_on_white(pixels: tf.Tensor, factor: tf.Tensor, widened: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """The mean of every factor x factor pixels, one of each at a time: all of them as float32 would take too much."""
    size = tf.shape(pixels)[:2] // factor
    bottom, right = size[0] * factor, size[1] * factor

    def on_white(part: tf.Tensor) -> tf.Tensor:
        part = scaled(part, widened, scale)
        alpha = part[..., 3:]
        return tf.cond(tf.shape(part)[-1] == 4, lambda: part[..., :3] * alpha + (1.0 - alpha), lambda: part[..., :3])

    def add(number: tf.Tensor, total: tf.Tensor) -> list[tf.Tensor]:
        part = pixels[number // factor : bottom : factor, number % factor : right : factor]
        return [number + 1, tf.ensure_shape(total + on_white(part), [None, None, 3])]

    start = [tf.constant(0), tf.zeros([size[0], size[1], 3])]
    shapes = [tf.TensorShape([]), tf.TensorShape([None, None, 3])]
    blocks = factor**2
    _, total = tf.while_loop(lambda number, _: number < blocks, add, start, shapes, parallel_iterations=1)
    return total / tf.cast(blocks, tf.float32)
