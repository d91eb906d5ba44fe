"""Files that a reader sees whole: atomic writes, and JSON that every reader accepts.

Paths may be local or of any file system that `tf.io.gfile` knows. Local ones need no TensorFlow.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from tf_simclr.errors import InputError
from tf_simclr.file_systems import file_system_of
from tf_simclr.stored import parse_object


def write_whole(path: str, content: bytes) -> None:
    """Writes a file so that a reader sees the old one or the new one, never a half; after an error nothing is left."""
    file_system_of(path).write(path, content)


def remove_tree(path: str) -> None:
    """Removes a directory, if there is one. Of a link the link goes, and never what it leads to, also inside of it."""
    file_system_of(path).remove_tree(path)


def to_json(values: Any, *, indent: int | None = None, sort_keys: bool = True, ensure_ascii: bool = True) -> str:
    """Values as JSON text.

    JSON has no NaN and no infinity; Python would write them all the same, and other readers would refuse the file.

    Args:
        values: what `json.dumps` takes.
        indent: spaces of each level; None for one line.
        sort_keys: whether keys are sorted.
        ensure_ascii: whether other characters are escaped.

    Raises:
        InputError: a number is not finite; the message names the first few.
    """
    try:
        return json.dumps(values, indent=indent, sort_keys=sort_keys, ensure_ascii=ensure_ascii, allow_nan=False)
    except ValueError as error:
        if "JSON compliant" not in str(error):  # another mistake, as values that contain themselves
            raise
        found = list(_not_finite(values, ""))
        listed = ", ".join(f"{path}={value}" for path, value in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise InputError(
            f"results must be finite numbers to be stored. Received: {listed}{more}. The network or its training has "
            "diverged: train with a smaller --learning_rate"
        ) from error


def _not_finite(values: Any, path: str) -> Iterator[tuple[str, float]]:
    """(path, value) of every number in nested dictionaries and sequences that is NaN or infinite."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _not_finite(value, f"{path}.{key}" if path else str(key))
    elif isinstance(values, (list, tuple)):
        for place, value in enumerate(values):
            yield from _not_finite(value, f"{path}[{place}]")
    elif isinstance(values, float) and not math.isfinite(values):
        yield path, values


def write_json(path: str, values: dict[str, Any], *, indent: int | None = 2) -> None:
    """Writes values as JSON, keys sorted; without `indent` on one line, which suits matrices of numbers.

    Raises:
        InputError: a number is not finite; nothing is written then.
    """
    write_whole(path, (to_json(values, indent=indent) + "\n").encode())


def read_json(path: str) -> dict[str, Any] | None:
    """The values of a JSON file, None where there is no such file.

    Raises:
        DamagedFileError: it holds no JSON object.
    """
    files = file_system_of(path)
    return parse_object(files.read(path), path) if files.exists(path) else None
