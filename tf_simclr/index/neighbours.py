"""The most similar images: cosine similarity, exact, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from tf_simclr.index.store import Index

_BLOCK = 1 << 16
_QUERIES = 256
_CHUNK = 128
# More queries are compared with every row together, by a product of matrices.
_FEW = 32


def nearest(index: Index, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows that are most similar to each query.

    One pass over the index, a block at a time: memory is bounded, and the features stay on disk. A large index knows of
    most rows that they cannot be among the nearest of a query, and reads the others alone: see `Coarse`.

    Args:
        index: of n rows.
        queries: float32 [q, d], each of length 1.
        k: rows of each query; at most n are taken.

    Returns:
        rows int64 [q, k] and cosine similarities float32 [q, k], the most similar first.
    """

    def blocks() -> Iterable[tuple[int, np.ndarray, np.ndarray]]:
        return ((first, block, index.norms[first : first + len(block)]) for first, block in index.blocks(_BLOCK))

    if index.coarse is not None and len(queries) <= _FEW:
        k = min(k, len(index.rows))
        found = [index.coarse.nearest(index.features, query, k) for query in queries]
        parts = [
            part if part is not None else _some_at_a_time(blocks, query[np.newaxis], k)
            for part, query in zip(found, queries, strict=True)
        ]
        return np.stack([rows.reshape(k) for rows, _ in parts]), np.stack([values.reshape(k) for _, values in parts])
    return _some_at_a_time(blocks, queries, k)


def nearest_in(features: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """`nearest` among features float32 [n, d] in memory, each of length 1."""

    def blocks() -> Iterable[tuple[int, np.ndarray, np.ndarray]]:
        for first in range(0, len(features), _BLOCK):
            block = features[first : first + _BLOCK]
            yield first, block, np.ones(len(block), np.float32)

    return _some_at_a_time(blocks, queries, k)


def all_nearest(index: Index, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k rows that are most similar to each row of the index, itself not among them.

    Returns:
        rows int64 [n, k] and similarities float32 [n, k], the most similar first; k is at most n - 1.
    """
    n = len(index.rows)
    k = min(k, n - 1)
    rows: np.ndarray = np.empty([n, k], np.int64)
    similarities: np.ndarray = np.empty([n, k], np.float32)
    for first in range(0, n, _QUERIES):
        own = np.arange(first, min(first + _QUERIES, n))
        found, values = nearest(index, index.normalised(own), k + 1)
        others = found != own[:, np.newaxis]
        others[others.all(axis=1), -1] = False  # k + 1 copies are as similar as itself: the last goes
        rows[own], similarities[own] = found[others].reshape(-1, k), values[others].reshape(-1, k)
    return rows, similarities


def _some_at_a_time(
    blocks: Callable[[], Iterable[tuple[int, np.ndarray, np.ndarray]]], queries: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """`_merged` for some queries after the others, so that the similarities at a time are bounded."""
    parts = [_merged(blocks(), queries[first : first + _QUERIES], k) for first in range(0, len(queries), _QUERIES)]
    rows, similarities = zip(*parts, strict=True)
    return np.concatenate(rows), np.concatenate(similarities)


def _merged(
    blocks: Iterable[tuple[int, np.ndarray, np.ndarray]], queries: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of blocks (first row, features, their lengths): the k best rows of all."""
    rows: np.ndarray = np.empty([len(queries), 0], np.int64)
    similarities: np.ndarray = np.empty([len(queries), 0], np.float32)
    for first, block, norms in blocks:
        places, found = _best((queries @ block.T) / norms, k)
        rows = np.concatenate([rows, places + first], axis=1)
        similarities = np.concatenate([similarities, found], axis=1)
        order = np.lexsort((rows, -similarities))[:, :k]
        rows, similarities = (np.take_along_axis(values, order, axis=1) for values in (rows, similarities))
    return rows, similarities


def _best(similarities: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Places and values of the k largest of each row of [q, b], in any order; all where b is at most k.

    The k largest lie in the k chunks with the largest maxima. Maxima are found ten times as fast as the k largest.
    """
    queries, length = similarities.shape
    places = np.broadcast_to(np.arange(length), similarities.shape)
    if length > 2 * k * _CHUNK:
        padded = np.pad(similarities, ((0, 0), (0, -length % _CHUNK)), constant_values=-np.inf)
        chunks = padded.reshape(queries, -1, _CHUNK)
        best = np.argpartition(-chunks.max(axis=2), k - 1, axis=1)[:, :k, np.newaxis]
        similarities = np.take_along_axis(chunks, best, axis=1).reshape(queries, -1)
        places = (best * _CHUNK + np.arange(_CHUNK)).reshape(queries, -1)
    if similarities.shape[1] <= k:
        return places, similarities
    kept = np.argpartition(-similarities, k - 1, axis=1)[:, :k]
    return np.take_along_axis(places, kept, axis=1), np.take_along_axis(similarities, kept, axis=1)
