"""Checkpoints: explicit variables under stable paths, written by TensorFlow, checked name by name when read.

Object-based restoring silently skips what Keras 3 does not track, and accepts another architecture as far as it
happens to fit. Here a checkpoint is a flat dictionary path -> array, the same on both Keras versions and for any
number of replicas; whatever does not match is named.
"""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from tf_simclr.errors import InputError
from tf_simclr.train.checkpoint_files import (
    PREFIX,
    prefixes_in,
    readable,
)
from tf_simclr.train.checksums import damage_of, has_checksums

SAVED_MODEL_VALUES = os.path.join("variables", "variables")
# What TensorFlow calls the value at a path: in our checkpoints, and in the SavedModels we export.
_KEYS = ("variables/{}/.ATTRIBUTES/VARIABLE_VALUE", "named_variables/{}/.ATTRIBUTES/VARIABLE_VALUE")
_MANIFEST_KEY = "manifest/.ATTRIBUTES/py_state"
_SHOWN = 8


class UnreadableError(InputError):
    """A checkpoint's files are damaged or gone."""


@contextlib.contextmanager
def _reader_of(prefix: str) -> Iterator[Any]:
    """TensorFlow's reader; whatever it meets in a damaged file becomes an UnreadableError."""
    try:
        with readable(prefix) as name:
            yield tf.train.load_checkpoint(name)
    except (tf.errors.OpError, IndexError, RuntimeError) as error:  # the last two: Python's for two C++ statuses
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableError(_unreadable(prefix, reason)) from error


def _path_of(key: str) -> str | None:
    """The path behind TensorFlow's name of a value, in which dictionary keys are escaped; None for another name."""
    for pattern in _KEYS:
        head, tail = pattern.split("{}")
        if key.startswith(head) and key.endswith(tail):
            return re.sub(r"\.([.S])", lambda found: "/" if found[1] == "S" else ".", key[len(head) : -len(tail)])
    return None


def _key_of_each_path(reader: Any) -> dict[str, str]:
    keys = reader.get_variable_to_shape_map()
    return {path: key for key in keys if (path := _path_of(key)) is not None}


def find(path: str) -> list[str]:
    """The prefixes of the checkpoints at a path, oldest first: one, or all those in a directory.

    Args:
        path: a prefix, a directory with checkpoints, or an exported SavedModel, whose values are stored as a checkpoint
            is.

    Raises:
        InputError: there is no checkpoint.
    """
    if tf.io.gfile.exists(os.path.join(path, "saved_model.pb")):
        return [os.path.join(path, SAVED_MODEL_VALUES)]
    found = prefixes_in(path) if tf.io.gfile.isdir(path) else [p for p in [path] if tf.io.gfile.exists(p + ".index")]
    if not found:
        raise InputError(
            f"`checkpoint` must be a checkpoint prefix (such as DIR/{PREFIX}-1000), a directory that holds one, or an "
            "exported SavedModel (such as DIR/saved_model/1000). "
            f"Received: {path}, where none was found. Check the path"
        )
    return found


def resolve(path: str, warn: Callable[[str], None] = warnings.warn) -> str:
    """The prefix of the checkpoint to read at a path; of several in a directory the newest that is not damaged.

    Args:
        path: as in `find`.
        warn: receives a line for each damaged one that is passed over.

    Raises:
        InputError: there is no checkpoint.
        UnreadableError: the one that is named, or all those in a directory, are damaged.
    """
    found = find(path)
    if len(found) == 1:
        require_undamaged(found[0])
        return found[0]
    for prefix in reversed(found):
        try:
            require_undamaged(prefix)
            if not has_checksums(prefix):
                require_readable(prefix)
            return prefix
        except UnreadableError as error:
            warn(f"note: {error}; trying the one before it")
    raise UnreadableError(
        f"no checkpoint in {path} can be read. Received: {', '.join(found)}. Restore the files from a copy"
    )


def require_undamaged(prefix: str) -> None:
    """Raises UnreadableError where the files of a checkpoint are not those that were written, as its checksums say."""
    damage = damage_of(prefix)
    if damage:
        raise UnreadableError(_unreadable(prefix, damage))


