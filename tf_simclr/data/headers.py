"""Looking at the headers of a folder's files, and remembering between runs which of them are plain images.

A header is one read of a file, and a million of them take minutes on a network disk. So each command remembers the
files that it has looked at, by a digest of place, size and time of change, as Git does. It only remembers images that
can be decoded whole. It looks at everything else again, to name it again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Protocol

import numpy as np

from tf_simclr.data import header_window, image_files, image_formats, image_header, image_limits
from tf_simclr.data.image_files import AS_USUAL, Look, Reading, in_threads, recognise
from tf_simclr.errors import InputError
from tf_simclr.files import write_whole

# Below it all headers are read in a moment, and nothing is written.
REMEMBERED_FROM = 10_000
# A file that changes twice within one tick of its file system's clock keeps its time. The coarsest ticks are 2 seconds.
_SETTLED_NS = 2_000_000_000
_KEPT_SECONDS = 90 * 86400
_AT_A_TIME = 8192
_ENDING = ".headers"
_PLAIN = Look(None)
# What decides whether an image is plain, besides the file and how it is read.
_RULES = (header_window, image_files, image_formats, image_header, image_limits)
_DECODERS = ("tensorflow", "pillow", "pillow-heif")

# Called with the number of headers that were read so far, now and then. The command line shows it.
WATCH: ContextVar[Callable[[int], None] | None] = ContextVar("WATCH", default=None)


class File(Protocol):
    """What is used of a `Found`."""

    @property
    def path(self) -> str:
        """Where it lies."""

    @property
    def size(self) -> int:
        """In bytes."""

    @property
    def changed(self) -> int:
        """Time of the last change, in nanoseconds."""

    @property
    def key(self) -> str:
        """Of the file itself, whatever path leads to it."""


class Headers:
    """Looks at headers.

    Args:
        reading: how the files are to be read.
        known: sorted uint64 digests of files that are plain images.
    """

    def __init__(self, reading: Reading = AS_USUAL, known: np.ndarray | None = None):
        self.reading = reading
        self._known = np.empty(0, np.uint64) if known is None else known
        self._plain: list[np.ndarray] = []
        self._read = 0

    def look(self, files: Sequence[File]) -> list[Look]:
        """What the header of every file says, in order; of files that are known it is not read."""
        digests = _digests(files)
        known = _among(digests, self._known)
        looks = [_PLAIN] * len(files)
        unknown = np.flatnonzero(~known)
        for first in range(0, len(unknown), _AT_A_TIME):
            places = unknown[first : first + _AT_A_TIME]
            found = in_threads(functools.partial(recognise, reading=self.reading), [files[i].path for i in places])
            for place, one in zip(places, found, strict=True):
                looks[place] = one
            self._count(len(places))
        self._plain.append(digests[[look == _PLAIN for look in looks]] if files else digests)
        return looks

    def _count(self, more: int) -> None:
        self._read += more
        watch = WATCH.get()
        if watch is not None:
            watch(self._read)

    def plain(self) -> np.ndarray:
        """Sorted digests of all plain images that were looked at and have not just been changed."""
        digests = np.unique(np.concatenate([np.empty(0, np.uint64), *self._plain]))
        return digests[digests != 0]


@contextlib.contextmanager
def remembered_headers(folder: str, reading: Reading = AS_USUAL) -> Iterator[Headers]:
    """Headers of one folder, which know those of the last time; at the end the plain images of this time are kept.

    A cache that cannot be read or written costs time, and nothing else.

    Args:
        folder: whose files will be looked at; another folder has another memory.
        reading: how the files are to be read.
    """
    path = _memory_of(folder, reading)
    known = _load(path)
    headers = Headers(reading, known)
    try:
        yield headers
    except BaseException:  # what was read before a stop or a mistake need not be read again
        _save(path, np.union1d(known, headers.plain()), known)
        raise
    _save(path, headers.plain(), known)


def cache_directory() -> Path:
    """Where headers are remembered: $XDG_CACHE_HOME/tf_simclr, by default ~/.cache/tf_simclr."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tf_simclr"


def _memory_of(folder: str, reading: Reading) -> Path | None:
    """The file of a folder's memory; None where there is no place for one."""
    with contextlib.suppress(OSError, RuntimeError):  # no home directory; no source file
        facts = repr((os.path.realpath(folder), tuple(reading), _rules()))
        name = hashlib.sha256(facts.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        return cache_directory() / f"{name}{_ENDING}"
    return None


@functools.cache
def _rules() -> tuple[str, ...]:
    """What decides by which rules a header is read: our modules, and versions of what decodes."""
    sources = [hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest() for module in _RULES]
    return (*sources, *map(_version, _DECODERS))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _load(path: Path | None) -> np.ndarray:
    """The digests of a memory; none where there is no memory or it is damaged."""
    with contextlib.suppress(OSError, ValueError):
        if path is not None and path.exists():
            known = np.frombuffer(path.read_bytes(), "<u8").astype(np.uint64)
            os.utime(path)  # still in use
            return known if bool((known[1:] > known[:-1]).all()) else np.empty(0, np.uint64)
    return np.empty(0, np.uint64)


def _save(path: Path | None, plain: np.ndarray, known: np.ndarray) -> None:
    """Keeps the digests of many plain images, unless they are those that are kept already."""
    if path is None or len(plain) < REMEMBERED_FROM or np.array_equal(plain, known):
        return
    with contextlib.suppress(OSError, InputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(str(path), plain.astype("<u8").tobytes())
        _remove_old(path.parent)


def _digests(files: Sequence[File]) -> np.ndarray:
    """A number for each file, uint64; 0 for a file that was changed just now, which is never known."""
    settled = time.time_ns() - _SETTLED_NS
    texts = (f"{file.key}\0{file.size}\0{file.changed}".encode("utf-8", "surrogateescape") for file in files)
    joined = b"".join(hashlib.blake2b(text, digest_size=8).digest() for text in texts)
    digests = np.frombuffer(joined, "<u8").astype(np.uint64)
    digests[[file.changed > settled for file in files]] = 0
    return digests


def _among(digests: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which digests are among the known ones, bool [n]."""
    if not len(known):
        return np.zeros(len(digests), bool)
    places = np.minimum(np.searchsorted(known, digests), len(known) - 1)
    return np.asarray((known[places] == digests) & (digests != 0))


def _remove_old(directory: Path) -> None:
    """Removes memories that no command has used for months."""
    for path in directory.glob(f"*{_ENDING}"):
        if path.stat().st_mtime < time.time() - _KEPT_SECONDS:
            path.unlink(missing_ok=True)
