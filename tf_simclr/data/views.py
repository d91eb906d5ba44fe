"""The random views of SimCLR: draw, then apply.

Drawing maps a key (seed, epoch, example, view) to every random number of one view; applying is deterministic. So a view
is the same whatever the parallelism and after a resumption, and both halves serve one image or a whole batch, where
a 32-pixel view costs tens of microseconds.

Source: SimCLR, section 3 and Appendix A.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import tensorflow as tf

from tf_simclr.config import OperatorOption
from tf_simclr.data.operators import (
    CROP_NUMBERS,
    Blur,
    ColorDrop,
    ColorJitter,
    CropAgain,
    Draw,
    Flip,
    Operator,
    build_operator,
)
from tf_simclr.data.source import is_small
from tf_simclr.errors import require_choice, require_range
from tf_simclr.ops import color, draws, image

# Stands for a side that is not known before the images are there.
_UNKNOWN_SIDE = 1 << 30

Shape: TypeAlias = "tf.Tensor | Sequence[int] | tf.TensorShape"

# Nothing here or in ops branches on a tensor in Python, and translating it all would take seconds at start-up.
_plain_tensor_code = tf.autograph.experimental.do_not_convert


@dataclass(frozen=True)
class ViewPolicy:
    """The family of augmentations that a view is drawn from: a crop, then operators.

    Attributes:
        image_size: side of a view in pixels.
        color_jitter_strength: s >= 0 of the colour distortion (jitter and grey); 0 turns it off altogether.
        color_jitter_impl: "simclrv1" adds to the brightness (the paper), "simclrv2" multiplies it.
        blur: whether half of the views are blurred; off for CIFAR-size images in the paper.
        composition: the operators after the crop, in order; None means flip, colour distortion and blur as the three
            attributes above say.
        crop_probability: of a random crop; otherwise the whole image is resized.
        min_crop_area: of what is cropped, in (0, 1]: the smallest area of a random crop.
        one_branch: view 0 alone gets the operators, and all views of an image have the crop of view 0.
    """

    image_size: int
    color_jitter_strength: float = 1.0
    color_jitter_impl: str = "simclrv1"
    blur: bool = True
    composition: tuple[Operator, ...] | None = None
    crop_probability: float = 1.0
    min_crop_area: float = draws.MIN_CROP_AREA
    one_branch: bool = False

    def __post_init__(self) -> None:
        """Raises InputError for values that no view can have."""
        require_range("image_size", self.image_size, at_least=1)
        require_range("color_jitter_strength", self.color_jitter_strength, at_least=0.0)
        require_choice("color_jitter_impl", self.color_jitter_impl, color.BRIGHTNESS_IMPLS)
        require_range("crop_probability", self.crop_probability, at_least=0.0, at_most=1.0)
        require_range("min_crop_area", self.min_crop_area, above=0.0, at_most=1.0)

    @classmethod
    def crop_and_flip(cls, image_size: int, min_crop_area: float = draws.MIN_CROP_AREA) -> ViewPolicy:
        """The augmentation of fine-tuning, linear evaluation and the supervised baseline (Appendix B.5, B.6)."""
        return cls(image_size=image_size, color_jitter_strength=0.0, blur=False, min_crop_area=min_crop_area)

    @classmethod
    def composed(
        cls,
        image_size: int,
        options: Sequence[OperatorOption],
        *,
        one_branch: bool = False,
        color_jitter_strength: float = 1.0,
        color_jitter_impl: str = "simclrv1",
        min_crop_area: float = draws.MIN_CROP_AREA,
    ) -> ViewPolicy:
        """A composition by the names of its operators.

        "crop" is the crop out of the image, without which the whole image is resized. With `one_branch` both views
        have that crop in common, and "crop" is another one inside it: the operator whose effect Figure 5 measures.

        Args:
            image_size: side of a view in pixels.
            options: the operators in order; crop is the first where it is there.
            one_branch: whether only view 0 gets them.
            color_jitter_strength: of color_jitter where its option has none.
            color_jitter_impl: how its brightness acts.
            min_crop_area: of what is cropped: the smallest area of every random crop.
        """
        crop_probability, operators = 1.0 if one_branch else 0.0, []
        for option in options:
            if option.name == "crop" and not one_branch:
                crop_probability = 1.0 if option.probability is None else option.probability
                continue
            jitter = option.name == "color_jitter" and option.strength is None
            strength = color_jitter_strength if jitter else option.strength
            operators.append(
                build_operator(
                    option.name,
                    strength=strength,
                    probability=option.probability,
                    impl=color_jitter_impl,
                    min_area=min_crop_area,
                )
            )
        return cls(
            image_size,
            composition=tuple(operators),
            crop_probability=crop_probability,
            min_crop_area=min_crop_area,
            one_branch=one_branch,
        )

    @property
    def operators(self) -> tuple[Operator, ...]:
        """What happens to a view after its crop, in order."""
        if self.composition is not None:
            return self.composition
        distortion = (ColorJitter(self.color_jitter_strength, self.color_jitter_impl), ColorDrop())
        return (Flip(), *distortion * (self.color_jitter_strength > 0.0), *(Blur(),) * self.blur)


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
    operators = policy.operators
    places = [CROP_NUMBERS, *(operator.numbers for operator in operators)]
    if policy.crop_probability < 1.0:
        places.append(CropAgain.numbers)
    u = draws.uniforms(key, max(numbers.stop for numbers in places))
    draw = {"box": _draw_box(policy, key, u, image_shape)}
    for operator in operators:
        mine = u[..., operator.numbers.start : operator.numbers.stop]
        drawn = operator.draw(mine, key, policy.image_size)
        if policy.one_branch:
            drawn[operator.event] &= draws.view_number(key) == 0
        draw |= drawn
    return draw


def _draw_box(policy: ViewPolicy, key: tf.Tensor, u: tf.Tensor, image_shape: Shape) -> tf.Tensor:
    """The box in the image that a view shows."""
    height, width = image_shape[0], image_shape[1]
    if policy.one_branch:
        u = draws.uniforms(draws.first_view_key(key), CROP_NUMBERS.stop)
    box = draws.crop_box(u[..., CROP_NUMBERS.start : CROP_NUMBERS.stop], height, width, policy.min_crop_area)
    if policy.crop_probability < 1.0:
        happens = draws.happens(u[..., CropAgain.numbers.start], policy.crop_probability)
        box = tf.where(happens[..., tf.newaxis], box, tf.stack([0, 0, height, width]))
    return box


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
    """The crops that all views of every image of a batch need: one for each, or one for all where they share it.

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
def apply_views(policy: ViewPolicy, crops: tf.Tensor, draw: Draw) -> tuple[tf.Tensor, ...]:
    """Makes views of crops; with `one_branch` all but the first are the crop as it is, and cost nothing.

    Args:
        policy: the one `draw` was drawn from.
        crops: of `shared_crops`.
        draw: of `draw_view`, for keys [b, v, 2].

    Returns:
        v times float32 [b, s, s, 3] in [0, 1].
    """
    if not policy.one_branch:
        return tuple(tf.unstack(apply_batch(policy, crops, draw), axis=1))
    crop, others = crops[:, 0], draw["box"].shape[1] - 1
    first = apply_batch(policy, crop, {name: value[:, 0] for name, value in draw.items()})
    return (first, *[crop] * others)


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
    if is_small(tuple(side or _UNKNOWN_SIDE for side in images.shape[1:])):
        return apply_views(policy, shared_crops(policy, images, draw), draw)

    def crops_of(image_and_boxes: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        one, boxes = image_and_boxes
        return tf.stack([apply_crop(policy, one, {"box": box}) for box in tf.unstack(boxes)])

    boxes = distinct_boxes(policy, draw["box"])
    side = policy.image_size
    spec = tf.TensorSpec([boxes.shape[1], side, side, 3], tf.float32)
    return apply_views(policy, tf.map_fn(crops_of, (images, boxes), fn_output_signature=spec), draw)
