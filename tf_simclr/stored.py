"""Values that a file keeps as JSON, checked when they are read again: a file may be cut off, or edited by hand.

It needs no TensorFlow, so that a damaged flags.json is named before TensorFlow is imported.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from typing import Any

from tf_simclr.errors import InputError


class DamagedFileError(InputError):
    """A file does not hold what this program writes into it."""


def parse_object(content: bytes, place: str) -> dict[str, Any]:
    """The JSON object in a file.

    Args:
        content: of the file.
        place: its path, for the message.

    Raises:
        DamagedFileError: it is cut off, empty, no UTF-8, or another JSON value than an object.
    """
    try:
        values = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        why = "it is empty" if not content.strip() else " ".join(str(error).split())
        raise _damaged(place, why) from error
    if not isinstance(values, dict):
        raise _damaged(place, f"it holds a JSON {type(values).__name__} and not an object")
    return values


def require_types(values: Mapping[str, Any], described_by: type, place: str) -> None:
    """Checks stored values against the annotations of the dataclass that is made of them.

    Args:
        values: by the names of its fields; those of no field are passed over.
        described_by: the dataclass.
        place: path of the file, for the message.

    Raises:
        DamagedFileError: a value of another type.
    """
    for name, hint in typing.get_type_hints(described_by).items():
        if name in values and not _fits(values[name], hint):
            shown = repr(values[name])
            shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
            raise _damaged(place, f"{name}={shown} is of type {type(values[name]).__name__}")


def _damaged(place: str, why: str) -> DamagedFileError:
    return DamagedFileError(
        f"{place} is damaged: {why}. Received: {place}. Restore it from a copy, or move it away and run the same "
        "command again"
    )


def _fits(value: Any, hint: Any) -> bool:
    """Whether a JSON value can be what an annotation says; annotations that are not of JSON fit everything."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(one, inner[1]) for one in value.values())
    if origin in (list, tuple):
        return isinstance(value, (list, tuple)) and all(_fits(one, inner[0]) for one in value)
    if hint in (int, float):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and (hint is float or float(value).is_integer())
    return hint is Any or not isinstance(hint, type) or isinstance(value, hint)
