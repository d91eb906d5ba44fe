"""How a field of the config says what its flag is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

from tf_simclr.errors import InputError

_Item = TypeVar("_Item")


def option(default: Any, help_text: str, choices: tuple[str, ...] | None = None, *, path: bool = False) -> Any:
    """A config field that is also a command-line flag.

    Args:
        default: its value where none is given.
        help_text: for --help and the documentation.
        choices: the only values; None for any.
        path: whether the value is a path, in which the command line expands ~.
    """
    return dataclasses.field(default=default, metadata={"help": help_text, "choices": choices, "path": path})


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
