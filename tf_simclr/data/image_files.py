"""What a file is, by its first bytes, and reading files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from tf_simclr.config.data import READ_BY_DEFAULT
from tf_simclr.data.image_formats import read_header
from tf_simclr.data.image_header import ImageHeader, refusal
from tf_simclr.data.image_limits import reduction
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
# Seconds an item above which it has waited for a disk.
_WAITS = 1e-4
_AT_A_TIME = 512

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Reading(NamedTuple):
    """How the images of a folder are to be read.

    Attributes:
        decoder: what decodes them, as in `decode_named`.
        on_bad_image: "error", or "skip" where those that cannot be decoded are left out later, by `without_bad_images`.
        most: pixels of a file that has to be decoded as a whole.
    """

    decoder: str = "auto"
    on_bad_image: str = "error"
    most: int = READ_BY_DEFAULT


AS_USUAL = Reading()


class Look(NamedTuple):
    """What the header of a file says.

    Attributes:
        reason: why the file is no image, NO_IMAGE or why it cannot be opened; None for an image.
        reduced: whether the image is too large to be decoded whole, and is decoded at a part of its size.
        refused: why the image cannot be decoded at all; "" where it can be if it is not damaged.
    """

    reason: str | None
    reduced: bool = False
    refused: str = ""


def recognise(path: str, reading: Reading = AS_USUAL) -> Look:
    """Looks at the header of a file.

    Args:
        path: of a regular file.
        reading: how it is to be read.
    """
    try:
        file = os.open(path, _OPEN)
        try:
            header = read_header(_Opened(file))
        finally:
            os.close(file)
    except OSError as error:
        return Look(error.strerror or type(error).__name__)
    if not header.format:
        return Look(NO_IMAGE)
    webp = _tensorflow_reads_webp(header, reading.decoder)
    refused = refusal(header, reading.decoder, tensorflow_reads_webp=webp, most=reading.most)
    return Look(None, reduction(header.height, header.width) > 1 and not refused, refused)


def _tensorflow_reads_webp(header: ImageHeader, decoder: str) -> bool:
    """Whether TensorFlow can decode a webp. It is imported, which takes seconds, only where that decides."""
    if header.format != "webp" or decoder != "tensorflow":
        return True
    from tf_simclr.data.decoding import CAN_READ_WEBP

    return CAN_READ_WEBP


class _Opened:
    """An open file by its number: half the system calls of `open`, which show with 200,000 files and many threads."""

    def __init__(self, number: int):
        self._number = number

    def read(self, size: int, /) -> bytes:
        return os.read(self._number, size)

    def seek(self, offset: int, /) -> object:
        return os.lseek(self._number, offset, os.SEEK_SET)


def in_threads(function: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """The function of every item, in order, by several threads as soon as it has to wait.

    A file on a network disk takes long to answer, and threads wait together. A file that the operating system has in
    memory takes no time, and threads would wait for each other: three times as long with 200,000 files.
    """
    results: list[_Result] = []
    while len(results) < len(items):
        chunk = items[len(results) : len(results) + _AT_A_TIME]
        began = time.perf_counter()
        results += [function(item) for item in chunk]
        if time.perf_counter() - began > _WAITS * len(chunk):
            break
    rest = items[len(results) :]
    chunks = [rest[first : first + _AT_A_TIME] for first in range(0, len(rest), _AT_A_TIME)]
    with ThreadPoolExecutor(_READERS) as pool:
        for part in pool.map(lambda chunk: [function(item) for item in chunk], chunks):
            results += part
    return results


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
