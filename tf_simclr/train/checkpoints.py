"""Checkpoints: explicit variables under stable paths, written by TensorFlow, checked name by name when read.

Object-based restoring silently skips what Keras 3 does not track, and accepts another architecture as far as it
happens to fit. Here a checkpoint is a flat dictionary path -> array, the same on both Keras versions and for any
number of replicas; whatever does not match is named.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow as tf

from tf_simclr import compat
from tf_simclr.errors import InputError
from tf_simclr.train.checkpoint_files import (
    PREFIX,
    listed_in_state,
    prefixes_in,
    remove,
    remove_unfinished,
    write_state,
)
from tf_simclr.train.checkpoint_reader import (
    SAVED_MODEL_VALUES,
    UnreadableError,
    foreign_at,
    read_text,
    read_values,
    resolve,
    shapes_in,
)

__all__ = [
    "PREFIX",
    "SAVED_MODEL_VALUES",
    "CheckpointStore",
    "UnreadableError",
    "check_matches",
    "foreign_at",
    "read_into",
    "read_text",
    "read_values",
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
    _assign(variables, read_values(prefix, variables))


def _assign(variables: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    for path, variable in variables.items():
        variable.assign(values[path])


class _Text(tf.train.experimental.PythonState):
    """A text that is saved with the variables; other readers of the checkpoint pass over it."""

    def __init__(self, text: str):
        super().__init__()
        self._text = text

    def serialize(self) -> str:
        """What is saved."""
        return self._text

    def deserialize(self, string_value: bytes) -> None:
        """Nothing: `read_text` reads it."""


class CheckpointStore:
    """The checkpoints of one run: named variables in, the newest `keep_max` files kept.

    With several workers each has a store of its own, and all of them save and restore together: reading a distributed
    variable may need every worker. What stays is the chief's; the other workers read that and write elsewhere. Nothing
    is written before a checkpoint was restored, or the first one is saved.

    Args:
        directory: where they are read, and written.
        variables: path -> variable, everything a resumed run needs; Keras or TensorFlow variables.
        keep_max: newest ones to keep.
        manifest: a text that every checkpoint holds beside the variables; see `read_text`.
        fresh: whether to leave alone what is in the directory now: a new run is about to take its place.
        scratch: where a worker that is not the chief writes instead; None on the chief.
        from_chief: the chief's number, on every worker.
    """

    def __init__(
        self,
        directory: str,
        variables: Mapping[str, Any],
        keep_max: int,
        *,
        manifest: str = "",
        fresh: bool = False,
        scratch: str | None = None,
        from_chief: Callable[[int], int] = int,
    ):
        self._variables = {path: compat.raw_variable(v) for path, v in variables.items()}
        self._chief, self._from_chief, self._directory = scratch is None, from_chief, directory
        self._target, self._keep_max = scratch or directory, 1 if scratch else keep_max
        self._complete = [] if fresh else listed_in_state(directory)
        self._found = [] if fresh else prefixes_in(directory)
        self._kept = [] if scratch else list(self._found)
        self._written = False
        parts = {"manifest": _Text(manifest)} if manifest else {}
        self._checkpoint = tf.train.Checkpoint(variables=dict(self._variables), **parts)

    def save(self, step: int) -> str:
        """Writes a checkpoint of a step; returns its prefix."""
        tf.io.gfile.makedirs(self._target)
        if not self._written:
            remove_unfinished(self._target)
        prefix = os.path.join(self._target, f"{PREFIX}-{step}")
        self._checkpoint.write(prefix)
        self._written = True
        self._kept = [*(kept for kept in self._kept if kept != prefix), prefix]
        surplus, self._kept = self._kept[: -self._keep_max], self._kept[-self._keep_max :]
        write_state(self._target, self._kept)
        for old in surplus:
            remove(old)
        return prefix

    def restore_latest(self, warn: Callable[[str], None]) -> int | None:
        """Reads the newest checkpoint that can be read, and returns its step; None without any.

        A file that a crash left damaged is passed over for the one before it, and `warn` says so.

        Raises:
            InputError: it belongs to another model, or checkpoints that were once complete cannot be read any more.
        """
        step, values = self._newest_readable(warn) if self._chief else (-1, {})
        step = self._from_chief(step)
        if step < 0:
            return None
        _assign(self._variables, values if self._chief else self._read_as_the_chief(step))
        if self._chief and set(self._found) != set(self._complete):
            # A kill between writing a checkpoint and listing it leaves one that TensorFlow's own tools would not find.
            write_state(self._directory, self._found)
        return step

    def _read_as_the_chief(self, step: int) -> dict[str, Any]:
        """The values of the step the chief decided on: what another worker finds newest need not be the same."""
        try:
            return read_values(os.path.join(self._directory, f"{PREFIX}-{step}"), self._variables)
        except UnreadableError as error:
            raise InputError(
                f"`model_dir` must be a directory that all workers share: the chief goes on from step {step}, which "
                f"this worker cannot read. Received: {self._directory}. Use a network file system or gs://"
            ) from error

    def _newest_readable(self, warn: Callable[[str], None]) -> tuple[int, dict[str, Any]]:
        """Step and values of the newest checkpoint that fits and can be read to its end; -1 without any."""
        for prefix in reversed(self._found):
            try:
                check_matches(prefix, self._variables, shapes_in(prefix))
                return step_of(prefix), read_values(prefix, self._variables)
            except UnreadableError as error:
                warn(f"note: {error}; trying the one before it")
        if self._complete:
            # Starting over would, after a few saves, delete what may only be out of reach for a moment.
            raise InputError(
                f"no checkpoint of the run can be read. Received: {', '.join(self._complete)}. Restore the files from "
                "a copy, or pass another --model_dir"
            )
        return -1, {}
