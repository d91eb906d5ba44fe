"""The rows of an index: which image each feature is of."""

from __future__ import annotations

import csv
import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tf_simclr.stored import DamagedFileError

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
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def rows_from_bytes(content: bytes, place: str) -> list[Row]:
    """Reads what `rows_to_bytes` wrote.

    Raises:
        DamagedFileError: it is something else.
    """
    return list(_parsed(csv.reader(io.StringIO(content.decode("utf-8", "surrogateescape"), newline="")), place))


def _parsed(lines: Iterator[Sequence[str]], place: str) -> Iterator[Row]:
    try:
        if tuple(next(lines, ())) != COLUMNS:
            raise DamagedFileError(f"This file has no line of headings {','.join(COLUMNS)}. Received: {place}")
        for path, label, split, size, fingerprint in lines:
            yield Row(path, label, split, int(size), fingerprint)
    except (ValueError, csv.Error) as error:
        if isinstance(error, DamagedFileError):
            raise
        raise DamagedFileError(f"This line is no row of an index. Received: {place}: {error}") from error
