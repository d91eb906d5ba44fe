"""AutoAugment with the policy that was learnt on ImageNet (a row of SimCLR's Table 1).

A policy is a table of sub-policies, each two (operation, probability, level). An image gets one of them at random. The
paper gives ten levels for every range; where it leaves something open, this is what happens here:

- level L of 0..9 lies L/9 of the way through the range;
- shears, shifts and rotations go up to their bound to either side, the side drawn at random;
- a higher level solarises and posterises more, as in the authors' code: the threshold falls from 256 to 0, the bits
  from 8 to 4;
- shifts are relative to the image: up to 150 pixels of the 331 that the policy was searched with;
- what comes from outside the image is grey (128 of 255), and geometry takes the nearest pixel.

Source: Cubuk et al. 2019, "AutoAugment: Learning Augmentation Strategies from Data", Appendix, Tables 6 and 9.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf_simclr.ops import affine, draws, tone
from tf_simclr.ops.batching import Branch, by_case, flatten_batch, flatten_parameter, unchanged

Operation = tuple[str, float, int]
Policy = tuple[tuple[Operation, Operation], ...]

TOP_LEVEL = 9
FILL = 128 / 255

# Where the paper's operation has no magnitude, its level has no effect and is written as 0.
IMAGENET_POLICY: Policy = (
    (("posterize", 0.4, 8), ("rotate", 0.6, 9)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, 0)),
    (("equalize", 0.8, 0), ("equalize", 0.6, 0)),
    (("posterize", 0.6, 7), ("posterize", 0.6, 6)),
    (("equalize", 0.4, 0), ("solarize", 0.2, 4)),
    (("equalize", 0.4, 0), ("rotate", 0.8, 8)),
    (("solarize", 0.6, 3), ("equalize", 0.6, 0)),
    (("posterize", 0.8, 5), ("equalize", 1.0, 0)),
    (("rotate", 0.2, 3), ("solarize", 0.6, 8)),
    (("equalize", 0.6, 0), ("posterize", 0.4, 6)),
    (("rotate", 0.8, 8), ("color", 0.4, 0)),
    (("rotate", 0.4, 9), ("equalize", 0.6, 0)),
    (("equalize", 0.0, 0), ("equalize", 0.8, 0)),
    (("invert", 0.6, 0), ("equalize", 1.0, 0)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("rotate", 0.8, 8), ("color", 1.0, 2)),
    (("color", 0.8, 8), ("solarize", 0.8, 7)),
    (("sharpness", 0.4, 7), ("invert", 0.6, 0)),
    (("shear_x", 0.6, 5), ("equalize", 1.0, 0)),
    (("color", 0.4, 0), ("equalize", 0.6, 0)),
    (("equalize", 0.4, 0), ("solarize", 0.2, 4)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, 0)),
    (("invert", 0.6, 0), ("equalize", 1.0, 0)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("equalize", 0.8, 0), ("equalize", 0.6, 0)),
)


# What moves pixels: each makes maps [n, 2, 3] of `affine` from (amounts [n], height, width). Shifts: shares of sides.
_MAPS: dict[str, Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "shear_x": lambda amount, height, width: affine.shear_x(amount),
    "shear_y": lambda amount, height, width: affine.shear_y(amount),
    "translate_x": lambda amount, height, width: affine.translate(amount * width, tf.zeros_like(amount)),
    "translate_y": lambda amount, height, width: affine.translate(tf.zeros_like(amount), amount * height),
    "rotate": affine.rotate,
}
# What changes their values: each maps (images [n, h, w, 3], amounts [n]) to images.
_TONES: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "autocontrast": lambda images, _: tone.autocontrast(images),
    "invert": lambda images, _: tone.invert(images),
    "equalize": lambda images, _: tone.equalize(images),
    "solarize": tone.solarize,
    "posterize": tone.posterize,
    "contrast": tone.contrast,
    "color": tone.saturation,
    "brightness": tone.brightness,
    "sharpness": tone.sharpness,
}
OPERATIONS = (*_MAPS, *_TONES)
_NUMBER_OF = {name: number for number, name in enumerate(OPERATIONS)}
# The amount at level 0 and at the top level. The first group goes to either side.
_SIGNED_RANGES = {
    "shear_x": (0.0, 0.3),
    "shear_y": (0.0, 0.3),
    "translate_x": (0.0, 150 / 331),
    "translate_y": (0.0, 150 / 331),
    "rotate": (0.0, 30.0),
}
_RANGES = {
    "solarize": (256 / 255, 0.0),
    "posterize": (8.0, 4.0),
    "contrast": (0.1, 1.9),
    "color": (0.1, 1.9),
    "brightness": (0.1, 1.9),
    "sharpness": (0.1, 1.9),
}


def amount_at(name: str, level: int) -> float:
    """What an operation takes at a level of 0..9, without its sign; 0 for one that takes nothing."""
    low, high = (_SIGNED_RANGES | _RANGES).get(name, (0.0, 0.0))
    amount = low + (high - low) * level / TOP_LEVEL
    return float(round(amount)) if name == "posterize" else amount


def draw_operations(u: tf.Tensor, policy: Policy = IMAGENET_POLICY) -> tuple[tf.Tensor, tf.Tensor]:
    """Which two operations an image gets, and how strong.

    Args:
        u: float32 [..., 5] in [0, 1): the sub-policy, whether each of its two happens, the side of each.
        policy: the table of sub-policies.

    Returns:
        operations int32 [..., 2], numbers in OPERATIONS, or their count for none; amounts float32 [..., 2].
    """
    row = tf.cast(u[..., 0] * len(policy), tf.int32)

    def column(value: Callable[[Operation], float], dtype: tf.DType) -> tf.Tensor:
        table = tf.constant([[value(operation) for operation in pair] for pair in policy], dtype)
        return tf.gather(table, row)  # [..., 2]

    happens = draws.happens(u[..., 1:3], column(lambda operation: operation[1], tf.float32))
    number = column(lambda operation: _NUMBER_OF[operation[0]], tf.int32)
    amount = column(lambda operation: amount_at(operation[0], operation[2]), tf.float32)
    signed = column(lambda operation: operation[0] in _SIGNED_RANGES, tf.bool)
    amount = tf.where(signed & draws.happens(u[..., 3:5], 0.5), -amount, amount)
    return tf.where(happens, number, len(OPERATIONS)), amount


def apply_operations(images: tf.Tensor, operations: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    """One operation after the other, each image its own.

    Args:
        images: float32 [..., h, w, 3] in [0, 1].
        operations: int32 [..., k], numbers in OPERATIONS, or their count for none.
        amounts: float32 [..., k], what these operations take.

    Returns:
        float32 [..., h, w, 3] in [0, 1].
    """
    flat, restore = flatten_batch(images)
    for turn in range(operations.shape[-1]):
        numbers, mine = (flatten_parameter(values[..., turn], images) for values in (operations, amounts))
        flat = by_case(flat, tf.maximum(numbers - len(_MAPS) + 1, 0), _branches(numbers, mine))
    return restore(flat)


def _branches(numbers: tf.Tensor, amounts: tf.Tensor) -> list[Branch]:
    """One for all of _MAPS, one for each of _TONES, and one for none, by the operations and amounts [n] of images."""

    def moved(images: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        return _moved(images, tf.gather(numbers, rows), tf.gather(amounts, rows))

    def toned(apply: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> Branch:
        return lambda images, rows: apply(images, tf.gather(amounts, rows))

    return [moved, *map(toned, _TONES.values()), unchanged]


def _moved(images: tf.Tensor, numbers: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    """Images [n, h, w, 3] under the operations of _MAPS with these numbers [n]; all of them look up pixels once."""
    height, width = (tf.cast(tf.shape(images)[axis], tf.float32) for axis in (-3, -2))
    maps = tf.stack([make(amounts, height, width) for make in _MAPS.values()], axis=1)  # [n, operations, 2, 3]
    maps = tf.gather(maps, tf.minimum(numbers, len(_MAPS) - 1), batch_dims=1)
    return affine.transform(images, maps, FILL)
