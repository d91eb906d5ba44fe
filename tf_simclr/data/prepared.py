"""Prepared folders: the images of a folder in a few large files, and the list of them; without TensorFlow.

`PREPARED_FILE` makes a directory one. Its images are read as those of the folder that they were made of: same paths,
classes and splits. `prepare_images.py` writes it, `shard_source.py` reads the images.
"""

from __future__ import annotations

import functools
import os
from dataclasses import asdict, dataclass
from typing import Any

from tf_simclr.data import fingerprint
from tf_simclr.data.image_files import Reading
from tf_simclr.data.known_split import UNLABELLED
from tf_simclr.data.listing import Listing, Shards, relative_paths
from tf_simclr.data.prepared_list import IMAGES_FILE, StoredImage, read_images
from tf_simclr.data.scan import Found
from tf_simclr.errors import InputError
from tf_simclr.escape import as_text
from tf_simclr.files import read_json
from tf_simclr.stored import DamagedFileError, require_types

PREPARED_FILE = "prepare.json"
FORMAT = 1
_AGAIN = "Prepare the folder again, or copy the whole directory"


@dataclass(frozen=True)
class PreparedSplit:
    """A split of a prepared folder.

    Attributes:
        name: as the folder has it; "" in a folder without splits.
        records: its name in TensorFlow Datasets.
        classes: names, in the order of their numbers; none without labels.
        files: names of the files of its records, in order.
        lengths: number of images in each of them.
    """

    name: str
    records: str
    classes: list[str]
    files: list[str]
    lengths: list[int]

    @property
    def images(self) -> int:
        """Number of images."""
        return sum(self.lengths)


@dataclass(frozen=True)
class Preparation:
    """What a prepared folder is made of, and how.

    Attributes:
        source: absolute path of the folder of images.
        source_fingerprint: of its files: paths, sizes, times of change, labels and splits.
        side: largest shorter side of an image, in pixels.
        decoder: what decoded the images.
    """

    source: str
    source_fingerprint: str
    side: int
    decoder: str

    def same_as(self, other: Preparation) -> bool:
        """Whether both give the same images; the folder may have been moved."""
        return asdict(self) | {"source": ""} == asdict(other) | {"source": ""}


@dataclass(frozen=True)
class Prepared:
    """A prepared folder.

    Attributes:
        directory: absolute path.
        preparation: what it is made of.
        parts: its splits.
        files: name of each file in it -> its size in bytes.
        damaged: paths of the images that were left out, because they cannot be decoded.
    """

    directory: str
    preparation: Preparation
    parts: tuple[PreparedSplit, ...]
    files: dict[str, int]
    damaged: tuple[str, ...]

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits of the folder, as in `Layout`: none where it has none."""
        return tuple(part.name for part in self.parts if part.name)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of it."""
        left_out = f"; {len(self.damaged)} damaged images were left out" if self.damaged else ""
        made_of = f"{as_text(self.preparation.source)} with --side={self.preparation.side}"
        return (f"{as_text(self.directory)} was prepared from {made_of}{left_out}",)

    def read(self, split: str, reading: Reading) -> Listing:
        """The images of a split; of a folder without splits whatever the name."""
        part = next(part for part in self.parts if part.name in ("", split))
        number = {name: label for label, name in enumerate(part.classes)}
        files: list[Found] = []
        labels: list[int] = []
        for image in self._images[part.records]:
            path = os.path.join(self.directory, image.path)
            key = f"{os.path.join(self.directory, IMAGES_FILE)}:{image.file}"
            files.append(Found(path, image.size, int(image.digest, 16), key, len(files)))
            labels.append(number[image.label] if part.classes else UNLABELLED)
        if len(files) != part.images:
            raise _damaged(self.directory, f"{IMAGES_FILE} lists {len(files)} of {part.images} images of {split!r}")
        notes = () if part.classes else (f"{as_text(self.directory)} has no classes: its images have no labels",)
        shards = Shards(tuple(os.path.join(self.directory, name) for name in part.files), tuple(part.lengths))
        return Listing(files, labels, tuple(part.classes), notes, reading, shards)

    @property
    def images(self) -> list[StoredImage]:
        """The images of all splits."""
        return [image for images in self._images.values() for image in images]

    def place_of(self, path: str) -> tuple[str, int] | None:
        """The file with the record of an image, and its number in that file; None where there is no such image.

        Args:
            path: as in `StoredImage`.
        """
        part, number = self._places.get(path, (None, 0))
        if part is None:
            return None
        for name, length in zip(part.files, part.lengths, strict=True):
            if number < length:
                return os.path.join(self.directory, name), number
            number -= length
        return None

    @functools.cached_property
    def _places(self) -> dict[str, tuple[PreparedSplit, int]]:
        """Path -> the split of an image, and its number there."""
        return {
            image.path: (part, number) for part in self.parts for number, image in enumerate(self._images[part.records])
        }

    @functools.cached_property
    def _images(self) -> dict[str, list[StoredImage]]:
        """The images of each split, by the name of its records."""
        found: dict[str, list[StoredImage]] = {part.records: [] for part in self.parts}
        for image in read_images(os.path.join(self.directory, IMAGES_FILE)):
            found.setdefault(image.split, []).append(image)
        return found

    def to_json(self) -> dict[str, Any]:
        """What `PREPARED_FILE` says of it."""
        return {
            "format": FORMAT,
            **asdict(self.preparation),
            "splits": [asdict(part) for part in self.parts],
            "files": self.files,
            "damaged": list(self.damaged),
        }


