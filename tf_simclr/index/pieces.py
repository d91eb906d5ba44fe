"""Features that are computed and are not in an index yet: what is kept when embedding is stopped, or killed."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
from collections.abc import Iterator, Sequence

import numpy as np

from tf_simclr.config.paths import absolute
from tf_simclr.file_systems import file_system_of
from tf_simclr.index.rows import Row, rows_from_bytes, rows_to_bytes
from tf_simclr.stored import DamagedFileError

DIRECTORY = "pending"
_FEATURES, _ROWS = ".npy", ".csv"
_OWN = re.compile(r"[0-9a-f]{8}-([0-9a-f]{6,16}\.(npy|csv)|block-\d+\.json)(\..*\.tmp)?")


class Pieces:
    """Files of features and of their rows, of one identity. Several processes may add some at the same time.

    Args:
        index: directory of the index, in which they lie.
        digest: of the identity, 8 hexadecimal digits.
    """

    def __init__(self, index: str, digest: str):
        self._directory, self._digest = os.path.join(absolute(index), DIRECTORY), digest

    def block_prefix(self) -> str:
        """How the paths of blocks begin that other processes are to compute; `remove` removes them, too."""
        os.makedirs(self._directory, exist_ok=True)
        return os.path.join(self._directory, f"{self._digest}-block-")

    def add(self, rows: Sequence[Row], features: np.ndarray) -> str:
        """Keeps features [b, d] of b rows: all of them or, when this process is killed, none; returns their path.

        A piece is named for its rows: whoever computes them a second time replaces it.
        """
        os.makedirs(self._directory, exist_ok=True)
        listed = rows_to_bytes(rows)
        place = os.path.join(self._directory, f"{self._digest}-{hashlib.blake2b(listed, digest_size=8).hexdigest()}")
        content = io.BytesIO()
        np.save(content, features, allow_pickle=False)
        files = file_system_of(place)
        files.write(f"{place}{_FEATURES}", content.getvalue())
        files.write(f"{place}{_ROWS}", listed)  # last: a piece counts when it has its rows
        return f"{place}{_FEATURES}"

    def read(self) -> Iterator[tuple[list[Row], str]]:
        """Rows, and the path of the features, of every piece that is whole; those of a killed process are passed over.

        Raises:
            OSError: a piece cannot be read.
        """
        for name in self._names():
            place, end = os.path.splitext(os.path.join(self._directory, name))
            if end != _ROWS or not name.startswith(f"{self._digest}-") or not os.path.isfile(f"{place}{_FEATURES}"):
                continue
            with contextlib.suppress(DamagedFileError, ValueError, EOFError):
                with open(f"{place}{_ROWS}", "rb") as file:
                    rows = rows_from_bytes(file.read(), place)
                if len(load(f"{place}{_FEATURES}")) == len(rows):
                    yield rows, f"{place}{_FEATURES}"

    def remove(self) -> None:
        """Removes the pieces, of every identity, and the directory unless it holds other files."""
        for name in self._names():
            if _OWN.fullmatch(name):
                os.remove(os.path.join(self._directory, name))
        with contextlib.suppress(OSError):
            os.rmdir(self._directory)

    def _names(self) -> list[str]:
        return sorted(os.listdir(self._directory)) if os.path.isdir(self._directory) else []


def load(path: str) -> np.ndarray:
    """The features of a piece [b, d], in memory: many of them, held open, would be more files than a process may have.

    Raises:
        ValueError: the file is cut off.
    """
    with open(path, "rb") as file:
        return np.load(io.BytesIO(file.read()), allow_pickle=False)
