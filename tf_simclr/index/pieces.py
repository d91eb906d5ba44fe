"""Features that are computed and are not in an index yet: what is kept when embedding is stopped, or killed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence

import numpy as np

from tf_simclr.errors import InputError
from tf_simclr.file_systems import file_system_of
from tf_simclr.index.rows import Row, rows_from_bytes, rows_to_bytes

DIRECTORY = "pending"
_FEATURES, _ROWS = ".npy", ".csv"


class Pieces:
    """Files of features and of their rows, of one identity.

    Args:
        index: directory of the index, in which they lie.
        digest: of the identity.
    """

    def __init__(self, index: str, digest: str):
        self._directory, self._digest = os.path.join(index, DIRECTORY), digest

    def add(self, rows: Sequence[Row], features: np.ndarray) -> None:
        """Keeps features [b, d] of b rows: all of them or, when this process is killed, none."""
        os.makedirs(self._directory, exist_ok=True)
        place = os.path.join(self._directory, f"{self._digest}-{len(os.listdir(self._directory)):06d}")
        with open(f"{place}{_FEATURES}", "wb") as file:
            np.save(file, features, allow_pickle=False)
        file_system_of(place).write(f"{place}{_ROWS}", rows_to_bytes(rows))  # last: a piece counts when it has its rows

    def read(self) -> Iterator[tuple[list[Row], np.ndarray]]:
        """Rows, and features [b, d] mapped into memory, of every piece that is whole; others are passed over."""
        names = sorted(os.listdir(self._directory)) if os.path.isdir(self._directory) else []
        for name in names:
            place, end = os.path.splitext(os.path.join(self._directory, name))
            if end != _ROWS or not name.startswith(f"{self._digest}-"):
                continue
            with contextlib.suppress(ValueError, OSError, InputError):
                with open(f"{place}{_ROWS}", "rb") as file:
                    rows = rows_from_bytes(file.read(), place)
                features = np.load(f"{place}{_FEATURES}", mmap_mode="r", allow_pickle=False)
                if len(features) == len(rows):
                    yield rows, features

    def remove(self) -> None:
        """Removes the pieces, of every identity."""
        shutil.rmtree(self._directory, ignore_errors=True)
