"""Weighted k nearest neighbours by cosine (Wu et al., 2018, Section 3.4), exact, for galleries of any size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tf_simclr.errors import InputError, require_range
from tf_simclr.evaluate.measures.arrays import as_features, as_labels, row_blocks, unit_rows

MEMORY_BYTES = 2**28
# More queries at once gain no time: the gallery is then normalised again only once in this many queries.
_MOST_QUERIES = 1024
# Similarities that agree to this many decimals are ties. Features are float32 and no more exact than that; the sums of
# the matrix product, in float64, differ in the 15th decimal with the place of a row in its tile.
_DECIMALS = 9


class Neighbours(NamedTuple):
    """The nearest rows of a gallery, the most similar first.

    Attributes:
        indices: int64 [queries, k], rows of the gallery; of equally similar rows the earlier one comes first.
        similarities: float64 [queries, k], cosines in [-1, 1], to 9 decimals.
    """

    indices: np.ndarray
    similarities: np.ndarray


def nearest(queries: npt.ArrayLike, gallery: npt.ArrayLike, k: int, *, memory_bytes: int = MEMORY_BYTES) -> Neighbours:
    """The k rows of the gallery with the highest cosine similarity to each query, by exhaustive search.

    Similarities are computed in float64. A row of zeros has similarity 0 to everything. A query that is itself in the
    gallery is its own first neighbour.

    Args:
        queries: real numbers [q, d], array or memory-mapped array.
        gallery: real numbers [g, d], likewise.
        k: neighbours, 1 <= k <= g.
        memory_bytes: bound of what is held beside arguments and result, about; at least one query with one row of the
            gallery is compared at a time. The result does not depend on it.

    Returns:
        Neighbours.

    Raises:
        InputError: k out of range, shapes that do not match, features that are not finite.
    """
    q, g = _checked(queries, gallery, k, memory_bytes)
    blocks = [found for _, found in _search(q, g, k, memory_bytes)]
    return Neighbours(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))


class Vote(NamedTuple):
    """What the neighbours of each query say.

    Attributes:
        classes: int64 [queries], the class with most votes.
        shares: float64 [queries], its share of the votes, in (0, 1].
    """

    classes: np.ndarray
    shares: np.ndarray


def knn_votes(
    queries: npt.ArrayLike,
    gallery: npt.ArrayLike,
    gallery_labels: npt.ArrayLike,
    *,
    ks: Sequence[int] = (200,),
    temperatures: Sequence[float] = (0.1,),
    num_classes: int | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> dict[tuple[int, float], Vote]:
    """The class of each query by a vote of its k nearest neighbours, each with weight exp(similarity / T).

    One search, with the largest k, serves all settings. Of classes with equal votes the lower number is taken.

    Args:
        queries: real numbers [q, d].
        gallery: real numbers [g, d].
        gallery_labels: integers [g] in [0, num_classes).
        ks: each 1 <= k <= g; the protocol's is 200.
        temperatures: each T > 0; the protocol's is 0.1.
        num_classes: None: the largest label and one.
        memory_bytes: as in `nearest`; the votes of a block of at most 1024 queries come on top.

    Returns:
        (k, T) -> Vote, for every pair of a k and a temperature.

    Raises:
        InputError: as in `nearest`; no k or temperature, a temperature not above 0, labels that do not match.

    Reference: Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018.
    """
    if not ks or not temperatures:
        raise InputError(f"`ks` and `temperatures` must not be empty. Received: ks={ks}, temperatures={temperatures}")
    for temperature in temperatures:
        require_range("temperature", temperature, above=0)
    require_range("k", min(ks), at_least=1)
    q, g = _checked(queries, gallery, max(ks), memory_bytes)
    labels = as_labels("gallery_labels", gallery_labels, rows=len(g), num_classes=num_classes)
    classes = num_classes or int(labels.max()) + 1
    found_votes = {(k, t): Vote(np.empty(len(q), np.int64), np.empty(len(q))) for k in ks for t in temperatures}
    for rows, found in _search(q, g, max(ks), memory_bytes):
        neighbour_labels = labels[found.indices]  # [b, k]
        for t in temperatures:
            # The nearest one gets weight 1: a common factor changes no vote, and exp(1 / T) may be infinite.
            weights = np.exp((found.similarities - found.similarities[:, :1]) / t)
            for k in ks:
                votes, vote = _votes(neighbour_labels[:, :k], weights[:, :k], classes), found_votes[k, t]
                vote.classes[rows] = np.argmax(votes, axis=1)
                vote.shares[rows] = votes.max(axis=1) / votes.sum(axis=1)
    return found_votes


def knn_accuracies(
    queries: npt.ArrayLike,
    query_labels: npt.ArrayLike,
    gallery: npt.ArrayLike,
    gallery_labels: npt.ArrayLike,
    *,
    ks: Sequence[int] = (200,),
    temperatures: Sequence[float] = (0.1,),
) -> dict[tuple[int, float], float]:
    """Top-1 accuracy in [0, 1] of `knn_votes` for every (k, T); arguments and errors as there.

    Args:
        query_labels: integers [q] >= 0. A query of a class that the gallery does not have counts as a miss.
    """
    truth = as_labels("query_labels", query_labels, rows=len(as_features("queries", queries)))
    votes = knn_votes(queries, gallery, gallery_labels, ks=ks, temperatures=temperatures)
    return {setting: float(np.mean(vote.classes == truth)) for setting, vote in votes.items()}


def _checked(
    queries: npt.ArrayLike, gallery: npt.ArrayLike, k: int, memory_bytes: int
) -> tuple[np.ndarray, np.ndarray]:
    q, g = as_features("queries", queries), as_features("gallery", gallery)
    if q.shape[1] != g.shape[1]:
        raise InputError(
            f"`queries` and `gallery` must have the same dimensions. Received: {q.shape[1]} and {g.shape[1]}. Take "
            "both from one endpoint of one encoder"
        )
    require_range("k", k, at_least=1)
    if k > len(g):
        raise InputError(f"`k` must be at most the gallery's {len(g)} examples. Received: k={k}. Lower k")
    require_range("memory_bytes", memory_bytes, at_least=1)
    return q, g


def _search(queries: np.ndarray, gallery: np.ndarray, k: int, memory_bytes: int) -> Iterator[tuple[slice, Neighbours]]:
    """The neighbours of one block of queries after the other, each found tile by tile of the gallery."""
    block, tile = _sizes(queries.shape[1], k, memory_bytes)
    for rows in row_blocks(len(queries), block):
        q = unit_rows("queries", queries, rows)  # [b, d]
        best = Neighbours(np.empty([len(q), 0], np.int64), np.empty([len(q), 0]))
        for columns in row_blocks(len(gallery), tile):
            similarities = q @ unit_rows("gallery", gallery, columns).T  # [b, w]
            np.round(similarities, _DECIMALS, out=similarities)
            best = _merged(best, similarities, columns.start, k)
        yield rows, best


def _sizes(dimensions: int, k: int, memory_bytes: int) -> tuple[int, int]:
    """Queries of a block and gallery rows of a tile: a quarter of the bytes for the first, half for the second."""
    block = memory_bytes // 4 // (16 * dimensions + 80 * k)  # unit rows, and old and new neighbours
    block = min(max(block, 1), _MOST_QUERIES)
    tile = (
        memory_bytes // 2 // (24 * dimensions + 32 * block)
    )  # unit rows, and similarities with their indices, each twice
    return block, max(tile, 1)


def _merged(best: Neighbours, similarities: np.ndarray, first: int, k: int) -> Neighbours:
    """The k best, sorted, of `best` and of the next rows of the gallery, from `first` on, with similarities [b, w]."""
    numbers = np.broadcast_to(np.arange(first, first + similarities.shape[1]), similarities.shape)
    indices = np.concatenate([best.indices, numbers], axis=1)
    both = np.concatenate([best.similarities, similarities], axis=1)
    with tf.device("CPU"):  # of equal values it takes those that stand first, which come first in the gallery
        values, places = tf.math.top_k(both, min(k, both.shape[1]))
    return Neighbours(np.take_along_axis(indices, places.numpy().astype(np.int64), axis=1), values.numpy())


def _votes(labels: np.ndarray, weights: np.ndarray, classes: int) -> np.ndarray:
    """Sums of weights [b, k] by label [b, k]: float64 [b, classes]."""
    rows = np.arange(len(labels))[:, np.newaxis]
    cells = (rows * classes + labels).ravel()
    return np.bincount(cells, weights.ravel(), minlength=len(labels) * classes).reshape(len(labels), classes)
