"""How many images and classes data sets of TensorFlow Datasets have, as published: known before anything is there."""

from __future__ import annotations

import re
from typing import NamedTuple

from tf_simclr.data.split_names import parse_split
from tf_simclr.errors import InputError


class PublishedSizes(NamedTuple):
    """A data set's splits and classes, by the catalogue of TensorFlow Datasets."""

    splits: dict[str, int]
    num_classes: int


_IMAGENET_VALIDATION = {"validation": 50_000}
PUBLISHED: dict[str, PublishedSizes] = {
    "imagenet2012": PublishedSizes({"train": 1_281_167} | _IMAGENET_VALIDATION, 1000),
    "imagenet2012_subset/1pct": PublishedSizes({"train": 12_811} | _IMAGENET_VALIDATION, 1000),
    "imagenet2012_subset/10pct": PublishedSizes({"train": 128_116} | _IMAGENET_VALIDATION, 1000),
    "cifar10": PublishedSizes({"train": 50_000, "test": 10_000}, 10),
    "cifar100": PublishedSizes({"train": 50_000, "test": 10_000}, 100),
    "stl10": PublishedSizes({"train": 5_000, "test": 8_000, "unlabelled": 100_000}, 10),
    "food101": PublishedSizes({"train": 75_750, "validation": 25_250}, 101),
    "cars196": PublishedSizes({"train": 8_144, "test": 8_041}, 196),
    "oxford_flowers102": PublishedSizes({"train": 1_020, "validation": 1_020, "test": 6_149}, 102),
    "oxford_iiit_pet": PublishedSizes({"train": 3_680, "test": 3_669}, 37),
}


class PublishedSplit(NamedTuple):
    """A split of a data set that need not be there, as far as a `KnownSplit` is known without it.

    Attributes:
        num_examples: images.
        num_classes: of the data set.
    """

    num_examples: int
    num_classes: int


def published_split(dataset: str, split: str) -> PublishedSplit | None:
    """The size of a split or of a slice of one; None of a data set that is not listed here.

    Args:
        dataset: "cifar10", "name/config" or "name:version".
        split: "train", or a slice such as "train[:10%]".

    Raises:
        InputError: the data set has no such split, or the slice is empty.
    """
    sizes = PUBLISHED.get(re.sub(r":[^/]*", "", dataset))
    if sizes is None:
        return None

    def size(name: str) -> int:
        if name not in sizes.splits:
            raise InputError(
                f"The data set `{dataset}` has the splits: {', '.join(sizes.splits)}. Received: {split!r}. Pass one "
                "of them"
            )
        return sizes.splits[name]

    _, start, stop = parse_split(split, size)
    return PublishedSplit(stop - start, sizes.num_classes)
