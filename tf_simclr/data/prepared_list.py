"""The list of the images of a prepared folder: a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tf_simclr.escape import as_text
from tf_simclr.stored import DamagedFileError

IMAGES_FILE = "images.csv"
# What became of an image: stored byte for byte, encoded anew at its own size, or reduced.
CHANGES = KEPT, ENCODED, REDUCED = "kept", "encoded", "reduced"
_COLUMNS = ("path", "class", "split", "bytes", "digest", "file", "change")


class StoredImage(NamedTuple):
    """An image of a prepared folder: a line of `IMAGES_FILE`, in the order of the records of its split.

    Attributes:
        path: of the file that it was made of, relative to its folder. Bytes that are not UTF-8 stand as Python's
            surrogate escapes.
        label: name of its class; "" without one.
        split: name of its records.
        size: in bytes, as it is stored.
        digest: of the stored bytes, 16 hexadecimal digits.
        file: a number that two paths to one file share.
        change: of CHANGES.
    """

    path: str
    label: str
    split: str
    size: int
    digest: str
    file: int
    change: str


def images_to_bytes(images: Iterable[StoredImage]) -> bytes:
    """The list of images as a CSV file with a line of headings."""
    text = io.StringIO(newline="")
    # A name may hold a carriage return alone, which is quoted only where it is a part of the terminator.
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    writer.writerows(images)
    return text.getvalue().encode("utf-8", "surrogateescape")


def read_images(place: str) -> Iterator[StoredImage]:
    """Reads what `images_to_bytes` wrote.

    Args:
        place: path of the file.

    Raises:
        DamagedFileError: it is something else.
    """
    with open(place, newline="", encoding="utf-8", errors="surrogateescape") as file:
        lines = csv.reader(file)
        try:
            if tuple(next(lines, ())) != _COLUMNS:
                raise ValueError(f"no line of headings {','.join(_COLUMNS)}")
            for path, label, split, size, digest, number, change in lines:
                yield StoredImage(path, label, split, int(size), digest, int(number), change)
        except (ValueError, csv.Error) as error:
            raise DamagedFileError(
                f"This list of a prepared folder is damaged: {error}. Received: {as_text(place)!r}. Prepare the folder "
                "again, or copy the whole directory"
            ) from error
