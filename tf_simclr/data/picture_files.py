"""What a file is, by its first bytes, and reading files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tf_simclr.data.decoding import CAN_READ_WEBP
from tf_simclr.data.image_formats import read_header, reduction, refusal
from tf_simclr.errors import InputError

# For messages alone: the content decides, and not the name.
EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp"),
    *(".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".j2k"),
)
NO_IMAGE = "no image"
# A file may have become a pipe since it was listed: opening it must not wait for someone to write.
_OPEN = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_READERS = 16
_AT_A_TIME = 512

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def recognise(path: str, decoder: str = "auto") -> tuple[str | None, bool]:
    """Why a file cannot be used as an image, by its header, and whether it is too large to be decoded whole.

    Args:
        path: of a regular file.
        decoder: what is to decode it, as in `decode_named`.

    Returns:
        (None, whether it is decoded at a part of its size) for an image; otherwise NO_IMAGE, or why the file cannot be
        opened.

    Raises:
        InputError: an image that cannot be decoded: it is the user's real data.
    """
    try:
        with open(path, "rb", buffering=0, opener=_opened) as file:
            header = read_header(file)
    except OSError as error:
        return error.strerror or type(error).__name__, False
    if not header.format:
        return NO_IMAGE, False
    reason = refusal(header, decoder, tensorflow_reads_webp=CAN_READ_WEBP)
    if reason:
        raise InputError(f"This image cannot be decoded: {reason}. Received: {path!r}")
    return None, reduction(header.height, header.width) > 1


def _opened(path: str, _: int) -> int:
    return os.open(path, _OPEN)


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
