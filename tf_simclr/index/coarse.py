"""A short form of the features, by which most images are known not to be among the nearest.

Features of a trained network vary in few directions. Each is split into its part in the directions in which the index
varies most, and the length of what is left. For unit vectors x = (a, b) and q = (c, e) the product a . c + b . e is
at most a . c + |b| |e| (Cauchy and Schwarz). So one pass over a small file bounds all similarities from above, and
only where the bound reaches the k-th largest similarity are the features themselves read. The result is exact.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

# Directions that are kept, and the share of the squared length that they must hold to be of use.
DIRECTIONS, _SHARE = 64, 0.9
# Sums of products in float32 differ by less.
_ROUNDING = 1e-5
# Rows whose similarity is computed first, to know what the k-th largest is at least; and most of all that are read.
_FIRST, _MOST = 1000, 0.1
_STRETCH = 128


@dataclasses.dataclass(frozen=True, eq=False)
class Coarse:
    """The short form of the features of an index.

    Attributes:
        basis: float32 [m, d], orthonormal directions.
        bounds: float32 [n, m + 1], the coordinates of each feature of length 1, and the length of its remainder; may be
            mapped into memory.
    """

    basis: np.ndarray
    bounds: np.ndarray

    def nearest(self, features: np.ndarray, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray] | None:
        """The rows that are most similar to a query.

        Args:
            features: float32 or float16 [n, d], as stored.
            query: float32 [d] of length 1.
            k: rows, at most n.

        Returns:
            rows int64 [k] and cosine similarities float32 [k], the most similar first and of equal ones the first row;
            None where the bounds leave too many rows, so that a pass over all features is faster.
        """
        coordinates = self.basis @ query
        remainder = np.sqrt(max(0.0, 1 - float(coordinates @ coordinates)))
        bounds = self.bounds @ np.append(coordinates, np.float32(remainder))
        first = _promising(bounds, max(_FIRST, 4 * k))
        known = similarities_of(features, first, query)
        least = np.partition(known, len(first) - k)[len(first) - k]
        rows = np.flatnonzero(bounds >= least - _ROUNDING)
        if len(rows) > max(_MOST * len(bounds), len(first)):
            return None
        similarities = similarities_of(features, rows, query)
        order = np.lexsort((rows, -similarities))[:k]
        return rows[order], similarities[order]


def _promising(bounds: np.ndarray, number: int) -> np.ndarray:
    """Some rows with large bounds, at least `number` where there are so many: the largest of each of many stretches.

    The largest of all would be as good, and take ten times as long to find.
    """
    stretches = len(bounds) // _STRETCH
    if stretches <= number:
        count = min(number, len(bounds))
        return np.sort(np.argpartition(-bounds, count - 1)[:count])
    table = bounds[: stretches * _STRETCH].reshape(stretches, _STRETCH)
    best = np.sort(np.argpartition(-table.max(axis=1), number - 1)[:number])
    return best * _STRETCH + table[best].argmax(axis=1)


def similarities_of(features: np.ndarray, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Cosine similarities float32 [m] of some rows with a query of length 1; a feature of zeros has 0."""
    chosen = np.asarray(features[rows], np.float32)
    return (chosen @ query) / lengths(chosen)


def lengths(features: np.ndarray) -> np.ndarray:
    """float32 [b], the length of each feature of [b, d]; 1 for one that is 0 everywhere."""
    found = np.linalg.norm(features, axis=1)
    return np.where(found > 0, found, 1).astype(np.float32)


def basis_of(blocks: Iterable[np.ndarray]) -> np.ndarray | None:
    """The directions of the largest squared length, float32 [m, d]; None where they hold too little of it.

    Args:
        blocks: features float32 [b, d], together all of them.
    """
    total: np.ndarray | None = None
    for block in blocks:
        unit = (block / lengths(block)[:, np.newaxis]).astype(np.float32)
        product = (unit.T @ unit).astype(np.float64)
        total = product if total is None else total + product
    assert total is not None
    values, vectors = np.linalg.eigh(total)
    if len(values) < 2 * DIRECTIONS or values[-DIRECTIONS:].sum() < _SHARE * values.sum():
        return None
    return np.ascontiguousarray(vectors[:, -DIRECTIONS:].T, np.float32)


def bounds_of(block: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The rows of `Coarse.bounds` for features float32 [b, d]."""
    unit = block / lengths(block)[:, np.newaxis]
    coordinates = unit @ basis.T
    remainders = np.linalg.norm(unit - coordinates @ basis, axis=1)
    return np.concatenate([coordinates, remainders[:, np.newaxis]], axis=1).astype(np.float32)
