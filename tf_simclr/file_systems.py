"""File systems: Python's for local paths, TensorFlow's for any other, which is imported only then.

A command looks at folders, checkpoints and results before TensorFlow is imported, which takes seconds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from tf_simclr.processes import temporary_of


def is_remote(path: str) -> bool:
    """Whether a path names no local file, as gs://bucket/run."""
    return "://" in path


class FileFacts(NamedTuple):
    """What a file system knows of a file.

    Attributes:
        size: in bytes.
        changed: time of the last change, in nanoseconds.
    """

    size: int
    changed: int


class FileSystem(Protocol):
    """What is done with files and folders."""

    def make(self, directory: str) -> None:
        """Makes a directory, and those above it."""

    def names(self, directory: str) -> list[str]:
        """The names in a directory; none where there is no such directory."""

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""

    def is_folder(self, path: str) -> bool:
        """Whether there is such a directory."""

    def facts(self, path: str) -> FileFacts:
        """Size and time of a file."""

    def opened(self, path: str) -> AbstractContextManager[Any]:
        """A file, to read its bytes."""

    def read(self, path: str) -> bytes:
        """The contents of a file."""

    def write(self, path: str, content: bytes) -> None:
        """Writes a file, whole or not at all."""

    def rename(self, path: str, new: str) -> None:
        """Gives a file or a directory another name, which nothing has."""

    def remove(self, path: str) -> None:
        """Removes a file."""

    def remove_tree(self, path: str) -> None:
        """Removes a directory, if there is one; of a link the link goes."""


def file_system_of(path: str) -> FileSystem:
    """The file system of a path."""
    return _Remote() if is_remote(path) else _Local()


class _Local:
    def make(self, directory: str) -> None:
        os.makedirs(directory, exist_ok=True)

    def names(self, directory: str) -> list[str]:
        return os.listdir(directory) if os.path.isdir(directory) else []

    def exists(self, path: str) -> bool:
        return os.path.isfile(path)

    def is_folder(self, path: str) -> bool:
        return os.path.isdir(path)

    def facts(self, path: str) -> FileFacts:
        found = os.stat(path)
        return FileFacts(found.st_size, found.st_mtime_ns)

    def opened(self, path: str) -> AbstractContextManager[Any]:
        return open(path, "rb")

    def read(self, path: str) -> bytes:
        with self.opened(path) as file:
            return bytes(file.read())

    def write(self, path: str, content: bytes) -> None:
        temporary = temporary_of(path)
        try:
            with open(temporary, "wb") as file:
                file.write(content)
            os.replace(temporary, path)
        except BaseException as error:  # a full disk, or somebody who asks to stop
            if isinstance(error, OSError):
                error.filename = error.filename or path  # Python does not name the file of a write that fails
            with contextlib.suppress(OSError):
                os.remove(temporary)
            raise

    def rename(self, path: str, new: str) -> None:
        os.rename(path, new)

    def remove(self, path: str) -> None:
        os.remove(path)

    def remove_tree(self, path: str) -> None:
        if os.path.islink(path):
            os.remove(path)
        elif os.path.isdir(path):
            shutil.rmtree(path)


class _Remote:
    def __init__(self) -> None:
        import tensorflow as tf

        self._gfile: Any = tf.io.gfile

    def make(self, directory: str) -> None:
        self._gfile.makedirs(directory)

    def names(self, directory: str) -> list[str]:
        return list(self._gfile.listdir(directory)) if self._gfile.isdir(directory) else []

    def exists(self, path: str) -> bool:
        return bool(self._gfile.exists(path)) and not self.is_folder(path)

    def is_folder(self, path: str) -> bool:
        return bool(self._gfile.isdir(path))

    def facts(self, path: str) -> FileFacts:
        found = self._gfile.stat(path)
        return FileFacts(int(found.length), int(found.mtime_nsec))

    def opened(self, path: str) -> AbstractContextManager[Any]:
        file: AbstractContextManager[Any] = self._gfile.GFile(path, "rb")
        return file

    def read(self, path: str) -> bytes:
        with self.opened(path) as file:
            return bytes(file.read())

    def write(self, path: str, content: bytes) -> None:
        temporary = temporary_of(path)
        try:
            with self._gfile.GFile(temporary, "wb") as file:
                file.write(content)
            self._gfile.rename(temporary, path, overwrite=True)
        except BaseException:
            with contextlib.suppress(Exception):
                self._gfile.remove(temporary)
            raise

    def rename(self, path: str, new: str) -> None:
        self._gfile.rename(path, new)

    def remove(self, path: str) -> None:
        self._gfile.remove(path)

    def remove_tree(self, path: str) -> None:
        if self._gfile.exists(path):
            self._gfile.rmtree(path)
