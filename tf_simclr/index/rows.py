"""The rows of an index: which image each feature is of."""

from __future__ import annotations

import csv
import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, overload

import numpy as np

from tf_simclr.stored import DamagedFileError

_END = b"\r\n"
COLUMNS = ("path", "class", "split", "bytes", "fingerprint")


class Row(NamedTuple):
    """An image.

    Attributes:
        path: of the file, relative to the folder; of a data set without files "SPLIT/NUMBER". Bytes that are not UTF-8
            stand as Python's surrogate escapes.
        label: name of its class; "" without one.
        split: name of the split it belongs to; "" where the folder has none.
        size: of the file, in bytes; 0 without a file.
        fingerprint: changes with the path, size and time of change of the file: 16 hexadecimal digits.
    """

    path: str
    label: str
    split: str
    size: int
    fingerprint: str

    @property
    def key(self) -> tuple[str, str]:
        """What rows of one index are ordered by, and found again."""
        return self.path, self.fingerprint


def fingerprint_of(path: str, *facts: object) -> str:
    """The fingerprint of an image by its path and what else says that it is still the same."""
    content = "\0".join([path, *map(str, facts)]).encode("utf-8", "surrogateescape")
    return hashlib.sha256(content).hexdigest()[:16]


def shard_of(path: str, shards: int) -> int:
    """Which of several shards an image belongs to: it depends on the path alone, so that a folder may grow."""
    return zlib.crc32(path.encode("utf-8", "surrogateescape")) % shards


def rows_to_bytes(rows: Iterable[Row]) -> bytes:
    """The rows as a CSV file with a line of headings."""
    text = io.StringIO(newline="")
    # A name may hold a carriage return alone, which is quoted only where it is a part of the terminator.
    writer = csv.writer(text, lineterminator=_END.decode())
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def rows_from_bytes(content: bytes, place: str) -> list[Row]:
    """Reads what `rows_to_bytes` wrote.

    Raises:
        DamagedFileError: it is something else.
    """
    return list(_parsed(csv.reader(io.StringIO(content.decode("utf-8", "surrogateescape"), newline="")), place))


class StoredRows(Sequence[Row]):
    """The rows in a file, read when they are asked for: of a million rows a search shows a few.

    Args:
        content: of the file.
        place: of the file, for messages.

    Raises:
        DamagedFileError: it has other headings, or a line that is not whole.
    """

    def __init__(self, content: bytes, place: str):
        self._content, self._place = content, place
        headings = ",".join(COLUMNS).encode() + _END
        if not content.startswith(headings) or not content.endswith(_END):
            raise DamagedFileError(f"This file holds no rows of an index. Received: {place}")
        # Quotes stand around names with line ends, commas or quotes of their own: then every line must be looked at.
        self._all: list[Row] = []
        self._ends: np.ndarray | None = None
        if b'"' in content:
            self._all = rows_from_bytes(content, place)
        else:
            self._ends = np.flatnonzero(np.frombuffer(content, np.uint8) == _END[1]) + 1

    def __len__(self) -> int:
        return len(self._all) if self._ends is None else len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> Row: ...

    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...

    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        if self._ends is None:
            return self._all[place]
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        first = place % len(self)
        line = self._content[self._ends[first] : self._ends[first + 1]].decode("utf-8", "surrogateescape")
        return next(_parsed_lines(csv.reader([line]), self._place))

    def __iter__(self) -> Iterator[Row]:
        return iter(self._all if self._ends is None else rows_from_bytes(self._content, self._place))

    def place_of(self, path: str) -> int | None:
        """The first row with a path; None without one."""
        if self._ends is None or any(sign in path for sign in '",\r\n'):
            return next((place for place, row in enumerate(self) if row.path == path), None)
        found = self._content.find(_END + path.encode("utf-8", "surrogateescape") + b",")
        return None if found < 0 else int(np.searchsorted(self._ends, found + len(_END)))


def _parsed(lines: Iterator[Sequence[str]], place: str) -> Iterator[Row]:
    try:
        if tuple(next(lines, ())) != COLUMNS:
            raise DamagedFileError(f"This file has no line of headings {','.join(COLUMNS)}. Received: {place}")
    except csv.Error as error:
        raise _damaged(place, error) from error
    yield from _parsed_lines(lines, place)


def _parsed_lines(lines: Iterator[Sequence[str]], place: str) -> Iterator[Row]:
    try:
        for path, label, split, size, fingerprint in lines:
            yield Row(path, label, split, int(size), fingerprint)
    except (ValueError, csv.Error) as error:
        raise _damaged(place, error) from error


def _damaged(place: str, error: Exception) -> DamagedFileError:
    return DamagedFileError(f"This line is no row of an index. Received: {place}: {error}")
