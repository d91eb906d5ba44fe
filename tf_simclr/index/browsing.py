"""What a page on an index can ask: the map, images in lists, their thumbnails, and what is near to what."""

from __future__ import annotations

import csv
import functools
import io
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tf_simclr.errors import InputError
from tf_simclr.escape import as_text
from tf_simclr.index.contents import Contents
from tf_simclr.index.image_map import ImageMap
from tf_simclr.index.neighbours import nearest
from tf_simclr.index.page import thumbnail
from tf_simclr.index.store import Index

NEAREST = 60
HEADINGS = ("row", "path", "class", "split", "similarity")
_MOST_FOUND = 10_000
_THUMBNAILS_HELD = 4096
# How large images are shown, by the name of the size.
SIDES = {"thumbnail": 128, "image": 640}


class Browsing:
    """An index that is asked by a page. All methods may be called by several threads.

    Args:
        index: of files.
        drawn: its map.
        load_network: reads the network of the index; what it returns makes the bytes of an image file a feature float32
            [d] of length 1. It is called for the first image that is searched for.

    Raises:
        InputError: the index has no files, or their folder is gone.
    """

    def __init__(self, index: Index, drawn: ImageMap, load_network: Callable[[], Callable[[bytes], np.ndarray]]):
        require_files(index)
        self._index, self._map = index, drawn
        # A row of an index of somebody else's, or a link, may name any file of this machine.
        self._contents = Contents(index, inside=True)
        self._load = functools.cache(load_network)
        self._network_lock = threading.Lock()
        self._shown = functools.lru_cache(_THUMBNAILS_HELD)(self._drawn)

    def whole(self) -> dict[str, Any]:
        """The map, and the number of each image's class."""
        labels = [row.label for row in self._index.rows]
        names = sorted(set(labels) - {""})
        numbers = {name: number for number, name in enumerate(names)}
        return {
            "folder": as_text(self._index.identity.data_dir),
            "method": self._map.method,
            "x": np.round(self._map.places[:, 0].astype(float), 4).tolist(),
            "y": np.round(self._map.places[:, 1].astype(float), 4).tolist(),
            "classes": [as_text(name) for name in names],
            "class": [numbers.get(label, -1) for label in labels] if names else [],
        }

    def tiles(self, rows: Iterable[int]) -> list[dict[str, Any]]:
        """What a list shows of some rows."""
        found = ((row, self._index.rows[row]) for row in rows)
        return [{"row": n, "path": as_text(row.path), "class": as_text(row.label)} for n, row in found]

    def near_row(self, row: int) -> list[dict[str, Any]]:
        """The most similar images to one of the index, itself first."""
        return self._near(self._index.normalised([row]))

    def near_image(self, content: bytes) -> list[dict[str, Any]]:
        """The most similar images to the bytes of an image file.

        Raises:
            InputError: they are no image, or the network of the index cannot be read.
        """
        with self._network_lock:  # one at a time: the second would read the network again
            feature = self._load()(content)
        return self._near(feature[np.newaxis])

    def _near(self, queries: np.ndarray) -> list[dict[str, Any]]:
        rows, similarities = (values[0].tolist() for values in nearest(self._index, queries, NEAREST))
        tiles = self.tiles(rows)
        return [tile | {"similarity": round(value, 4)} for tile, value in zip(tiles, similarities, strict=True)]

    def find(self, text: str) -> list[int]:
        """The rows whose path or class has a text in it, whatever the case; at most 10,000."""
        wanted = text.casefold()
        found = (
            number
            for number, row in enumerate(self._index.rows)
            if wanted in as_text(row.path).casefold() or wanted in as_text(row.label).casefold()
        )
        return [number for number, _ in zip(found, range(_MOST_FOUND), strict=False)]

    def table(self, rows: Sequence[int], similarities: Sequence[float]) -> bytes:
        """Rows as a CSV file, as the other tasks on an index write theirs; similarities are empty, or one a row."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(HEADINGS)
        for number, row in enumerate(rows):
            found = self._index.rows[row]
            names = (as_text(name) for name in (found.path, found.label, found.split))
            writer.writerow((row, *names, similarities[number] if similarities else ""))
        return text.getvalue().encode("utf-8", "backslashreplace")

    def image(self, row: int, size: str) -> bytes:
        """An image as JPEG; b"" where its file lies outside of the folder, is gone or cannot be decoded.

        Args:
            row: of the index.
            size: one of SIDES.
        """
        return self._shown(row, SIDES[size])

    @property
    def rows(self) -> int:
        """How many images there are."""
        return len(self._index.rows)

    def _drawn(self, row: int, side: int) -> bytes:
        content = self._contents.of(row)
        return thumbnail(content, side) if content else b""


def require_files(index: Index) -> None:
    """Raises InputError where an index has no files to show, or their folder is gone."""
    folder = index.identity.data_dir
    if not folder or not any(row.size for row in index.rows):
        raise InputError(
            f"`index` must be of a folder of images, whose files are shown. Received: {index.directory}, of "
            f"{index.identity.dataset}. Pass an index that embed has made with --data_dir=FOLDER"
        )
    if not os.path.isdir(folder):
        raise InputError(
            f"The folder of images must be where it was when the index was made. Received: {as_text(folder)}, which is "
            "not a folder. Put it back, or embed the images where they are now"
        )
