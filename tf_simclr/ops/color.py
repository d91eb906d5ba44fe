"""Colour distortion: each operator exact given its parameters and followed by a clip to [0, 1].

Images are float32 RGB [..., h, w, 3] in [0, 1]; parameters are scalars or one value an image [...]. One image alone
goes through TensorFlow's own kernels, which take one parameter for all they are given; a batch goes through formulas
that take one for each image.
Source: SimCLR, Appendix A.
"""

from __future__ import annotations

from typing import TypeAlias

import tensorflow as tf

from tf_simclr.errors import require_choice
from tf_simclr.ops.batching import (
    by_case,
    flatten_batch,
    flatten_parameter,
    is_one,
    per_image,
    scalar,
    shapes_are_static,
    unchanged,
    where_chosen,
)
from tf_simclr.ops.image import clip

BRIGHTNESS_IMPLS = ("simclrv1", "simclrv2")
JITTER_OPS = ("brightness", "contrast", "saturation", "hue")  # what the numbers in an order mean
_LUMA = (0.2989, 0.5870, 0.1140)  # ITU-R BT.601 as tf.image.rgb_to_grayscale rounds it
_TINY = 1e-12  # below any chroma that float32 colours can have, so it only stands in for zero

Parameter: TypeAlias = "tf.Tensor | float"
Channels: TypeAlias = "list[tf.Tensor]"


def brightness(images: tf.Tensor, amount: Parameter, impl: str = "simclrv1") -> tf.Tensor:
    """Adds `amount` ("simclrv1", the paper) or multiplies by it ("simclrv2")."""
    require_choice("impl", impl, BRIGHTNESS_IMPLS)
    amount = per_image(amount, images)
    return clip(images + amount if impl == "simclrv1" else images * amount)


def contrast(images: tf.Tensor, factor: Parameter) -> tf.Tensor:
    """Multiplies the distance of every channel from its mean over the image by `factor` >= 0."""
    if is_one(images):
        return clip(tf.raw_ops.AdjustContrastv2(images=images, contrast_factor=scalar(factor)))
    factor = per_image(factor, images)
    mean = tf.reduce_mean(images, axis=[-3, -2], keepdims=True)
    return clip(images * factor + mean * (1.0 - factor))


def saturation(images: tf.Tensor, factor: Parameter) -> tf.Tensor:
    """Multiplies the saturation of HSV by `factor` >= 0, at most to 1.

    With hue and value fixed every channel c is v - (v - c) * s'/s, so there is no need to go to HSV and back; s' <= 1
    bounds the ratio by 1/s = v / chroma.
    """
    if is_one(images):
        return clip(tf.raw_ops.AdjustSaturation(images=images, scale=scalar(factor)))
    return tf.stack(_saturated(tf.unstack(images, axis=-1), per_image(factor, images)[..., 0]), axis=-1)


def _saturated(channels: Channels, factor: tf.Tensor) -> Channels:
    """`saturation` of channels [..., h, w] by a factor [..., 1, 1]."""
    value, chroma = _value_and_chroma(channels)
    bound = value / tf.maximum(chroma, _TINY)
    ratio = tf.minimum(factor, bound)
    return [clip(value - (value - channel) * ratio) for channel in channels]


def hue(images: tf.Tensor, delta: Parameter) -> tf.Tensor:
    """Turns the hue of HSV by `delta` of the full circle (any real number); value and saturation stay.

    In sixths of the circle, a channel whose own hue lies at p is v - chroma * clip(min(k, 4 - k), 0, 1) with
    k = (hue + 5 - p) mod 6: one formula for the six sectors, so nothing has to branch.
    """
    if is_one(images):
        turn = scalar(delta)
        return clip(tf.raw_ops.AdjustHue(images=images, delta=turn - tf.round(turn)))
    return tf.stack(_turned(tf.unstack(images, axis=-1), per_image(delta, images)[..., 0]), axis=-1)


def _turned(channels: Channels, delta: tf.Tensor) -> Channels:
    """`hue` of channels [..., h, w] by turns [..., 1, 1]."""
    red, green, blue = channels
    value, chroma = _value_and_chroma(channels)
    red_leads, green_leads = red >= value, green >= value
    along = tf.where(red_leads, green - blue, tf.where(green_leads, blue - red, red - green))
    sector = tf.where(red_leads, 0.0, tf.where(green_leads, 2.0, 4.0))
    turned = along / tf.maximum(chroma, _TINY) + sector + 6.0 * delta
    result = []
    for start in (5.0, 3.0, 1.0):  # red, green, blue
        k = turned + start
        k -= 6.0 * tf.floor(k * (1.0 / 6.0))  # tf.math.floormod takes ten times as long
        result.append(clip(value - chroma * clip(tf.minimum(k, 4.0 - k))))
    return result


