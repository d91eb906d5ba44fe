"""How a field of the config says what its flag is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

from tf_simclr.errors import InputError, require_choice, require_range

_Item = TypeVar("_Item")
_MOST_FLOAT, _MOST_INT = 3.4e38, 2**63 - 1
# What may depend on an option: protocols of `evaluate` that have options, how an image is read, and studies.
KEPT_RESULTS = frozenset(
    {"knn", "linear_cached", "logreg", "linear", "finetune", "supervised", "finetune_grid", "reading", "study"}
)


def option(
    default: Any,
    help_text: str,
    choices: tuple[Any, ...] | None = None,
    *,
    path: bool = False,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    affects: tuple[str, ...] | None = None,
) -> Any:
    """A config field that is also a command-line flag.

    What it may be is declared here once: `check_options` checks it, and the documentation shows it.

    Args:
        default: its value where none is given.
        help_text: for --help and the documentation.
        choices: the only values; None for any.
        path: whether the value is a path, in which the command line expands ~.
        above: bound of a number that it must exceed; None for no such bound.
        at_least: smallest number; None for no such bound.
        at_most: largest number; None for no such bound.
        affects: names of the kept results that depend on the value, of KEPT_RESULTS. None, the default: all, so that a
            new option never lets an old result pass for a new one. Empty: none, or what the value decides is recorded
            in another way. It counts for the options of images and of protocols, and in studies for those of the
            machine; of the others each identity says itself what it takes.

    Raises:
        ValueError: `affects` names what is no kept result.
    """
    unknown = set(affects or ()) - KEPT_RESULTS
    if unknown:
        raise ValueError(f"`affects` must be of {sorted(KEPT_RESULTS)}. Received: {affects!r}")
    bounds = {"above": above, "at_least": at_least, "at_most": at_most}
    metadata = {
        "help": help_text,
        "choices": choices,
        "path": path,
        "bounds": {name: bound for name, bound in bounds.items() if bound is not None},
        "affects": affects,
    }
    return dataclasses.field(default=default, metadata=metadata)


def check_options(part: Any) -> None:
    """Checks every field of a config dataclass against its choices and its range; None means that it is not given.

    A number without an upper bound of its own must fit into float32, or into 64 bits.

    Raises:
        InputError: naming the field, with the choices or the range.
    """
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if value is None:
            continue
        if field.metadata["choices"]:
            require_choice(field.name, value, field.metadata["choices"])
        elif isinstance(value, int | float) and not isinstance(value, bool):
            require_range(field.name, value, **field.metadata["bounds"])
            require_range(field.name, value, at_most=_MOST_FLOAT if isinstance(value, float) else _MOST_INT)


def affecting(part: type, result: str) -> frozenset[str]:
    """The names of the fields of a config dataclass that a kept result depends on; see `option`."""
    fields = dataclasses.fields(part)
    return frozenset(f.name for f in fields if f.metadata["affects"] is None or result in f.metadata["affects"])


def paths_of(*parts: type) -> frozenset[str]:
    """The names of the fields of some config dataclasses that are paths."""
    fields = (field for part in parts for field in dataclasses.fields(part))
    return frozenset(field.name for field in fields if field.metadata["path"])


def listed(flag: str, text: str, read: Callable[[str], _Item]) -> tuple[_Item, ...]:
    """The items of a comma-separated flag, each once, at least one."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    try:
        items = tuple(dict.fromkeys(read(word) for word in words))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"`{flag}` must be a list of numbers, as --{flag}=1,2. Received: {flag}={text!r}") from error
    if not items:
        raise InputError(f"`{flag}` must name at least one. Received: {flag}={text!r}")
    return items
