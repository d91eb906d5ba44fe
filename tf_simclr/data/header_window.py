"""Reading a file piece by piece, within bounds: the bytes of a header, and the tags of EXIF and TIFF in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

TRUE_ORIENTATIONS = range(1, 9)
# Blocks of a file that are walked, and entries of a directory of tags.
MOST_BLOCKS = 64
MOST_ENTRIES = 256
_HEAD = 4096
_MOST_BYTES = 1 << 16
_MOST_READS = 200
EXIF = b"Exif\0\0"
ORIENTATION = 274


class Readable(Protocol):
    """What of an open binary file is used."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes from the current place on."""

    def seek(self, offset: int, /) -> object:
        """Moves to a place, counted from the beginning."""


class FileWindow:
    """Pieces of a file. What lies beyond its end, or beyond what may be read, is missing."""

    def __init__(self, file: Readable):
        self._file = file
        self._head = file.read(_HEAD)
        self._whole = len(self._head) < _HEAD
        self._reads, self._bytes = _MOST_READS, _MOST_BYTES

    def at(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on; zeros take the place of what is missing."""
        if self._whole or offset + size <= _HEAD:
            piece = self._head[offset : offset + size]
        elif self._reads <= 0 or size > self._bytes:
            piece = b""
        else:
            self._reads, self._bytes = self._reads - 1, self._bytes - size
            self._file.seek(offset)
            piece = self._file.read(size)
        return piece.ljust(size, b"\0")

    def head(self) -> bytes:
        """The first 4 KiB."""
        return self._head


def tiff_tags(data: FileWindow, start: int, wanted: set[int], limit: int = 1 << 62) -> dict[int, int]:
    """Tags of one SHORT or LONG in the first directory of a TIFF structure, which EXIF is as well.

    Args:
        data: the file.
        start: where the structure begins.
        wanted: numbers of the tags.
        limit: bytes that belong to the structure.
    """
    order = {b"II*\0": "little", b"MM\0*": "big"}.get(data.at(start, 4))
    if order is None:
        return {}
    number: Callable[[bytes], int] = lambda piece: int.from_bytes(piece, order)  # type: ignore[arg-type] # noqa: E731
    offset = number(data.at(start + 4, 4))
    if offset + 2 > limit:
        return {}
    count = min(number(data.at(start + offset, 2)), MOST_ENTRIES, max(0, (limit - offset - 2) // 12))
    entries = data.at(start + offset + 2, 12 * count)
    tags: dict[int, int] = {}
    for entry in (entries[place : place + 12] for place in range(0, len(entries) - 11, 12)):
        tag, kind, values = number(entry[:2]), number(entry[2:4]), number(entry[4:8])
        if tag in wanted and tag not in tags and kind in (3, 4) and values >= 1:
            tags[tag] = number(entry[8:10] if kind == 3 else entry[8:12])
    return tags


def orientation_in(data: FileWindow, start: int, size: int) -> int:
    """What the EXIF data in some bytes asks for."""
    if data.at(start, len(EXIF)) == EXIF:
        start, size = start + len(EXIF), size - len(EXIF)
    asked = tiff_tags(data, start, {ORIENTATION}, size).get(ORIENTATION, 1)
    return asked if asked in TRUE_ORIENTATIONS else 1
