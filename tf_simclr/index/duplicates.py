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
_DEVIATIONS, _LEAST_DEVIATION = 4.0, 0.05
# Rounding alone makes two equal images differ by this much.
EXACT = 1 - 1e-6
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
    """Finds where copies begin, in the similarities of all images to their nearest neighbours.

    Distances 1 - similarity are compared by their logarithm. Images that have no copy make a hill there, and copies lie
    to the left of it. What is right of the hill's top says how wide it is, because no copy lies there. The threshold is
    four standard deviations left of the top.

    Args:
        similarities: float [n], cosine similarity of each image to its nearest neighbour.
    """
    distances = np.log10(np.clip(1 - similarities, 10.0 ** _EDGES[0], 1.9))
    counts = np.histogram(distances, _EDGES)[0].astype(float)
    kernel = np.exp(-0.5 * (np.arange(-6, 7) / _SMOOTH_BINS) ** 2)
    place = _hill(np.convolve(counts, kernel, "same"))
    top = float((_EDGES[place] + _EDGES[place + 1]) / 2)
    beyond = distances[distances >= top] - top
    deviation = max(_LEAST_DEVIATION, float(np.sqrt(np.mean(beyond**2))) if beyond.size else 0.0)
    similarity = min(EXACT, 1 - 10.0 ** (top - _DEVIATIONS * deviation))
    return Threshold(similarity, f"most images are at {1 - 10.0**top:.4f} from their nearest neighbour")


def _hill(smooth: np.ndarray) -> int:
    """The hill of images without a copy: the highest one, or one right of it that a valley parts from it."""
    place = int(np.argmax(smooth))
    for other in range(place + 1, len(smooth) - 1):
        top = smooth[other] >= max(smooth[other - 1], smooth[other + 1]) and smooth[other] >= 0.1 * smooth.max()
        if top and smooth[place:other].min() <= 0.5 * smooth[other]:
            place = other
    return place


def histogram(similarities: np.ndarray, lines: int = 12) -> list[str]:
    """A histogram of the similarities to the nearest neighbour, as lines of text."""
    similarities = np.clip(similarities, -1, 1)
    low = min(0.95, float(np.floor(similarities.min() * 20) / 20))
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
            # Rounding takes up to 1e-6 off the similarity of equal images.
            similar = (queries @ block.T) / index.norms[start : start + len(block)] >= threshold - 1e-6
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
