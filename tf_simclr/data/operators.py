"""The operators that views are composed of: each draws its parameters, then applies them.

Every operator reads the same numbers of a view's key whatever stands beside it, so leaving one out, adding one or
changing their order leaves the draws of all others as they were. New operators take numbers behind the last ones here.

Source: SimCLR, section 3 and Appendix A.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar, Protocol

import tensorflow as tf

from tf_simclr.errors import require_choice, require_range
from tf_simclr.ops import autoaugment, blur, color, draws, image, noise, sobel
from tf_simclr.ops.batching import Branch, flatten_batch, flatten_parameter, where_chosen

JITTER_PROBABILITY = 0.8
GRAY_PROBABILITY = 0.2
FLIP_PROBABILITY = 0.5
BLUR_PROBABILITY = 0.5

Draw = dict[str, tf.Tensor]

CROP_NUMBERS = range(4)  # of the crop out of the whole image, which is no operator: it makes the sizes equal


class Operator(Protocol):
    """What an operator is; images are float32 [..., s, s, 3] in [0, 1], and stay so.

    Attributes:
        event: name of the draw, bool [...], that says which views get the operator.
        numbers: places of its numbers in the sequence of a key.
        probability: of the event.
    """

    event: ClassVar[str]
    numbers: ClassVar[range]

    @property
    def probability(self) -> float:
        """Of the event."""

    def draw(self, u: tf.Tensor, key: tf.Tensor, size: int) -> Draw:
        """Parameters from its numbers [..., len(numbers)], the view's key [..., 2] and the side of a view."""

    def apply(self, images: tf.Tensor, draw: Draw) -> tf.Tensor:
        """Changes the chosen images and leaves the others bit for bit."""


@dataclass(frozen=True)
class Flip:
    """Mirrors left and right."""

    probability: float = FLIP_PROBABILITY
    event: ClassVar[str] = "flip"
    numbers: ClassVar[range] = range(4, 5)

    def draw(self, u: tf.Tensor, key: tf.Tensor, size: int) -> Draw:
        """Draws "flip"."""
        return {"flip": draws.happens(u[..., 0], self.probability)}

    def apply(self, images: tf.Tensor, draw: Draw) -> tf.Tensor:
        """Mirrors the chosen images."""
        return image.flip_left_right(images, draw["flip"])


@dataclass(frozen=True)
class ColorJitter:
    """Brightness, contrast, saturation and hue, in a random order."""

    strength: float = 1.0
    impl: str = "simclrv1"
    probability: float = JITTER_PROBABILITY
    event: ClassVar[str] = "jitter"
    numbers: ClassVar[range] = range(5, 11)

    def __post_init__(self) -> None:
        require_range("color_jitter_strength", self.strength, at_least=0.0)
        require_choice("color_jitter_impl", self.impl, color.BRIGHTNESS_IMPLS)

    def draw(self, u: tf.Tensor, key: tf.Tensor, size: int) -> Draw:
        """Draws "jitter", "order" int32 [..., 4] and the amounts of `color.JITTER_OPS`."""
        drawn = {"jitter": draws.happens(u[..., 0], self.probability), "order": draws.order_of_four(u[..., 1])}
        return drawn | draws.jitter_amounts(u[..., 2:6], self.strength, self.impl)

    def apply(self, images: tf.Tensor, draw: Draw) -> tf.Tensor:
        """Jitters the chosen images."""
        amounts = {op: draw[op] for op in color.JITTER_OPS}
        return color.jitter(images, amounts, draw["order"], draw["jitter"], self.impl)


@dataclass(frozen=True)
class ColorDrop:
    """Grey in place of colours."""

    probability: float = GRAY_PROBABILITY
    event: ClassVar[str] = "gray"
    numbers: ClassVar[range] = range(11, 12)

    def draw(self, u: tf.Tensor, key: tf.Tensor, size: int) -> Draw:
        """Draws "gray"."""
        return {"gray": draws.happens(u[..., 0], self.probability)}

    def apply(self, images: tf.Tensor, draw: Draw) -> tf.Tensor:
        """Makes the chosen images grey."""
        return color.to_grayscale(images, draw["gray"])


@dataclass(frozen=True)
class Blur:
    """Gaussian blur; `strength` is the largest sigma in pixels."""

    strength: float = draws.BLUR_SIGMAS[1]
    probability: float = BLUR_PROBABILITY
    event: ClassVar[str] = "blur"
    numbers: ClassVar[range] = range(12, 14)

    def draw(self, u: tf.Tensor, key: tf.Tensor, size: int) -> Draw:
        """Draws "blur" and "sigma"."""
        sigma = draws.between(u[..., 1], draws.BLUR_SIGMAS[0], self.strength)
        return {"blur": draws.happens(u[..., 0], self.probability), "sigma": sigma}

    def apply(self, images: tf.Tensor, draw: Draw) -> tf.Tensor:
        """Blurs the chosen images."""
        return blur.blur_chosen(images, draw["blur"], draw["sigma"], blur.blur_kernel_size(images.shape[-3]))


@dataclass(frozen=True)
class Rotate:
    """Rotation by 0, 90, 180 or 270 degrees, equally likely."""

    probability: float = 1.0
    event: ClassVar[str] = "rotate"
    numbers: ClassVar[range] = range(14, 16)

    def draw(self, u: tf.Tensor, key: tf.Tensor, size: int) -> Draw:
        """Draws "rotate" and "turns" int32."""
        return {"rotate": draws.happens(u[..., 0], self.probability), "turns": draws.quarter_turns(u[..., 1])}

    def apply(self, images: tf.Tensor, draw: Draw) -> tf.Tensor:
        """Turns the chosen images."""
        return image.rotate_quarters(images, tf.where(draw["rotate"], draw["turns"], 0))


