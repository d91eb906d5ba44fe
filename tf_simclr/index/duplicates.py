"""Groups of images that are copies of each other, exact or nearly so."""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_simclr.index.neighbours import all_nearest
from tf_simclr.index.store import Index
from tf_simclr.optional import require_scipy

# Bins of the histogram: a tenth of a power of ten of the distance 1 - similarity, from 10^-7 to 2.
_EDGES = np.arange(-7.0, 0.35, 0.1)
_SMOOTH_BINS = 2.0
# A valley counts where it is at most this share of the lower of the two hills beside it.
_DEPTH = 0.5
EXACT = 1 - 1e-4
_QUERIES, _EDGES_HELD = 256, 4_000_000


@dataclasses.dataclass(frozen=True)
class Threshold:
    """From which similarity two images are copies.

    Attributes:
        similarity: cosine, in (-1, 1].
        why: how it was chosen, for people.
    """

    similarity: float
    why: str


def choose_threshold(similarities: np.ndarray) -> Threshold:
    """Finds where copies end, in the similarities of all images to their nearest neighbours.

    Copies differ by what a file format or a crop does to an image, and other images by what they show: the logarithm of
    the distance has a hill for each, and the threshold is the lowest point between the two hills. Without such a valley
    only images that differ by less than 1e-4 are copies.

    Args:
        similarities: float [n], cosine similarity of each image to its nearest neighbour.
    """
    distances = np.log10(np.clip(1 - similarities, 10.0 ** _EDGES[0], 1.9))
    counts = np.histogram(distances, _EDGES)[0].astype(float)
    kernel = np.exp(-0.5 * (np.arange(-6, 7) / _SMOOTH_BINS) ** 2)
    smooth = np.convolve(counts, kernel / kernel.sum(), "same")
    hill = int(np.argmax(smooth))
    best: tuple[float, int] | None = None
    for valley in range(1, hill):
        left = smooth[:valley].max()
        depth = smooth[valley] / min(left, smooth[hill]) if left > 0 else np.inf
        if left * kernel.sum() >= 1 and depth <= _DEPTH and (best is None or depth <= best[0]):
            best = depth, valley
    if best is None:
        return Threshold(EXACT, "no gap between copies and other images: only exact copies count")
    middle = float((_EDGES[best[1]] + _EDGES[best[1] + 1]) / 2)
    return Threshold(1 - 10.0**middle, "the lowest point between copies and other images in the histogram")


def histogram(similarities: np.ndarray, lines: int = 12) -> list[str]:
    """A histogram of the similarities to the nearest neighbour, as lines of text."""
    edges = np.quantile(similarities, np.linspace(0, 1, 3))
    low = float(np.floor(edges[0] * 20) / 20)
    counts, places = np.histogram(similarities, lines, (low, 1.0 + 1e-6))
    widest = max(1, counts.max())
    return [
        f"{first:6.3f} to {last:6.3f} {count:8,} {'#' * round(40 * count / widest)}"
        for first, last, count in zip(places, places[1:], counts, strict=False)
    ]


def nearest_similarities(index: Index) -> np.ndarray:
    """float32 [n], the cosine similarity of every image to its nearest neighbour; n must be at least 2."""
    return all_nearest(index, 1)[1][:, 0]


def groups_of_copies(index: Index, threshold: float) -> list[list[int]]:
    """The groups of images that are joined by similarities of at least the threshold, each of two or more rows.

    An image joins a group when it is a copy of any image of it. All pairs are compared: n^2 d multiplications.

    Args:
        index: of n rows.
        threshold: cosine similarity.

    Returns:
        rows, ascending in each group; the largest group first.

    Raises:
        InputError: scipy is missing.
    """
    sparse, graph = require_scipy("sparse"), require_scipy("sparse.csgraph")
    n = len(index.rows)

    def joined(edges: list[np.ndarray]) -> np.ndarray:
        """[n]: the number of each row's component."""
        pairs = np.concatenate(edges) if edges else np.empty([0, 2], np.int64)
        matrix = sparse.coo_matrix((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
        return graph.connected_components(matrix, directed=False)[1]

    edges: list[np.ndarray] = []
    for first in range(0, n, _QUERIES):
        own = np.arange(first, min(first + _QUERIES, n))
        queries = index.normalised(own)
        for start, block in index.blocks():
            if start + len(block) <= first:
                continue
            similar = (queries @ block.T) / index.norms[start : start + len(block)] >= threshold
            mine, others = np.nonzero(similar)
            pairs = np.stack([own[mine], others + start], axis=1)
            edges.append(pairs[pairs[:, 0] < pairs[:, 1]])
        if sum(map(len, edges)) > _EDGES_HELD:  # what is known to be joined needs one edge a row
            components = joined(edges)
            _, heads = np.unique(components, return_index=True)
            edges = [np.stack([heads[components], np.arange(n)], axis=1)]
    components = joined(edges)
    order = np.argsort(components, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(components[order])) + 1)
    return sorted((part.tolist() for part in parts if len(part) > 1), key=lambda group: (-len(group), group[0]))
