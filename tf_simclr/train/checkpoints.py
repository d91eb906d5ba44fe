"""Checkpoints: explicit variables under stable paths, written by TensorFlow, checked name by name when read.

Object-based restoring silently skips what Keras 3 does not track, and accepts another architecture as far as it
happens to fit. Here a checkpoint is a flat dictionary path -> array, the same on both Keras versions and for any
number of replicas; whatever does not match is named.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from tf_simclr.errors import InputError
from tf_simclr.train.checkpoint_files import PREFIX
from tf_simclr.train.checkpoint_reader import (
    SAVED_MODEL_VALUES,
    UnreadableError,
    find,
    foreign_at,
    read_text,
    read_values,
    require_readable,
    require_undamaged,
    resolve,
    shapes_in,
)

__all__ = [
    "PREFIX",
    "SAVED_MODEL_VALUES",
    "UnreadableError",
    "assign_values",
    "check_matches",
    "find",
    "foreign_at",
    "read_into",
    "read_text",
    "read_values",
    "require_readable",
    "require_undamaged",
    "resolve",
    "shapes_in",
    "step_of",
]
_SHOWN = 8


def step_of(prefix: str) -> int:
    """The training step in a checkpoint's file name.

    Raises:
        InputError: the name ends in no number.
    """
    number = os.path.basename(prefix).rpartition("-")[2]
    if not number.isdigit():
        raise InputError(f"a checkpoint's name must end in its step, as {PREFIX}-1000. Received: {prefix}. Rename it")
    return int(number)


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
