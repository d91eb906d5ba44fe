"""The random views of SimCLR: draw, then apply.

Drawing maps a key (seed, epoch, example, view) to every random number of one view; applying is deterministic. So a view
is the same whatever the parallelism and after a resumption, and both halves serve one image or a whole batch, where
a 32-pixel view costs tens of microseconds.

Source: SimCLR, section 3 and Appendix A.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import tensorflow as tf

from tf_simclr.data.operators import CROP_NUMBERS, CropAgain, Draw
from tf_simclr.data.policy import ViewPolicy as ViewPolicy
from tf_simclr.data.source import is_small
from tf_simclr.ops import draws, image

# Stands for a side that is not known before the images are there.
_UNKNOWN_SIDE = 1 << 30

Shape: TypeAlias = "tf.Tensor | Sequence[int] | tf.TensorShape"

# Nothing here or in ops branches on a tensor in Python, and translating it all would take seconds at start-up.
_plain_tensor_code = tf.autograph.experimental.do_not_convert


@_plain_tensor_code
def draw_view(policy: ViewPolicy, key: tf.Tensor, image_shape: Shape) -> Draw:
    """Every random number of one view.

    Each number has a fixed place in the sequence of its key: switching blur or colour off leaves all other draws as
    they were.

    Args:
        policy: the family to draw from.
        key: int [..., 2], from `example_key`; leading dimensions draw a batch of views.
        image_shape: (height, width, ...) of the image, or of every image of the batch.

    Returns:
        "box" int32 [..., 4], and what the policy's operators draw: see `operators`.
    """
    shares, drawn = draw_before_decoding(policy, key)
    return {"box": draws.box_of_shares(shares, image_shape[0], image_shape[1]), **drawn}


def draw_before_decoding(policy: ViewPolicy, key: tf.Tensor) -> tuple[tf.Tensor, Draw]:
    """What a view takes whatever the size of its image is.

    Args:
        policy: the family to draw from.
        key: int [..., 2], as in `draw_view`.

    Returns:
        the crop, float32 [..., 4], which `draws.box_of_shares` makes a box of; and what the policy's operators draw.
    """
    operators = policy.operators
    last = CROP_NUMBERS.stop if policy.crop_probability == 1.0 else CropAgain.numbers.start + 1
    u = draws.uniforms(key, max([last, *(operator.numbers.stop for operator in operators)]))
    drawn: Draw = {}
    for operator in operators:
        mine = operator.draw(u[..., operator.numbers.start : operator.numbers.stop], key, policy.image_size)
        if policy.one_branch:
            mine[operator.event] &= draws.view_number(key) == 0
        drawn |= mine
    if policy.one_branch:
        u = draws.uniforms(draws.first_view_key(key), last)
    shares = draws.crop_shares(u[..., CROP_NUMBERS.start : CROP_NUMBERS.stop], policy.min_crop_area)
    if policy.crop_probability < 1.0:
        happens = draws.happens(u[..., CropAgain.numbers.start], policy.crop_probability)
        shares = tf.where(happens[..., tf.newaxis], shares, [0.0, 0.0, 1.0, 1.0])
    return shares, drawn


@_plain_tensor_code
def apply_crop(policy: ViewPolicy, images: tf.Tensor, draw: Draw) -> tf.Tensor:
    """Crops and resizes one image of any size, or a batch of images of one size.

    A batch is faster up to about 64 pixels a side; cropping larger images one by one reads only what their boxes hold.

    Args:
        policy: gives the size of the result, s.
        images: float32 [..., h, w, 3] in [0, 1]; a single one also uint8.
        draw: of `draw_view`, with the same leading dimensions.

    Returns:
        float32 [..., s, s, 3].
    """
    return image.crop_and_resize(images, draw["box"], (policy.image_size, policy.image_size))


@_plain_tensor_code
def apply_batch(policy: ViewPolicy, images: tf.Tensor, draw: Draw) -> tf.Tensor:
    """Everything after the crop: the policy's operators, one after the other.

    Args:
        policy: the one `draw` was drawn from.
        images: float32 [..., s, s, 3], cropped.
        draw: of `draw_view`, with the same leading dimensions.

    Returns:
        float32 [..., s, s, 3] in [0, 1].
    """
    for operator in policy.operators:
        images = operator.apply(images, draw)
    return images


@_plain_tensor_code
def shared_crops(policy: ViewPolicy, images: tf.Tensor, draw: Draw) -> tf.Tensor:
    """`cut_crops` of a whole batch of images of one size.

    Args:
        policy: the one `draw` was drawn from.
        images: float32 [b, h, w, 3] in [0, 1].
        draw: of `draw_view`, for keys [b, v, 2].

    Returns:
        float32 [b, v, s, s, 3], or [b, 1, s, s, 3] with `one_branch`.
    """
    return image.crops(images, distinct_boxes(policy, draw["box"]), (policy.image_size, policy.image_size))


def distinct_boxes(policy: ViewPolicy, boxes: tf.Tensor) -> tf.Tensor:
    """The boxes int32 [..., v, 4] of all views without repetition: with `one_branch` only the first."""
    return boxes[..., :1, :] if policy.one_branch else boxes


@_plain_tensor_code
def cut_crops(policy: ViewPolicy, pixels: tf.Tensor, boxes: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """The crops that all views of one image need: one for each, or one for all where they share it.

    Args:
        policy: gives the size of a crop, s.
        pixels: uint8, or float32 in [0, 1]; [h, w, 3].
        boxes: int32 [v, 4], of all views.

    Returns:
        v times float32 [s, s, 3] in [0, 1]; one with `one_branch`.
    """
    return tuple(apply_crop(policy, pixels, {"box": box}) for box in tf.unstack(distinct_boxes(policy, boxes)))


@_plain_tensor_code
def apply_views(
    policy: ViewPolicy, crops: Any, draw: Draw, num_views: int, one_by_one: bool = False
) -> tuple[tf.Tensor, ...]:
    """Makes views of crops; with `one_branch` all but the first are the crop as it is, and cost nothing.

    Args:
        policy: the one `draw` was drawn from.
        crops: float32 in [0, 1] or uint8: of each view, or of all with `one_branch`; [..., s, s, 3], a batch or not; or
            all of a batch in one tensor, of `shared_crops`.
        draw: of `draw_view`, for keys [..., v, 2].
        num_views: v.
        one_by_one: each view by itself, and not all of them at once: what large views want on a CPU.

    Returns:
        v times float32 [..., s, s, 3] in [0, 1].
    """
    if tf.is_tensor(crops):
        if not policy.one_branch:
            return tuple(tf.unstack(apply_batch(policy, crops, draw), axis=-4))
        crops = [crops[..., 0, :, :, :]]
    crops = [from_levels(crop) for crop in crops]
    leading = len(crops[0].shape) - 3

    parts = {name: tf.unstack(value, num_views, axis=leading) for name, value in draw.items()}
    of_view = [{name: part[view] for name, part in parts.items()} for view in range(num_views)]
    if policy.one_branch:
        return (apply_batch(policy, crops[0], of_view[0]), *crops * (num_views - 1))
    if one_by_one:
        return tuple(apply_batch(policy, crop, of_one) for crop, of_one in zip(crops, of_view, strict=True))
    return tuple(tf.unstack(apply_batch(policy, tf.stack(crops, axis=-4), draw), axis=-4))


def to_levels(crop: tf.Tensor) -> tf.Tensor:
    """Float32 in [0, 1] -> the nearest of the 256 levels, uint8: a quarter of the bytes on the way to a device."""
    return tf.cast(crop * 255.0 + 0.5, tf.uint8)


def from_levels(images: tf.Tensor) -> tf.Tensor:
    """Float32 in [0, 1] of what `to_levels` made; float32 stays as it is."""
    return tf.cast(images, tf.float32) * (1.0 / 255.0) if images.dtype == tf.uint8 else images


@_plain_tensor_code
def make_view(policy: ViewPolicy, images: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """One view of one image, or of every image of a batch of one size: draw, crop, apply.

    Args:
        policy: the family to draw from.
        images: float32 [..., h, w, 3] in [0, 1].
        key: int [..., 2], with the same leading dimensions.

    Returns:
        float32 [..., s, s, 3] in [0, 1].
    """
    draw = draw_view(policy, key, tf.shape(images)[-3:])
    return apply_batch(policy, apply_crop(policy, images, draw), draw)


@_plain_tensor_code
def make_views(policy: ViewPolicy, images: tf.Tensor, keys: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Several views of every image of a batch of one size, cropped together or one by one, whichever is faster.

    Args:
        policy: the family to draw from.
        images: float32 [n, h, w, 3] in [0, 1].
        keys: int64 [n, v, 2], from `example_key`; v is known.

    Returns:
        v times float32 [n, s, s, 3] in [0, 1].
    """
    draw = draw_view(policy, keys, tf.shape(images)[1:])
    num_views = keys.shape[1]
    if is_small(tuple(side or _UNKNOWN_SIDE for side in images.shape[1:])):
        return apply_views(policy, shared_crops(policy, images, draw), draw, num_views)
    boxes = distinct_boxes(policy, draw["box"])
    side = policy.image_size
    spec = (tf.TensorSpec([side, side, 3], tf.float32),) * boxes.shape[1]
    crops = tf.map_fn(lambda one: cut_crops(policy, *one), (images, boxes), fn_output_signature=spec)
    return apply_views(policy, crops, draw, num_views)
