"""The text of --augmentation: operators by name, in order. No TensorFlow."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tf_simclr.errors import InputError, require_choice, require_range

BRANCHES = ("both", "one")
# Every operator's name, and the bounds of its strength where it has one.
OPERATORS: dict[str, dict[str, float] | None] = {
    "crop": None,
    "flip": None,
    "color_drop": None,
    "color_jitter": {"above": 0.0},
    "rotate": None,
    "cutout": {"above": 0.0, "at_most": 1.0},
    "noise": {"above": 0.0},
    "blur": {"above": 0.1},  # the smallest sigma that is drawn
    "sobel": None,
    "autoaugment": None,
}


@dataclass(frozen=True)
class OperatorOption:
    """One operator of a composition, as the flag says it; None means its default.

    Attributes:
        name: one of OPERATORS.
        strength: its meaning and bounds depend on the operator.
        probability: of every view, in (0, 1].
    """

    name: str
    strength: float | None = None
    probability: float | None = None


def read_augmentation(text: str) -> tuple[OperatorOption, ...]:
    """Reads NAME, NAME:STRENGTH, NAME@PROBABILITY or NAME:STRENGTH@PROBABILITY, separated by commas.

    Raises:
        InputError: an unknown name, a number that cannot work, or an operator twice.
    """
    options = tuple(_read_one(part.strip()) for part in text.split(",")) if text.strip() else ()
    names = [option.name for option in options]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"`augmentation` takes every operator once. Received: {', '.join(twice)} more than once in "
            f"augmentation={text}. Leave the others out"
        )
    return options


def _read_one(text: str) -> OperatorOption:
    rest, _, probability = text.partition("@")
    name, _, strength = rest.partition(":")
    require_choice("augmentation", name, OPERATORS)
    option = OperatorOption(
        name,
        _number(text, strength) if ":" in rest else None,
        _number(text, probability) if "@" in text else None,
    )
    if option.probability is not None:
        require_range(f"augmentation {name}@PROBABILITY", option.probability, above=0.0, at_most=1.0)
    if option.strength is not None:
        bounds = OPERATORS[name]
        if bounds is None:
            takes = ", ".join(other for other, limits in OPERATORS.items() if limits is not None)
            raise InputError(
                f"`augmentation` operators with a strength are: {takes}. Received: {text}. Write {name}, or "
                f"{name}@PROBABILITY"
            )
        require_range(f"augmentation {name}:STRENGTH", option.strength, **bounds)
    return option


def _number(whole: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(
            "`augmentation` is written NAME:STRENGTH@PROBABILITY with plain numbers, the last two optional. "
            f"Received: {whole}. Write for example color_jitter:0.5@0.8"
        )
    return number
