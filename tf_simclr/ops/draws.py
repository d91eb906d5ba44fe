"""The draw halves of the augmentations: uniform numbers in [0, 1) become the parameters of operators.

Every function maps numbers to parameters elementwise, so one image and a batch of images are drawn alike.
"""

from __future__ import annotations

import itertools
import math
from typing import TypeAlias

import tensorflow as tf

from tf_simclr.errors import InputError, require_choice, require_range
from tf_simclr.ops.batching import shapes_are_static
from tf_simclr.ops.color import BRIGHTNESS_IMPLS
from tf_simclr.ops.philox import philox_uniforms

MAX_VIEWS = 1 << 7
MAX_EXAMPLES = 1 << 36  # and 2^20 epochs: the three fill the 63 bits of the second half of a key
MIN_CROP_AREA = 0.08
CROP_ASPECT_RATIOS = (3.0 / 4.0, 4.0 / 3.0)
BLUR_SIGMAS = (0.1, 2.0)
_ORDERS_OF_FOUR = tuple(itertools.permutations(range(4)))

TensorLike: TypeAlias = "tf.Tensor | int | float"


def example_key(seed: TensorLike, epoch: TensorLike, index: TensorLike, view: int | tf.Tensor) -> tf.Tensor:
    """The stateless key of one view of one example in one epoch; two different ones never share a key.

    Philox scrambles both halves of a key, so the three counters are packed side by side and need no hash: no
    collision is possible, and a whole batch of keys costs a few additions.

    Args:
        seed: integer, any 64-bit value.
        epoch: integer or int tensor [...], below 2^20.
        index: integer or int tensor [...], the example's number, below 2^36.
        view: integer or int tensor [...], below 128.

    Returns:
        int64 [..., 2].

    Raises:
        InputError: for a Python `view` outside [0, 128).
    """
    if isinstance(view, int) and not 0 <= view < MAX_VIEWS:
        raise InputError(f"`view` must be in [0, {MAX_VIEWS}). Received: view={view}")
    seed, epoch, index, view = (tf.cast(x, tf.int64) for x in (seed, epoch, index, view))
    counter = (epoch * MAX_EXAMPLES + index) * MAX_VIEWS + view
    return tf.stack([tf.zeros_like(counter) + seed, counter], axis=-1)


def uniforms(key: tf.Tensor, n: int | tf.Tensor) -> tf.Tensor:
    """Uniform numbers as `tf.random.stateless_uniform([n], key, alg="philox")` gives them, for one key or many.

    Args:
        key: int32 or int64 [..., 2].
        n: how many numbers a key gives; a Python int for many keys.

    Returns:
        float32 [..., n] in [0, 1), the same with and without XLA, alone and in a batch.
    """
    key = tf.convert_to_tensor(key)
    if key.shape.rank == 1:
        return tf.random.stateless_uniform([n], key, alg="philox")
    return philox_uniforms(key, n)


def view_number(key: tf.Tensor) -> tf.Tensor:
    """Which view of its example a key of `example_key` [..., 2] belongs to: int64 [...]."""
    return tf.bitwise.bitwise_and(key[..., 1], tf.constant(MAX_VIEWS - 1, tf.int64))


def first_view_key(key: tf.Tensor) -> tf.Tensor:
    """The key of view 0 of the same example and epoch: what all views of an example can share."""
    return tf.bitwise.bitwise_and(key, tf.constant([-1, -MAX_VIEWS], tf.int64))


def noise_key(key: tf.Tensor) -> tf.Tensor:
    """A key of `example_key` [..., 2] for a number a pixel: with the sign bit, which no example's key has."""
    return tf.bitwise.bitwise_or(key, tf.constant([0, -(1 << 63)], tf.int64))