def to_grayscale(images: tf.Tensor, chosen: tf.Tensor | bool = True) -> tf.Tensor:
    """Replaces the three channels of the `chosen` images (bool scalar or [...]) by their luma."""
    flat, restore = flatten_batch(images)
    return restore(where_chosen(flat, flatten_parameter(chosen, images), lambda part, _: clip(_luma(part))))


def _luma(images: tf.Tensor) -> tf.Tensor:
    """Of images [b, h, w, 3], in all three channels."""
    if shapes_are_static():  # a product may be rounded to ten bits on an accelerator
        grey = tf.add_n([weight * channel for weight, channel in zip(_LUMA, tf.unstack(images, axis=-1), strict=True)])
        return tf.stack([grey] * 3, axis=-1)
    return tf.einsum("bhwc,cd->bhwd", images, tf.constant([[weight] * 3 for weight in _LUMA], images.dtype))


def jitter(
    images: tf.Tensor,
    amounts: dict[str, Parameter],
    order: tf.Tensor,
    chosen: tf.Tensor | bool = True,
    impl: str = "simclrv1",
) -> tf.Tensor:
    """Brightness, contrast, saturation and hue in an order of each image's own.

    In each of four rounds the batch is split by the operator whose turn it is, so an image passes through every
    operator once: four times cheaper than computing all of them in all rounds, as in `batching.static_shapes`.

    Args:
        images: float32 [..., h, w, 3].
        amounts: what each of JITTER_OPS takes, scalars or [...].
        order: int32 [4] or [..., 4]: order[k] is the number in JITTER_OPS of the operator of round k.
        chosen: bool scalar or [...]: which images are jittered at all.
        impl: how brightness acts, one of BRIGHTNESS_IMPLS.

    Returns:
        float32 [..., h, w, 3] in [0, 1].
    """
    require_choice("impl", impl, BRIGHTNESS_IMPLS)
    flat, restore = flatten_batch(images)
    amounts = {op: flatten_parameter(amounts[op], images) for op in JITTER_OPS}
    chosen = flatten_parameter(chosen, images)
    turns = tf.unstack(order, num=len(JITTER_OPS), axis=-1)
    cases = [tf.where(chosen, flatten_parameter(turn, images), len(JITTER_OPS)) for turn in turns]
    if shapes_are_static():
        return restore(_jitter_in_planes(flat, amounts, cases, impl))
    branches = [
        lambda part, rows: brightness(part, tf.gather(amounts["brightness"], rows), impl),
        lambda part, rows: contrast(part, tf.gather(amounts["contrast"], rows)),
        lambda part, rows: saturation(part, tf.gather(amounts["saturation"], rows)),
        lambda part, rows: hue(part, tf.gather(amounts["hue"], rows)),
        unchanged,
    ]
    for case in cases:
        flat = by_case(flat, case, branches)
    return restore(flat)


def _jitter_in_planes(images: tf.Tensor, amounts: dict[str, tf.Tensor], cases: list[tf.Tensor], impl: str) -> tf.Tensor:
    """`jitter` of a whole batch [b, h, w, 3], every image through every operator; amounts and cases of rounds are [b].

    The channels stay apart to the end: put together and taken apart in every round, they would go through an
    accelerator's memory as often.
    """
    shape = [-1, 1, 1]
    by = {op: tf.reshape(amount, shape) for op, amount in amounts.items()}
    channels = tf.unstack(images, axis=-1)
    for case in cases:
        chosen = [tf.reshape(case == number, shape) for number in range(len(JITTER_OPS))]
        means = [tf.reduce_mean(channel, axis=[-2, -1], keepdims=True) for channel in channels]
        results = [
            [
                clip(channel + by["brightness"] if impl == "simclrv1" else channel * by["brightness"])
                for channel in channels
            ],
            [clip(c * by["contrast"] + m * (1.0 - by["contrast"])) for c, m in zip(channels, means, strict=True)],
            _saturated(channels, by["saturation"]),
            _turned(channels, by["hue"]),
        ]
        for mine, result in zip(chosen, results, strict=True):
            channels = [tf.where(mine, new, old) for new, old in zip(result, channels, strict=True)]
    return tf.stack(channels, axis=-1)


def _value_and_chroma(channels: Channels) -> tuple[tf.Tensor, tf.Tensor]:
    """HSV's value (the largest channel) and the distance to the smallest, without the channel axis."""
    red, green, blue = channels
    value = tf.maximum(tf.maximum(red, green), blue)
    return value, value - tf.minimum(tf.minimum(red, green), blue)
