"""Finding the pictures below a folder, and keeping account of every file that is left out."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf

from tf_simclr.data.source import CAN_READ_WEBP
from tf_simclr.errors import InputError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
_FIRST_BYTES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"RIFF")
_BMP_HEAD = 1200  # the headers and a whole palette
_READERS = 16


@dataclasses.dataclass
class Files:
    """The files below a folder, as paths.

    Attributes:
        pictures: files that are named and begin like a picture.
        unreadable: files that are named like a picture and are none.
        others: files with other names.
        hidden: files and folders whose names begin with a dot.
    """

    pictures: list[str] = dataclasses.field(default_factory=list)
    unreadable: list[str] = dataclasses.field(default_factory=list)
    others: list[str] = dataclasses.field(default_factory=list)
    hidden: list[str] = dataclasses.field(default_factory=list)

    def add_left_out(self, more: Files) -> None:
        """Takes over what another folder's account left out, but not its pictures."""
        self.unreadable += more.unreadable
        self.others += more.others
        self.hidden += more.hidden

    def notes(self) -> tuple[str, ...]:
        """What was left out, a line for each reason."""
        notes: list[str] = []
        if self.others:
            kinds = sorted({os.path.splitext(p)[1].lower() or "no extension" for p in self.others})
            be = "is not a picture" if len(self.others) == 1 else "are not pictures"
            notes.append(f"ignored {count(self.others, 'file')} that {be}: {some(kinds)}")
        if self.hidden:
            notes.append(f"ignored {count(self.hidden, 'hidden file')}")
        if self.unreadable:
            notes.append(f"ignored {count(self.unreadable, 'picture')} that cannot be read: {some(self.unreadable)}")
        return tuple(notes)

    def left_out(self) -> str:
        """The notes in brackets, for the middle of a sentence; nothing without notes."""
        return f" ({'; '.join(self.notes())})" if self.notes() else ""


def find_pictures(folder: pathlib.Path, *, recursive: bool) -> Files:
    """Lists the files below a folder in the order of their paths; links are followed, each real folder once.

    Args:
        folder: where to begin.
        recursive: whether to enter its folders.

    Returns:
        the account of all files, `pictures` being those whose first bytes are a picture's.

    Raises:
        InputError: a picture is in a format that this TensorFlow cannot read.
    """
    files, seen = Files(), set()
    named: list[str] = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        files.hidden += [os.path.join(parent, n) for n in (*folders, *names) if n.startswith(".")]
        folders[:] = sorted(n for n in folders if recursive and not n.startswith("."))
        for name in sorted(n for n in names if not n.startswith(".")):
            target = named if name.lower().endswith(EXTENSIONS) else files.others
            target.append(os.path.join(parent, name))
    with ThreadPoolExecutor(_READERS) as pool:
        readable = pool.map(_begins_like_a_picture, named, chunksize=256)
        for path, good in zip(named, readable, strict=True):
            (files.pictures if good else files.unreadable).append(path)
    return files


def read_all(paths: Sequence[bytes]) -> list[bytes]:
    """The contents of files, read by several threads."""
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(lambda path: pathlib.Path(os.fsdecode(path)).read_bytes(), paths))


def _begins_like_a_picture(path: str) -> bool:
    """Judges by the first bytes. A format that TensorFlow cannot read is an error: it is the user's real data."""
    try:
        with open(path, "rb") as file:
            head = file.read(16)
            if head.startswith(b"BM"):
                _require_readable_bmp(path, head + file.read(_BMP_HEAD))
    except OSError:
        return False
    if head.startswith(b"RIFF"):
        if head[8:12] != b"WEBP":
            return False
        if not CAN_READ_WEBP:
            raise InputError(
                f"TensorFlow {tf.__version__} cannot read webp: convert the picture to png or jpg, or use TensorFlow "
                f"2.20 or later. Received: {path!r}"
            )
    return head.startswith(_FIRST_BYTES)


def _require_readable_bmp(path: str, head: bytes) -> None:
    """TensorFlow takes the palette numbers of a bmp for grey levels: right only when the palette is a grey ramp."""
    bits = int.from_bytes(head[28:30], "little")
    palette = 14 + int.from_bytes(head[14:18], "little")
    grey_ramp = b"".join(bytes([level, level, level, 0]) for level in range(256))
    if bits not in (24, 32) and (bits != 8 or head[palette : palette + 1024] != grey_ramp):
        raise InputError(f"TensorFlow cannot read a bmp with a palette: convert the picture to png. Received: {path!r}")


def count(items: Sequence[str], noun: str) -> str:
    """ "1 file", "2 files"."""
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"


def some(items: Iterable[str], most: int = 5) -> str:
    """The first few items of a list that may be long."""
    listed = list(items)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