def normals(keys: tf.Tensor, n: int) -> tf.Tensor:
    """Standard normal numbers, a function of the key: Philox's uniform ones through Box and Muller's formula.

    One key at a time: the generator's own kernel is far faster for thousands of numbers on a CPU than
    `philox_uniforms`, which gives the same ones and is taken in `batching.static_shapes`.

    Args:
        keys: int64 [b, 2].
        n: how many numbers a key gives.

    Returns:
        float32 [b, n], at most 5.7 in magnitude.
    """
    pairs = -(-n // 2)

    def of_key(key: tf.Tensor) -> tf.Tensor:
        u, v = tf.split(uniforms(key, 2 * pairs), 2, axis=-1)
        radius = tf.sqrt(-2.0 * tf.math.log(1.0 - u))  # 1 - u is in (0, 1]
        angle = 2.0 * math.pi * v
        return tf.concat([radius * tf.cos(angle), radius * tf.sin(angle)], -1)[..., :n]

    if shapes_are_static():
        return of_key(keys)
    return tf.map_fn(of_key, keys, fn_output_signature=tf.TensorSpec([n], tf.float32))


def between(u: tf.Tensor, low: TensorLike, high: TensorLike) -> tf.Tensor:
    """Moves numbers in [0, 1) to [low, high)."""
    return low + u * (high - low)


def happens(u: tf.Tensor, p: TensorLike) -> tf.Tensor:
    """Bool [...]: an event of probability p, never for p = 0 and always for p = 1."""
    return u < p


def brightness_amount(u: tf.Tensor, max_delta: float, impl: str) -> tf.Tensor:
    """What `color.brightness` takes: [-max_delta, max_delta) for "simclrv1", a `factor` for "simclrv2"."""
    require_choice("impl", impl, BRIGHTNESS_IMPLS)
    return between(u, -max_delta, max_delta) if impl == "simclrv1" else factor(u, max_delta)


def factor(u: tf.Tensor, max_delta: float) -> tf.Tensor:
    """A factor in [max(1 - max_delta, 0), 1 + max_delta): a negative one would invert the image."""
    return between(u, max(1.0 - max_delta, 0.0), 1.0 + max_delta)


def jitter_amounts(u: tf.Tensor, strength: float, impl: str = "simclrv1") -> dict[str, tf.Tensor]:
    """What the four operators of colour jitter take at colour distortion of strength s.

    Brightness, contrast and saturation change by up to 0.8s. The hue turns by up to 0.2s of the circle, and at most
    by half of it either way, which already is every hue.

    Source: SimCLR, Appendix A.

    Args:
        u: float32 [..., 4] in [0, 1).
        strength: s >= 0.
        impl: "simclrv1" for additive brightness (the paper), "simclrv2" for a factor.

    Returns:
        float32 [...] under each of `color.JITTER_OPS`.
    """
    turn = min(0.2 * strength, 0.5)
    return {
        "brightness": brightness_amount(u[..., 0], 0.8 * strength, impl),
        "contrast": factor(u[..., 1], 0.8 * strength),
        "saturation": factor(u[..., 2], 0.8 * strength),
        "hue": between(u[..., 3], -turn, turn),
    }


def order_of_four(u: tf.Tensor) -> tf.Tensor:
    """One of the 24 orders of four operators: int32 [..., 4]."""
    orders = tf.constant(_ORDERS_OF_FOUR, tf.int32)
    return tf.gather(orders, tf.cast(u * len(_ORDERS_OF_FOUR), tf.int32))


def quarter_turns(u: tf.Tensor) -> tf.Tensor:
    """0, 1, 2 or 3 turns by 90 degrees, equally likely: int32 [...]."""
    return tf.cast(u * 4.0, tf.int32)


def crop_box(u: tf.Tensor, height: TensorLike, width: TensorLike, min_area: float = MIN_CROP_AREA) -> tf.Tensor:
    """A random box: area uniform in [0.08, 1] of the image, aspect ratio in [3/4, 4/3] of the image's own.

    The aspect ratio is log-uniform, so that a ratio and its inverse are equally likely, over those ratios with which
    the area fits: [max(3/4, area), min(4/3, 1/area)]. It always fits, hence there is no rejection and no fallback, and
    the area stays uniform, which rejection sampling would skew towards small boxes. Sides are rounded to pixels,
    at least one; the position is uniform over the pixels where the box fits.

    Source: SimCLR, Appendix A.

    Args:
        u: float32 [..., 4] in [0, 1): area, aspect ratio, vertical and horizontal position.
        height: the image's height, an integer or int tensor [...].
        width: its width, alike.
        min_area: the smallest area in place of 0.08, in (0, 1].

    Returns:
        int32 [..., 4]: offset_y, offset_x, height, width, inside the image.
    """
    return box_of_shares(crop_shares(u, min_area), height, width)


def crop_shares(u: tf.Tensor, min_area: float = MIN_CROP_AREA) -> tf.Tensor:
    """The part of `crop_box` that does not depend on the image's size; `box_of_shares` is the rest.

    Args:
        u: float32 [..., 4], as in `crop_box`.
        min_area: likewise.

    Returns:
        float32 [..., 4]: the vertical and the horizontal position, in [0, 1), among all places where the box fits, and
        the shares of the height and of the width that it has, in (0, 1].
    """
    area = between(u[..., 0], min_area, 1.0)
    low = tf.maximum(area, CROP_ASPECT_RATIOS[0])
    high = tf.minimum(1.0 / area, CROP_ASPECT_RATIOS[1])
    ratio = low * (high / low) ** u[..., 1]
    return tf.stack([u[..., 2], u[..., 3], tf.sqrt(area / ratio), tf.sqrt(area * ratio)], axis=-1)


def box_of_shares(shares: tf.Tensor, height: TensorLike, width: TensorLike) -> tf.Tensor:
    """The box int32 [..., 4] in an image of this size, by what `crop_shares` drew."""
    size = tf.cast(tf.stack([height, width], axis=-1), tf.float32)
    side = tf.clip_by_value(tf.round(shares[..., 2:] * size), 1.0, size)
    # The product can round up to the bound itself when the image is thousands of pixels wide.
    offset = tf.minimum(tf.floor(shares[..., :2] * (size - side + 1.0)), size - side)
    return tf.cast(tf.concat([offset, side], axis=-1), tf.int32)


def cutout_box(u: tf.Tensor, height: TensorLike, width: TensorLike, fraction: float = 0.5) -> tf.Tensor:
    """A box of fixed size around a random pixel; it may reach over the edge, as in the paper of cutout.

    Source: DeVries & Taylor 2017, Section 3.2.

    Args:
        u: float32 [..., 2] in [0, 1): the pixel's row and column.
        height: the image's height, an integer or int tensor [...].
        width: its width, alike.
        fraction: of the image's sides that the box has, in (0, 1]; made even, so that the pixel is its middle.

    Returns:
        int32 [..., 4]: offset_y, offset_x, height, width.
    """
    require_range("fraction", fraction, above=0.0, at_most=1.0)
    offsets, sides = [], []
    for position, size in ((u[..., 0], height), (u[..., 1], width)):
        size = tf.cast(size, tf.float32)
        half = tf.maximum(tf.round(0.5 * fraction * size), 1.0)
        offsets.append(tf.cast(tf.floor(position * size) - half, tf.int32))
        sides.append(tf.cast(2.0 * half, tf.int32) + tf.zeros_like(offsets[-1]))
    return tf.stack([*offsets, *sides], axis=-1)