def require_readable(prefix: str) -> None:
    """Raises UnreadableError where a value of a checkpoint cannot be read; TensorFlow compares its own checksums."""
    with _reader_of(prefix) as reader:
        for key in reader.get_variable_to_shape_map():
            reader.get_tensor(key)


def _unreadable(prefix: str, reason: str) -> str:
    return f"checkpoint {prefix} cannot be read: {reason}. Take another one, or restore its files from a copy"


def step_of(prefix: str) -> int:
    """The training step in a checkpoint's file name.

    Raises:
        InputError: the name ends in no number.
    """
    number = os.path.basename(prefix).rpartition("-")[2]
    if not number.isdigit():
        raise InputError(f"a checkpoint's name must end in its step, as {PREFIX}-1000. Received: {prefix}. Rename it")
    return int(number)


def read_text(prefix: str) -> str | None:
    """The text that a checkpoint holds beside its variables; None where it was written without.

    Raises:
        UnreadableError: the files are damaged or gone.
    """
    with _reader_of(prefix) as reader:
        return reader.get_tensor(_MANIFEST_KEY).decode() if reader.has_tensor(_MANIFEST_KEY) else None


def shapes_in(prefix: str) -> dict[str, tuple[int, ...]]:
    """Path -> shape of everything a checkpoint of ours holds.

    Raises:
        UnreadableError: the files are damaged or gone.
        InputError: it holds no variables of ours, such as one written by another program.
    """
    with _reader_of(prefix) as reader:
        stored = reader.get_variable_to_shape_map()
        shapes = {path: tuple(stored[key]) for path, key in _key_of_each_path(reader).items()}
    if not shapes:
        raise InputError(
            f"`checkpoint` must have been written by this program. Received: {prefix}, whose {len(stored)} variables "
            "have other names. Convert it, or pass a checkpoint of ours"
        )
    return shapes


def _listed(problems: list[str]) -> str:
    more = len(problems) - _SHOWN
    return "; ".join(problems[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def check_matches(
    prefix: str, variables: Mapping[str, Any], stored: Mapping[str, tuple[int, ...]], exact_parts: Iterable[str] = ()
) -> None:
    """Compares a checkpoint with the variables that are to be read from it.

    Args:
        prefix: named in the error.
        variables: path -> variable wanted.
        stored: path -> shape held by the checkpoint.
        exact_parts: first path components, such as "encoder", in which the checkpoint must hold nothing else either.

    Raises:
        InputError: variables that are missing, of another shape or left over, by name.
    """
    parts = set(exact_parts)
    problems = [f"{path} is missing" for path in variables if path not in stored]
    problems += [
        f"{path} is {list(stored[path])} there and {list(variable.shape)} here"
        for path, variable in variables.items()
        if path in stored and tuple(variable.shape) != stored[path]
    ]
    problems += [
        f"{path} has no place here" for path in sorted(stored) if path.split("/")[0] in parts and path not in variables
    ]
    if problems:
        raise InputError(
            f"checkpoint {prefix} does not fit this model: {_listed(problems)}. Pass the flags it was trained with "
            "(--resnet_depth, --width_multiplier, --stem, --sk_ratio, --se_ratio, --proj_head_mode, ...) or another one"
        )


def read_values(prefix: str, paths: Iterable[str]) -> dict[str, Any]:
    """A checkpoint's arrays by path; call `check_matches` first.

    Raises:
        UnreadableError: the files are damaged or gone.
    """
    with _reader_of(prefix) as reader:
        keys = _key_of_each_path(reader)
        return {path: reader.get_tensor(keys[path]) for path in paths}


def read_into(prefix: str, variables: Mapping[str, Any]) -> None:
    """Assigns a checkpoint's values to variables by path; call `check_matches` first.

    Raises:
        UnreadableError: the files are damaged or gone; no variable has changed then.
    """
    assign_values(variables, read_values(prefix, variables))


def assign_values(variables: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Assigns values to variables by path; a path without a value keeps its own."""
    for path, value in values.items():
        variables[path].assign(value)