def folder_of_files(directory: str) -> str:
    """The folder where the image files of a folder lie: for a prepared folder the one that it was made of."""
    return _read(directory).preparation.source if is_prepared(directory) else directory


def is_prepared(directory: str) -> bool:
    """Whether a directory is a prepared folder."""
    return os.path.isfile(os.path.join(directory, PREPARED_FILE))


def open_prepared(directory: str, labels: str | None = None) -> Prepared:
    """Opens a prepared folder; its list of images is read when it is asked for.

    Args:
        directory: absolute path.
        labels: path of a table of labels, which must be None here.

    Raises:
        InputError: a part of it is not there, or another version wrote it; or there is a table of labels.
    """
    if labels is not None:
        raise InputError(
            f"`labels` must be left out for a prepared folder, which has the labels it was prepared with. Received: "
            f"labels={labels!r}, data_dir={as_text(directory)!r}. Leave it out, or pass it to `prepare`"
        )
    prepared = _read(directory)
    for name, size in prepared.files.items():
        path = os.path.join(directory, name)
        there = os.path.getsize(path) if os.path.isfile(path) else -1
        if there != size:
            what = "missing" if there < 0 else f"{there} bytes long in place of {size}"
            raise _damaged(directory, f"{name} is {what}")
    return prepared


def _read(directory: str) -> Prepared:
    place = os.path.join(directory, PREPARED_FILE)
    values = read_json(place) or {}
    if values.get("format") != FORMAT:
        raise InputError(
            f"This directory was prepared by another version of the program, or has a {PREPARED_FILE} of something "
            f"else. Received: {as_text(place)!r}, format {values.get('format')}. Prepare the folder again"
        )
    for kind in (Preparation, _Facts):
        require_types(values, kind, place)
    try:
        for split in values["splits"]:
            require_types(split, PreparedSplit, place)
        return Prepared(
            directory,
            Preparation(**{name: values[name] for name in Preparation.__dataclass_fields__}),
            tuple(PreparedSplit(**split) for split in values["splits"]),
            values["files"],
            tuple(values["damaged"]),
        )
    except (KeyError, TypeError) as error:
        raise _damaged(directory, f"{PREPARED_FILE} says too little: {error}") from error


@dataclass(frozen=True)
class _Facts:
    """What `PREPARED_FILE` holds beside a Preparation."""

    splits: list[dict[str, Any]]
    files: dict[str, int]
    damaged: list[str]


def _damaged(directory: str, why: str) -> DamagedFileError:
    return DamagedFileError(f"This prepared folder is damaged: {why}. Received: {as_text(directory)!r}. {_AGAIN}")


def fingerprint_of(root: str, listings: dict[str, Listing]) -> str:
    """The digest of the files of a folder.

    Args:
        root: absolute path of the folder.
        listings: name of each split -> its images.
    """
    parts = []
    for split, listing in listings.items():
        labels = [listing.classes[label] if listing.classes else "" for label in listing.labels]
        sizes, changed = ([getattr(file, name) for file in listing.files] for name in ("size", "changed"))
        files = fingerprint.of_files(relative_paths(root, listing), sizes, changed, labels)
        parts.append((split, listing.classes, files))
    return fingerprint.of_facts("prepared", parts)
