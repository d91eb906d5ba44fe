"""The one error class for what a person can fix, and the end that a person asks for."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable


class InputError(ValueError):
    """Something the user passed (a flag, a file, a tensor's shape) cannot work.

    The message is one line: what is wrong, what was received, what to do. The command line prints it without a
    traceback and exits with a code other than 0.
    """


class StoppedError(BaseException):
    """Somebody asked to stop; what was done so far is kept.

    A signal may raise it anywhere. As KeyboardInterrupt it is no Exception: whoever handles errors lets it pass.
    """


class NotWrittenError(InputError):
    """Results cannot be written: the disk is full, or the directory may not be written. Nothing else could be either.

    The command line exits with the code of a file error, so that a supervisor starts it again.
    """


class DivergedError(InputError):
    """A training run or a network has left the range of floating-point numbers."""


def is_of_tensorflow(error: BaseException) -> bool:
    """Whether one of TensorFlow's operations raised it; who has not imported TensorFlow does not need to."""
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(error, tensorflow.errors.OpError)


def require_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Raises InputError, listing the choices, when `value` is not one of them."""
    known = list(choices)
    if value not in known:
        listed = ", ".join(str(choice) for choice in known)
        raise InputError(f"`{name}` must be one of: {listed}. Received: {name}={value!r}")


def require_range(
    name: str,
    value: float,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
) -> None:
    """Raises InputError when a number leaves its range or is not finite; bounds that are None are open."""
    try:
        finite = math.isfinite(value)
    except OverflowError:  # an int that no float holds
        finite = True
    bounds = [(finite, "finite")]
    if above is not None:
        bounds.append((value > above, f"> {above:g}"))
    if at_least is not None:
        bounds.append((value >= at_least, f">= {at_least:g}"))
    if at_most is not None:
        bounds.append((value <= at_most, f"<= {at_most:g}"))
    if not all(holds for holds, _ in bounds):
        wanted = " and ".join(text for _, text in (bounds[1:] if finite else bounds))
        raise InputError(f"`{name}` must be {wanted}. Received: {name}={value}")
