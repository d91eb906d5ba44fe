"""Finding the pictures below a folder, and keeping account of every file that is left out."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from tf_simclr.data.decoding import CAN_READ_WEBP
from tf_simclr.data.image_formats import MOST_DECODED, ImageHeader, read_header, reduction, refusal
from tf_simclr.errors import InputError

# For messages alone: the content decides, and not the name.
EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp"),
    *(".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".j2k"),
)
_READERS = 16


@dataclasses.dataclass
class Files:
    """The files below a folder, as paths.

    Attributes:
        pictures: files whose content begins like a picture.
        unreadable: files that are named like a picture and are none.
        others: files with other names.
        hidden: files and folders whose names begin with a dot.
        reduced: those of `pictures` that are too large to be decoded whole.
    """

    pictures: list[str] = dataclasses.field(default_factory=list)
    unreadable: list[str] = dataclasses.field(default_factory=list)
    others: list[str] = dataclasses.field(default_factory=list)
    hidden: list[str] = dataclasses.field(default_factory=list)
    reduced: list[str] = dataclasses.field(default_factory=list)

    def add_left_out(self, more: Files) -> None:
        """Takes over what another folder's account left out, but not its pictures."""
        self.unreadable += more.unreadable
        self.others += more.others
        self.hidden += more.hidden
        self.reduced += more.reduced

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
        if self.reduced:
            be = "is" if len(self.reduced) == 1 else "are"
            notes.append(
                f"{count(self.reduced, 'picture')} of more than {MOST_DECODED / 1e6:.1f} megapixels {be} decoded at a "
                f"half or a quarter of the sides: {some(self.reduced)}"
            )
        return tuple(notes)

    def left_out(self) -> str:
        """The notes in brackets, for the middle of a sentence; nothing without notes."""
        return f" ({'; '.join(self.notes())})" if self.notes() else ""


def find_pictures(folder: pathlib.Path, *, recursive: bool, decoder: str = "auto") -> Files:
    """Lists the files below a folder in the order of their paths; links are followed, each real folder once.

    Args:
        folder: where to begin.
        recursive: whether to enter its folders.
        decoder: as in `decode_named`.

    Returns:
        the account of all files, `pictures` being those whose first bytes are a picture's.

    Raises:
        InputError: a picture is in a format that cannot be decoded: it is the user's real data.
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
            named.append(os.path.join(parent, name))
    with ThreadPoolExecutor(_READERS) as pool:
        for path, header in zip(named, pool.map(recognise, named, chunksize=256), strict=True):
            _sort(path, header, decoder, files)
    return files


def recognise(path: str) -> ImageHeader | None:
    """What the header of a file says; None where the file cannot be opened."""
    try:
        with open(path, "rb", buffering=0) as file:
            return read_header(file)
    except OSError:
        return None


def _sort(path: str, header: ImageHeader | None, decoder: str, files: Files) -> None:
    """Puts a file where it belongs."""
    if header is None or not header.format:
        (files.unreadable if path.lower().endswith(EXTENSIONS) else files.others).append(path)
        return
    reason = refusal(header, decoder, tensorflow_reads_webp=CAN_READ_WEBP)
    if reason:
        raise InputError(f"This image cannot be decoded: {reason}. Received: {path!r}")
    files.pictures.append(path)
    if reduction(header.height, header.width) > 1:
        files.reduced.append(path)


def read_all(paths: Sequence[bytes]) -> list[bytes]:
    """The contents of files, read by several threads."""
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(lambda path: pathlib.Path(os.fsdecode(path)).read_bytes(), paths))


def count(items: Sequence[str], noun: str) -> str:
    """ "1 file", "2 files"."""
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"


def some(items: Iterable[str], most: int = 5) -> str:
    """The first few items of a list that may be long."""
    listed = list(items)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
