"""The image files of an index, as bytes."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

from tf_simclr.data.prepared import is_prepared
from tf_simclr.data.stored_images import stored_images
from tf_simclr.index.store import Index


class Contents:
    """Reads the images of an index from its folder, and those of a prepared folder from there where the files are gone.

    Args:
        index: of images.
        inside: whether a file that lies outside of the folder, by a link or by the path in a row, is not read, as
            in a server that shows somebody else's index.
    """

    def __init__(self, index: Index, *, inside: bool = False):
        self._index = index
        self._root = os.path.join(os.path.realpath(index.files_in), "") if inside else ""

    def of(self, row: int) -> bytes:
        """An image file; b"" where there is none."""
        path = self._index.path_of(row)
        if self._root:
            path = os.path.realpath(path)
            if not path.startswith(self._root):
                return self.stored(row)
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError:
            return self.stored(row)

    def stored(self, row: int) -> bytes:
        """An image as a prepared folder has it; b"" where the index is of none."""
        return self._read(self._index.rows[row].path)

    @functools.cached_property
    def _read(self) -> Callable[[str], bytes]:
        directory = self._index.identity.data_dir
        return stored_images(directory) if is_prepared(directory) else lambda path: b""
