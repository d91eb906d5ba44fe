"""The random views of SimCLR: draw, then apply.

Drawing maps a key (seed, epoch, example, view) to every random number of one view; applying is deterministic. So a view
is the same whatever the parallelism and after a resumption, and both halves serve one image or a whole batch, where
a 32-pixel view costs tens of microseconds.

Source: SimCLR, section 3 and Appendix A.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from tf_simclr.errors import require_choice, require_range
from tf_simclr.ops import blur, color, draws, image

JITTER_PROBABILITY = 0.8
GRAY_PROBABILITY = 0.2
FLIP_PROBABILITY = 0.5
BLUR_PROBABILITY = 0.5
_NUMBERS_PER_VIEW = 14

Draw = dict[str, tf.Tensor]

# Nothing here or in ops branches on a tensor in Python, and translating it all would take seconds at start-up.
_plain_tensor_code = tf.autograph.experimental.do_not_convert


@dataclass(frozen=True)
class ViewPolicy:
    """The family of augmentations that a view is drawn from; crop, resize and flip always belong to it.

    Attributes:
        image_size: side of a view in pixels.
        color_jitter_strength: s >= 0 of the colour distortion (jitter and grey); 0 turns it off altogether.
        color_jitter_impl: "simclrv1" adds to the brightness (the paper), "simclrv2" multiplies it.
        blur: whether half of the views are blurred; off for CIFAR-size images in the paper.
    """

    image_size: int
    color_jitter_strength: float = 1.0
    color_jitter_impl: str = "simclrv1"
    blur: bool = True

    def __post_init__(self) -> None:
        """Raises InputError for values that no view can have."""
        require_range("image_size", self.image_size, at_least=1)
        require_range("color_jitter_strength", self.color_jitter_strength, at_least=0.0)
        require_choice("color_jitter_impl", self.color_jitter_impl, color.BRIGHTNESS_IMPLS)

    @classmethod
    def crop_and_flip(cls, image_size: int) -> ViewPolicy:
        """The augmentation of fine-tuning, linear evaluation and the supervised baseline (Appendix B.5, B.6)."""
        return cls(image_size=image_size, color_jitter_strength=0.0, blur=False)

    @property
    def distorts_color(self) -> bool:
        """Whether views get colour jitter and grey."""
        return self.color_jitter_strength > 0.0


@_plain_tensor_code
def draw_view(policy: ViewPolicy, key: tf.Tensor, image_shape: tf.Tensor | Sequence[int] | tf.TensorShape) -> Draw:
    """Every random number of one view.

    Each number has a fixed place in the sequence of its key: switching blur or colour off leaves all other draws as
    they were.

    Args:
        policy: the family to draw from.
        key: int [..., 2], from `example_key`; leading dimensions draw a batch of views.
        image_shape: (height, width, ...) of the image, or of every image of the batch.

    Returns:
        "box" int32 [..., 4] and "flip" bool [...]; with colour also "jitter" bool, "order" int32 [..., 4],
        "brightness", "contrast", "saturation", "hue" float32 and "gray" bool; with blur also "blur" bool and "sigma"
        float32.
    """
    u = draws.uniforms(key, _NUMBERS_PER_VIEW)
    draw = {
        "box": draws.crop_box(u[..., 0:4], image_shape[0], image_shape[1]),
        "flip": draws.happens(u[..., 4], FLIP_PROBABILITY),
    }
    if policy.distorts_color:
        draw["jitter"] = draws.happens(u[..., 5], JITTER_PROBABILITY)
        draw["order"] = draws.order_of_four(u[..., 6])
        draw["gray"] = draws.happens(u[..., 11], GRAY_PROBABILITY)
        draw |= draws.jitter_amounts(u[..., 7:11], policy.color_jitter_strength, policy.color_jitter_impl)
    if policy.blur:
        draw["blur"] = draws.happens(u[..., 12], BLUR_PROBABILITY)
        draw["sigma"] = draws.between(u[..., 13], *draws.BLUR_SIGMAS)
    return draw


@_plain_tensor_code
def apply_crop(policy: ViewPolicy, images: tf.Tensor, draw: Draw) -> tf.Tensor:
    """Crops and resizes one image of any size, or a batch of images of one size.

    A batch is faster up to about 64 pixels a side; cropping larger images one by one reads only what their boxes hold.

    Args:
        policy: gives the size of the result, s.
        images: float32 [..., h, w, 3] in [0, 1].
        draw: of `draw_view`, with the same leading dimensions.

    Returns:
        float32 [..., s, s, 3].
    """
    return image.crop_and_resize(images, draw["box"], (policy.image_size, policy.image_size))


@_plain_tensor_code
def apply_batch(policy: ViewPolicy, images: tf.Tensor, draw: Draw) -> tf.Tensor:
    """Everything after the crop: flip, colour jitter, grey and blur.

    Args:
        policy: the one `draw` was drawn from.
        images: float32 [..., s, s, 3], cropped.
        draw: of `draw_view`, with the same leading dimensions.

    Returns:
        float32 [..., s, s, 3] in [0, 1].
    """
    images = image.flip_left_right(images, draw["flip"])
    if policy.distorts_color:
        amounts = {op: draw[op] for op in color.JITTER_OPS}
        images = color.jitter(images, amounts, draw["order"], draw["jitter"], policy.color_jitter_impl)
        images = color.to_grayscale(images, draw["gray"])
    if policy.blur:
        kernel_size = blur.blur_kernel_size(policy.image_size)
        images = blur.blur_chosen(images, draw["blur"], draw["sigma"], kernel_size)
    return images


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
