"""Test images that have a copy among the training images, exact or near.

A twin tests memory and not what was learned: nearest neighbours find it with any features. Twins are looked for in the
pixels and not in the features, because a copy is a property of the images: to a collapsed network all images are near
each other, and a good one holds two photographs of one kind of thing for near.

An exact twin has the same decoded pixels: the estimated RMS difference of the two views is below a tenth of a grey
level of 255 (`thumbnails`). A near twin is the same image stored, sized or toned in another way, or mirrored: its
16 x 16 thumbnail correlates with the training image's by 0.98 or more.

Why 0.98: of 1,906 emoji of 64 pixels, JPEG at quality 50 leaves 0.975 at least and 0.987 for 99 of 100, a resize to 48
pixels and back 0.999, 30% less contrast 0.9994, 30% less saturation 0.982 for 95 of 100. Of distinct images of the
built-in shapes none reaches 0.93, and of scikit-learn's handwritten digits, of which many differ by a stroke, 1 of 400.
An emoji that reaches it with another one is the same drawing with another detail (a guard and a female guard, the flags
of Honduras and Nicaragua). Crops, shifts and turns are not found: a shift by 1.5% of the side leaves 0.93 of half the
emoji.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_simclr.escape import as_text
from tf_simclr.evaluate.measures.arrays import row_blocks
from tf_simclr.evaluate.measures.knn import MEMORY_BYTES, nearest
from tf_simclr.evaluate.measures.thumbnails import PIXELS, mirrored

NEAR = 0.98
# RMS of pixels in [0, 1]: a tenth of one of 255 grey levels. Sums of equal images differ in the seventh digit.
_EQUAL = 0.1 / 255
# A thumbnail that varies less, by a third of a grey level, has no shape to compare.
_FLAT = 0.3 / 255
# Candidates: a brighter copy correlates as well as the exact one.
_CANDIDATES = 4


@dataclass(frozen=True, eq=False)
class Twins:
    """The nearest copy among the training images, for each test image.

    Attributes:
        rows: int64 [n], the training image in the canonical order of its split; -1 without a twin.
        exact: bool [n], whether it has the same pixels.
        similarity: float64 [n], correlation of the thumbnails, 1 for an exact twin; 0 without a twin.
    """

    rows: np.ndarray
    exact: np.ndarray
    similarity: np.ndarray

    @property
    def found(self) -> np.ndarray:
        """Bool [n], whether a test image has a twin."""
        return self.rows >= 0

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The fields, for a file."""
        return dict(vars(self))

    def describe(self, test_names: tuple[str, ...], train_names: tuple[str, ...]) -> list[str]:
        """Lines for a person: how many there are, and the first three pairs."""
        values = self.to_json(test_names, train_names, most=3)
        pairs = [f"    {line}" for line in pair_lines(values["pairs"])]
        return [f"twins: {count_line(values, len(self.rows))}", *pairs]

    def to_json(self, test_names: tuple[str, ...], train_names: tuple[str, ...], most: int = 10) -> dict[str, Any]:
        """Counts, and the first pairs by name: the exact ones first, then by similarity.

        Args:
            test_names: of the n test images.
            train_names: of the training images.
            most: pairs.
        """
        order = np.lexsort((np.arange(len(self.rows)), -self.similarity, ~self.exact))
        shown = [row for row in order if self.rows[row] >= 0][:most]
        return {
            "count": int(self.found.sum()),
            "exact": int(self.exact.sum()),
            "near": int((self.found & ~self.exact).sum()),
            "near_from": NEAR,
            "pairs": [
                {
                    "test": test_names[row],
                    "train": train_names[self.rows[row]],
                    "exact": bool(self.exact[row]),
                    "similarity": round(float(self.similarity[row]), 4),
                }
                for row in shown
            ],
        }


def count_line(values: dict[str, Any], images: int) -> str:
    """How many of the test images are copies, for a person; `values` as in `Twins.to_json`."""
    if not values["count"]:
        return f"none of {images} test images is a copy of a training image"
    return (
        f"{values['count']} of {images} test images are copies of training images "
        f"({values['exact']} exact, {values['near']} near)"
    )


def pair_lines(pairs: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each pair of `Twins.to_json`."""
    kinds = ["exact" if pair["exact"] else f"{pair['similarity']:.3f}" for pair in pairs]
    return [as_text(f"{pair['test']} = {pair['train']} ({kind})") for pair, kind in zip(pairs, kinds, strict=True)]


def find_twins(test: np.ndarray, train: np.ndarray, *, memory_bytes: int = MEMORY_BYTES) -> Twins:
    """The twins of the test images among the training images, by exhaustive search in blocks.

    Args:
        test: `thumbnails` [n, d] of the test images, array or memory-mapped array.
        train: `thumbnails` [m, d] of the training images, of the same image size.
        memory_bytes: as in `knn.nearest`. The result does not depend on it.

    Returns:
        Twins. An exact twin is preferred to a near one, and among equals the first training image. Two images without
        any contrast are twins where their colour is the same.
    """
    k = min(_CANDIDATES, len(train))
    with_shape, queries = _with_shape(train), test[:, :PIXELS]
    plain = nearest(queries, train[:, :PIXELS], k, memory_bytes=memory_bytes)
    flipped = nearest(mirrored(np.asarray(queries)), train[:, :PIXELS], 1, memory_bytes=memory_bytes)
    rows, similarity = plain.indices[:, 0].copy(), plain.similarities[:, 0].copy()
    better = flipped.similarities[:, 0] > similarity + 1e-6
    rows[better], similarity[better] = flipped.indices[better, 0], flipped.similarities[better, 0]
    usable = _with_shape(test) & with_shape[rows] & (similarity >= NEAR)
    rows, similarity = np.where(usable, rows, -1), np.where(usable, similarity, 0.0)
    exact: np.ndarray = np.zeros(len(test), bool)
    for place in range(k):  # the first of equal copies comes first
        candidates = plain.indices[:, place]
        equal = _equal(test[:, PIXELS:], train[candidates][:, PIXELS:]) & ~exact
        rows[equal], similarity[equal], exact[equal] = candidates[equal], 1.0, True
    for row in np.flatnonzero(~_with_shape(test) & ~exact):
        for block in row_blocks(len(train), 2**16):
            same = np.flatnonzero(_equal(test[row, PIXELS:], train[block, PIXELS:]))
            if same.size:
                rows[row], similarity[row], exact[row] = block.start + same[0], 1.0, True
                break
    return Twins(rows, exact, similarity)


def _with_shape(small: np.ndarray) -> np.ndarray:
    """Bool [n], whether a thumbnail varies enough to be compared."""
    found: np.ndarray = np.empty(len(small), bool)
    for block in row_blocks(len(small), 2**14):
        found[block] = np.sqrt(np.mean(np.square(small[block, :PIXELS]), axis=1)) > _FLAT
    return found


def _equal(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Bool [n], whether images with these projections [n, p] have the same pixels."""
    return np.sqrt(np.mean(np.square(np.float64(one) - other), axis=-1)) < _EQUAL
