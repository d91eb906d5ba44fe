"""The splits of the built-in images: how many there are in each, known before one is drawn."""

from __future__ import annotations

from typing import NamedTuple

from tf_simclr.data.silhouettes import SHAPES
from tf_simclr.data.split_names import parse_split
from tf_simclr.errors import InputError

SPLIT_SIZES = {"train": 10_000, "validation": 2_000, "test": 2_000}


class ShapesSplit(NamedTuple):
    """A split of the built-in images, as `KnownSplit`.

    Attributes:
        split: as the user wrote it.
        whole: name of the split without its slice.
        start: first image.
        stop: last image, exclusive.
    """

    split: str
    whole: str
    start: int
    stop: int

    @property
    def name(self) -> str:
        """Of the data set."""
        return "shapes"

    @property
    def num_examples(self) -> int:
        """Number of images."""
        return self.stop - self.start

    @property
    def class_names(self) -> tuple[str, ...]:
        """The shapes."""
        return tuple(SHAPES)

    @property
    def num_classes(self) -> int:
        """One for each shape."""
        return len(SHAPES)

    @property
    def labelled(self) -> bool:
        """Every image has a class."""
        return True


def shapes_split(split: str) -> ShapesSplit:
    """Reads train (10,000 images), validation or test (2,000 each), or a slice such as "train[:2000]".

    Raises:
        InputError: unknown split or empty slice.
    """

    def size(name: str) -> int:
        if name not in SPLIT_SIZES:
            raise InputError(f"The data set `shapes` has the splits: {', '.join(SPLIT_SIZES)}. Received: {split!r}")
        return SPLIT_SIZES[name]

    return ShapesSplit(split, *parse_split(split, size))