@dataclass(frozen=True)
class Cutout:
    """A black square around a random pixel; `strength` is its share of the image's side."""

    strength: float = 0.5
    probability: float = 1.0
    event: ClassVar[str] = "cutout"
    numbers: ClassVar[range] = range(16, 19)

    def draw(self, u: tf.Tensor, key: tf.Tensor, size: int) -> Draw:
        """Draws "cutout" and "cutout_box" int32 [..., 4]."""
        box = draws.cutout_box(u[..., 1:3], size, size, self.strength)
        return {"cutout": draws.happens(u[..., 0], self.probability), "cutout_box": box}

    def apply(self, images: tf.Tensor, draw: Draw) -> tf.Tensor:
        """Covers the boxes of the chosen images."""
        return image.cutout(images, tf.where(draw["cutout"][..., tf.newaxis], draw["cutout_box"], 0))


@dataclass(frozen=True)
class Noise:
    """Gaussian noise; `strength` is its sigma.

    SimCLR does not say which sigma it used. 0.08 is the weakest of the five of ImageNet-C and the middle one of
    CIFAR-10-C (Hendrycks & Dietterich 2019).
    """

    strength: float = 0.08
    probability: float = 1.0
    event: ClassVar[str] = "noise"
    numbers: ClassVar[range] = range(19, 20)

    def draw(self, u: tf.Tensor, key: tf.Tensor, size: int) -> Draw:
        """Draws "noise"; the numbers of the pixels stay a key, "noise_key" int64 [..., 2]."""
        return {"noise": draws.happens(u[..., 0], self.probability), "noise_key": draws.noise_key(key)}

    def apply(self, images: tf.Tensor, draw: Draw) -> tf.Tensor:
        """Adds noise to the chosen images."""
        keys = tf.reshape(draw["noise_key"], [-1, 2])
        return _to_chosen(
            images,
            draw["noise"],
            lambda part, rows: noise.gaussian_noise(part, tf.gather(keys, rows), self.strength),
        )


@dataclass(frozen=True)
class Sobel:
    """Sobel filtering."""

    probability: float = 1.0
    event: ClassVar[str] = "sobel"
    numbers: ClassVar[range] = range(20, 21)

    def draw(self, u: tf.Tensor, key: tf.Tensor, size: int) -> Draw:
        """Draws "sobel"."""
        return {"sobel": draws.happens(u[..., 0], self.probability)}

    def apply(self, images: tf.Tensor, draw: Draw) -> tf.Tensor:
        """Filters the chosen images."""
        return _to_chosen(images, draw["sobel"], lambda part, _: sobel.sobel(part))


@dataclass(frozen=True)
class AutoAugment:
    """One of the 25 sub-policies of AutoAugment that were learnt on ImageNet."""

    probability: float = 1.0
    event: ClassVar[str] = "autoaugment"
    numbers: ClassVar[range] = range(21, 27)

    def draw(self, u: tf.Tensor, key: tf.Tensor, size: int) -> Draw:
        """Draws "autoaugment", "operations" int32 [..., 2] and "amounts" float32 [..., 2]."""
        operations, amounts = autoaugment.draw_operations(u[..., 1:6])
        chosen = draws.happens(u[..., 0], self.probability)
        return {"autoaugment": chosen, "operations": operations, "amounts": amounts}

    def apply(self, images: tf.Tensor, draw: Draw) -> tf.Tensor:
        """Applies its sub-policy to every chosen image."""
        none = len(autoaugment.OPERATIONS)
        operations = tf.where(draw["autoaugment"][..., tf.newaxis], draw["operations"], none)
        return autoaugment.apply_operations(images, operations, draw["amounts"])


@dataclass(frozen=True)
class CropAgain:
    """A random crop of what was cropped already, for the one view that gets the operators (SimCLR, Figure 5)."""

    probability: float = 1.0
    min_area: float = draws.MIN_CROP_AREA
    event: ClassVar[str] = "crop_again"
    numbers: ClassVar[range] = range(27, 32)

    def draw(self, u: tf.Tensor, key: tf.Tensor, size: int) -> Draw:
        """Draws "crop_again" and "inner_box" int32 [..., 4]."""
        box = draws.crop_box(u[..., 1:5], size, size, self.min_area)
        return {"crop_again": draws.happens(u[..., 0], self.probability), "inner_box": box}

    def apply(self, images: tf.Tensor, draw: Draw) -> tf.Tensor:
        """Crops and resizes the chosen images."""
        boxes, side = tf.reshape(draw["inner_box"], [-1, 4]), images.shape[-3]
        return _to_chosen(
            images,
            draw["crop_again"],
            lambda part, rows: image.crop_and_resize(part, tf.gather(boxes, rows), (side, side)),
        )


# By the names that the config knows.
OPERATOR_TYPES: dict[str, type[Operator]] = {
    "crop": CropAgain,
    "flip": Flip,
    "color_drop": ColorDrop,
    "color_jitter": ColorJitter,
    "rotate": Rotate,
    "cutout": Cutout,
    "noise": Noise,
    "blur": Blur,
    "sobel": Sobel,
    "autoaugment": AutoAugment,
}


def build_operator(name: str, **parameters: float | str | None) -> Operator:
    """An operator by its name; parameters that it has not, and those that are None, are left out."""
    kind = OPERATOR_TYPES[name]
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{key: value for key, value in parameters.items() if key in known and value is not None})


def _to_chosen(images: tf.Tensor, chosen: tf.Tensor, branch: Branch) -> tf.Tensor:
    flat, restore = flatten_batch(images)
    return restore(where_chosen(flat, flatten_parameter(chosen, images), branch))
