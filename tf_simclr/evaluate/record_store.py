"""Results on disk: the records of a protocol in a JSON file, and its predictions in an .npz file beside it."""

from __future__ import annotations

import dataclasses
import io
import os
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.evaluate.predictions import pack, to_npz, unpack
from tf_simclr.evaluate.records import Record
from tf_simclr.files import read_json, write_json, write_whole
from tf_simclr.stored import require_types

RECORDS_DIRECTORY = "cells"
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, zipfile.BadZipFile)


class RecordStore:
    """Results in files that are named after all they depend on.

    Args:
        directory: of the evaluation; nothing is made in it before something is written.
        say: receives what cannot be used, a line each.
    """

    def __init__(self, directory: str, say: Callable[[str], None]):
        self._place = os.path.join(directory, RECORDS_DIRECTORY)
        self._say = say

    def has(self, name: str) -> bool:
        """Whether something is kept under a name."""
        return tf.io.gfile.exists(self._path(name, "json"))

    def read(self, name: str) -> list[Record] | None:
        """The records under a name with what they predicted; None where there are none that can be used."""
        path = self._path(name, "json")
        try:
            values = read_json(path)
            if values is None:
                return None
            for one in values["cells"]:
                require_types(one, Record, path)
            records = [Record.from_json(one) for one in values["cells"]]
            with tf.io.gfile.GFile(self._path(name, "npz"), "rb") as file:
                predicted = unpack(file.read(), len(records))
        except (*_UNREADABLE, tf.errors.OpError):
            self._say(f"note: {path} or the predictions beside it cannot be read; computing it again")
            return None
        return [dataclasses.replace(record, predicted=one) for record, one in zip(records, predicted, strict=True)]

    def write(self, name: str, identity: dict[str, Any], records: Sequence[Record]) -> None:
        """Keeps records under a name.

        Args:
            name: changes with `identity`.
            identity: everything that the records depend on, for a person who reads the file.
            records: what was found.
        """
        tf.io.gfile.makedirs(self._place)
        write_whole(self._path(name, "npz"), pack([record.predicted for record in records]))
        # Last: where this file is, the other one is whole.
        values = {"identity": identity, "cells": [record.to_json() for record in records]}
        write_json(self._path(name, "json"), values, indent=None)

    def read_arrays(self, name: str) -> dict[str, np.ndarray] | None:
        """The arrays under a name; None where there are none that can be used."""
        path = self._path(name, "npz")
        if not tf.io.gfile.exists(path):
            return None
        try:
            with tf.io.gfile.GFile(path, "rb") as file, np.load(io.BytesIO(file.read()), allow_pickle=False) as arrays:
                return {key: arrays[key] for key in arrays.files}
        except (*_UNREADABLE, tf.errors.OpError):
            self._say(f"note: {path} cannot be read; computing it again")
            return None

    def write_arrays(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        """Keeps arrays under a name."""
        tf.io.gfile.makedirs(self._place)
        write_whole(self._path(name, "npz"), to_npz(arrays))

    def note_older_results(self, current: int) -> None:
        """Says where results of an earlier version lie, which are not used: they do not say what they were made of.

        Args:
            current: the format of today's.
        """
        if not tf.io.gfile.isdir(self._place):
            return
        names = [name for name in tf.io.gfile.listdir(self._place) if name.endswith(".json")]
        older = sum(_format_of(os.path.join(self._place, name)) != current for name in names)
        if older:
            self._say(
                f"note: {older} results in {self._place} are of an earlier version, which did not record the files of "
                "the images: they and their features are computed again"
            )

    def _path(self, name: str, extension: str) -> str:
        return os.path.join(self._place, f"{name}.{extension}")


def _format_of(path: str) -> Any:
    try:
        return (read_json(path) or {}).get("identity", {}).get("format")
    except (ValueError, AttributeError):
        return None
