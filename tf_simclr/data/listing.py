"""The image files of a split, listed and not yet read."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence

import numpy as np

from tf_simclr.data.hold_out import HeldOut
from tf_simclr.data.image_files import AS_USUAL, Reading
from tf_simclr.data.scan import Found
from tf_simclr.data.split_names import parse_split
from tf_simclr.escape import as_text

_SLICE_SEED = 20020509


@dataclasses.dataclass(frozen=True)
class Shards:
    """Where the images of a split of a prepared folder are stored: the files of its records, in order.

    Attributes:
        paths: of the files, absolute.
        lengths: number of records of each.
    """

    paths: tuple[str, ...]
    lengths: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Listing:
    """The images of a split.

    Attributes:
        files: the images.
        labels: number of the class of each, UNLABELLED without classes.
        classes: names of the classes.
        notes: lines that a person should see.
        reading: how the files are read.
        shards: where the images of a prepared folder are; None where each is a file.
    """

    files: Sequence[Found]
    labels: Sequence[int]
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    reading: Reading = AS_USUAL
    shards: Shards | None = None


@dataclasses.dataclass(frozen=True)
class ListedSplit:
    """A split of a folder: what a source is made of, and what is known without one (`KnownSplit`).

    Attributes:
        root: absolute path of the folder.
        split: name of the split, perhaps with a slice.
        listing: its images.
        held_out: as in `ImageSource`.
    """

    root: str
    split: str
    listing: Listing
    held_out: Callable[[], HeldOut] | None = None

    @property
    def name(self) -> str:
        """Of the data set, for messages."""
        return f"folder {as_text(self.root)}"

    @property
    def num_examples(self) -> int:
        """Number of images."""
        return len(self.listing.files)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of their numbers."""
        return self.listing.classes

    @property
    def num_classes(self) -> int:
        """0 without labels."""
        return len(self.listing.classes)

    @property
    def labelled(self) -> bool:
        """Whether every image has a class."""
        return self.num_classes > 0


def listed_split(root: str, split: str, listing: Listing) -> ListedSplit:
    """The images of a listing, or the slice of them that `split` asks for.

    The slice is cut from a fixed random order: the list itself is sorted by class.

    Args:
        root: absolute path of the folder.
        split: name of the split, perhaps with a slice.
        listing: the images of the whole split.

    Raises:
        InputError: the slice is empty, or cannot be read.
    """
    total = len(listing.files)
    _, start, stop = parse_split(split, lambda _: total)
    chosen: np.ndarray = np.zeros(total, bool)
    chosen[np.random.default_rng(_SLICE_SEED).permutation(total)[start:stop]] = True
    return ListedSplit(root, split, dataclasses.replace(part_of(listing, chosen), notes=listing.notes))


def part_of(listing: Listing, chosen: np.ndarray) -> Listing:
    """The chosen images of a listing, without its notes.

    Args:
        listing: the images.
        chosen: bool [n].
    """
    rows = np.flatnonzero(chosen).tolist()
    files, labels = [listing.files[r] for r in rows], [listing.labels[r] for r in rows]
    return dataclasses.replace(listing, files=files, labels=labels, notes=())


def relative_paths(root: str, listing: Listing) -> list[bytes]:
    """The paths of the images relative to the root."""
    start = len(os.fsencode(os.path.join(root, "")))
    return [os.fsencode(file.path)[start:] for file in listing.files]
