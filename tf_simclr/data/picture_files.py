"""What a file is, by its first bytes, and reading files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import tensorflow as tf

from tf_simclr.data.source import CAN_READ_WEBP
from tf_simclr.errors import InputError

# For messages alone: the content decides, and not the name.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
NO_IMAGE = "no image"
_FIRST_BYTES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"RIFF")
_HEAD = 1280  # the headers of a bmp and a whole palette
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
# A file may have become a pipe since it was listed: opening it must not wait for someone to write.
_OPEN = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_READERS = 16
_AT_A_TIME = 512

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def recognise(path: str) -> str | None:
    """Why a file cannot be used as an image, by its first bytes; None where it can.

    Args:
        path: of a regular file.

    Returns:
        None, NO_IMAGE, or why the file cannot be opened.

    Raises:
        InputError: an image in a format that this TensorFlow cannot read: it is the user's real data.
    """
    try:
        head = _first_bytes(path)
    except OSError as error:
        return error.strerror or type(error).__name__
    if head.startswith(b"RIFF"):
        if head[8:12] != b"WEBP":
            return NO_IMAGE
        if not CAN_READ_WEBP:
            raise InputError(
                f"TensorFlow {tf.__version__} cannot read webp: convert the picture to png or jpg, or use TensorFlow "
                f"2.20 or later. Received: {path!r}"
            )
    if head.startswith(b"BM"):
        # Any text may begin with these two letters.
        if int.from_bytes(head[14:18], "little") not in _BMP_HEADERS:
            return NO_IMAGE
        _require_readable_bmp(path, head)
    return None if head.startswith(_FIRST_BYTES) else NO_IMAGE


def _first_bytes(path: str) -> bytes:
    # Half the time of open() and read(), which shows with 200,000 files.
    file = os.open(path, _OPEN)
    try:
        return os.read(file, _HEAD)
    finally:
        os.close(file)


def _require_readable_bmp(path: str, head: bytes) -> None:
    """TensorFlow takes the palette numbers of a bmp for grey levels: right only when the palette is a grey ramp."""
    bits = int.from_bytes(head[28:30], "little")
    palette = 14 + int.from_bytes(head[14:18], "little")
    grey_ramp = b"".join(bytes([level, level, level, 0]) for level in range(256))
    if bits not in (24, 32) and (bits != 8 or head[palette : palette + 1024] != grey_ramp):
        raise InputError(f"TensorFlow cannot read a bmp with a palette: convert the picture to png. Received: {path!r}")


def in_threads(function: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """The function of every item, in order, by several threads: a file on a network disk takes long to answer."""
    chunks = [items[first : first + _AT_A_TIME] for first in range(0, len(items), _AT_A_TIME)]
    with ThreadPoolExecutor(_READERS) as pool:
        return [
            result for part in pool.map(lambda chunk: [function(item) for item in chunk], chunks) for result in part
        ]


def read_all(paths: Sequence[bytes]) -> list[bytes]:
    """The contents of files.

    Raises:
        InputError: a file is gone, or cannot be read.
    """
    return in_threads(_read, paths)


def _read(path: bytes) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise InputError(
            f"A file was there when the folder was listed and cannot be read now: {error.strerror}. Received: "
            f"{os.fsdecode(path)!r}. Put it back, or start again to go on without it"
        ) from error
