"""What a lock does with files: by Python on a local disk, by TensorFlow on any other, which is imported only then."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Protocol

from tf_simclr.config.paths import is_remote
from tf_simclr.unfinished import temporary_of


class Files(Protocol):
    """A file system."""

    def make(self, directory: str) -> None:
        """Makes a directory, and those above it."""

    def names(self, directory: str) -> list[str]:
        """The names in a directory; none where there is no such directory."""

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""

    def read(self, path: str) -> bytes:
        """The contents of a file."""

    def write(self, path: str, content: bytes) -> None:
        """Writes a file, whole or not at all."""

    def remove(self, path: str) -> None:
        """Removes a file."""


def files_of(path: str) -> Files:
    """The file system of a path."""
    return _Remote() if is_remote(path) else _Local()


class _Local:
    def make(self, directory: str) -> None:
        os.makedirs(directory, exist_ok=True)

    def names(self, directory: str) -> list[str]:
        return os.listdir(directory) if os.path.isdir(directory) else []

    def exists(self, path: str) -> bool:
        return os.path.isfile(path)

    def read(self, path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()

    def write(self, path: str, content: bytes) -> None:
        temporary = temporary_of(path)
        try:
            with open(temporary, "wb") as file:
                file.write(content)
            os.replace(temporary, path)
        except OSError as error:
            error.filename = error.filename or path  # Python does not name the file of a write that fails
            with contextlib.suppress(OSError):
                os.remove(temporary)
            raise

    def remove(self, path: str) -> None:
        os.remove(path)


class _Remote:
    def __init__(self) -> None:
        import tensorflow as tf

        self._gfile: Any = tf.io.gfile

    def make(self, directory: str) -> None:
        self._gfile.makedirs(directory)

    def names(self, directory: str) -> list[str]:
        return list(self._gfile.listdir(directory)) if self._gfile.isdir(directory) else []

    def exists(self, path: str) -> bool:
        return bool(self._gfile.exists(path))

    def read(self, path: str) -> bytes:
        with self._gfile.GFile(path, "rb") as file:
            return bytes(file.read())

    def write(self, path: str, content: bytes) -> None:
        from tf_simclr.files import write_whole

        write_whole(path, content)

    def remove(self, path: str) -> None:
        self._gfile.remove(path)
