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

from tf_simclr import compat
from tf_simclr.errors import InputError
from tf_simclr.train.checkpoint_files import (
    PREFIX,
    ends_of,
    listed_in_state,
    prefixes_in,
    readable,
    remove,
    remove_unfinished,
    write_state,
)
from tf_simclr.train.checksums import damage_of, discard_checksums, has_checksums, write_checksums

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
    _assign(variables, read_values(prefix, variables))


def _assign(variables: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    for path, value in values.items():
        variables[path].assign(value)


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
        optional: paths that a checkpoint of an earlier version may lack; their variables then keep their values.
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
        optional: Iterable[str] = (),
        manifest: str = "",
        fresh: bool = False,
        scratch: str | None = None,
        from_chief: Callable[[int], int] = int,
    ):
        self._variables = {path: compat.raw_variable(v) for path, v in variables.items()}
        self._optional = frozenset(optional)
        self._chief, self._from_chief, self._directory = scratch is None, from_chief, directory
        self._target, self._keep_max = scratch or directory, 1 if scratch else keep_max
        self._complete = [] if fresh else listed_in_state(directory)
        self._found = [] if fresh else prefixes_in(directory)
        self._kept = [] if scratch else list(self._found)
        self._damaged: list[str] = []
        self._written = False
        parts = {"manifest": _Text(manifest)} if manifest else {}
        self._checkpoint = tf.train.Checkpoint(variables=dict(self._variables), **parts)

    def save(self, step: int) -> str:
        """Writes a checkpoint of a step; returns its prefix."""
        tf.io.gfile.makedirs(self._target)
        if not self._written:
            remove_unfinished(self._target)
        prefix = os.path.join(self._target, f"{PREFIX}-{step}")
        discard_checksums(prefix)
        self._checkpoint.write(prefix)
        if self._chief:
            write_checksums(prefix, ends_of(prefix))
        self._written = True
        self._kept = [*(kept for kept in self._kept if kept != prefix), prefix]
        surplus, self._kept = self._kept[: -self._keep_max], self._kept[-self._keep_max :]
        # Damaged ones would count as the newest at the next start.
        passed = [damaged for damaged in self._damaged if damaged != prefix and step_of(damaged) <= step]
        self._damaged = [damaged for damaged in self._damaged if step_of(damaged) > step]
        write_state(self._target, self._kept)
        for old in [*surplus, *passed]:
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
        if self._chief and set(self._kept) != set(self._complete):
            # A kill between writing a checkpoint and listing it leaves one that TensorFlow's own tools would not find.
            write_state(self._directory, self._kept)
        return step

    def _read(self, prefix: str) -> dict[str, Any]:
        stored = shapes_in(prefix)
        wanted = {path: v for path, v in self._variables.items() if path in stored or path not in self._optional}
        check_matches(prefix, wanted, stored)
        return read_values(prefix, wanted)

    def _read_as_the_chief(self, step: int) -> dict[str, Any]:
        """The values of the step the chief decided on: what another worker finds newest need not be the same."""
        try:
            return self._read(os.path.join(self._directory, f"{PREFIX}-{step}"))
        except UnreadableError as error:
            raise InputError(
                f"`model_dir` must be a directory that all workers share: the chief goes on from step {step}, which "
                f"this worker cannot read. Received: {self._directory}. Use a network file system or gs://"
            ) from error

    def _newest_readable(self, warn: Callable[[str], None]) -> tuple[int, dict[str, Any]]:
        """Step and values of the newest checkpoint that fits and can be read to its end; -1 without any."""
        for prefix in reversed(self._found):
            try:
                require_undamaged(prefix)
                return step_of(prefix), self._read(prefix)
            except UnreadableError as error:
                warn(f"note: {error}; trying the one before it")
                self._kept.remove(prefix)
                self._damaged.append(prefix)
        if self._complete:
            # Starting over would, after a few saves, delete what may only be out of reach for a moment.
            raise InputError(
                f"no checkpoint of the run can be read. Received: {', '.join(self._complete)}. Restore the files from "
                "a copy, or pass another --model_dir"
            )
        return -1, {}
