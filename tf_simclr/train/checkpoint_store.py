"""The checkpoints of one run: written whole, kept in a bounded number, and gone on from.

The files are found by their names. TensorFlow's list of them is written for other readers, and nothing depends on it:
its own CheckpointManager manages only those that its list has timestamps for.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow as tf

from tf_simclr import compat
from tf_simclr.errors import InputError
from tf_simclr.train.checkpoint_files import (
    PREFIX,
    ends_of,
    listed_in_state,
    prefixes_in,
    remove,
    remove_unfinished,
    write_state,
)
from tf_simclr.train.checkpoints import (
    UnreadableError,
    assign_values,
    check_matches,
    read_values,
    require_undamaged,
    shapes_in,
    step_of,
)
from tf_simclr.train.checksums import discard_checksums, write_checksums


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
        try:
            self._checkpoint.write(prefix)
        except tf.errors.OpError:  # a full disk, above all, which the unfinished parts would keep full
            with contextlib.suppress(OSError, tf.errors.OpError):
                remove_unfinished(self._target)
            raise
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
        assign_values(self._variables, values if self._chief else self._read_as_the_chief(step))
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
                f"`model_dir` must be a directory that all workers share: the chief resumes from step {step}, which "
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
