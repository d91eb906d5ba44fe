"""The most similar images: cosine similarity, exact, block by block."""

from __future__ import annotations

import numpy as np

from tf_simclr.index.store import Index


def nearest(index: Index, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows that are most similar to each query.

    One pass over the index, a block at a time: memory is bounded, and the features stay on disk.

    Args:
        index: of n rows.
        queries: float32 [q, d], each of length 1.
        k: rows of each query; at most n are taken.

    Returns:
        rows int64 [q, k] and cosine similarities float32 [q, k], the most similar first; of equal ones the first row.
    """
    k = min(k, len(index.rows))
    rows: np.ndarray = np.empty([len(queries), 0], np.int64)
    similarities: np.ndarray = np.empty([len(queries), 0], np.float32)
    for first, block in index.blocks():
        found = (queries @ block.T) / index.norms[first : first + len(block)]
        places = np.broadcast_to(np.arange(first, first + len(block)), found.shape)
        similarities = np.concatenate([similarities, found], axis=1)
        rows = np.concatenate([rows, places], axis=1)
        if similarities.shape[1] > k:
            # Ties at the edge are decided by the order below, which needs all of them.
            edge = -np.partition(-similarities, k - 1, axis=1)[:, k - 1 : k]
            most = int((similarities >= edge).sum(axis=1).max())
            kept = np.argpartition(-similarities, most - 1, axis=1)[:, :most]
            similarities, rows = (np.take_along_axis(values, kept, axis=1) for values in (similarities, rows))
    order = np.lexsort((rows, -similarities))[:, :k]
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(similarities, order, axis=1)


def all_nearest(index: Index, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k rows that are most similar to each row of the index, itself not among them.

    Returns:
        rows int64 [n, k] and similarities float32 [n, k], the most similar first; k is at most n - 1.
    """
    n = len(index.rows)
    k = min(k, n - 1)
    rows: np.ndarray = np.empty([n, k], np.int64)
    similarities: np.ndarray = np.empty([n, k], np.float32)
    # A block of queries against the whole index has 256 x n similarities at a time.
    for first in range(0, n, 256):
        own = np.arange(first, min(first + 256, n))
        found, values = nearest(index, index.normalised(own), k + 1)
        others = found != own[:, np.newaxis]
        others[others.all(axis=1), -1] = False  # k + 1 copies before itself: the last goes
        rows[own], similarities[own] = found[others].reshape(-1, k), values[others].reshape(-1, k)
    return rows, similarities
