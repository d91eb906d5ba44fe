"""Which images to label first."""

from __future__ import annotations

import numpy as np

from tf_simclr.errors import InputError
from tf_simclr.index.neighbours import nearest_in
from tf_simclr.index.store import Index
from tf_simclr.optional import require_scikit_learn

_NEIGHBOURS = 20
_MOST_CLUSTERS = 500


def select(index: Index, number: int, strategy: str, seed: int = 0) -> np.ndarray:
    """Chooses images to label.

    Args:
        index: of n rows.
        number: of images, from 1 to n.
        strategy: "typical" takes the densest image of each of `number` clusters (TypiClust, Hacohen et al. 2022):
            best for few labels. "diverse" takes one image after the other, each the one that is farthest from those
            taken (k-centre greedy, Sener and Savarese 2018). "random" is what to compare with.
        seed: of the clusters, of the first image, and of the random choice.

    Returns:
        rows int64 [number], all different; the first are the most important.

    Raises:
        InputError: more images than there are, or scikit-learn is missing.
    """
    n = len(index.rows)
    if number > n:
        raise InputError(f"`n` must be at most the number of images. Received: n={number}, {n} images. Pass fewer")
    if strategy == "random":
        return np.random.default_rng(seed).permutation(n)[:number]
    features = index.normalised(np.arange(n))
    if strategy == "diverse":
        return _farthest_first(features, number, int(np.random.default_rng(seed).integers(n)))
    return _typical(features, number, seed)


def _farthest_first(features: np.ndarray, number: int, first: int) -> np.ndarray:
    chosen = [first]
    closest = features @ features[first]
    closest[first] = np.inf
    while len(chosen) < number:
        place = int(np.argmin(closest))
        chosen.append(place)
        closest = np.maximum(closest, features @ features[place])
        closest[place] = np.inf
    return np.array(chosen, np.int64)


def _typical(features: np.ndarray, number: int, seed: int) -> np.ndarray:
    """From the largest cluster to the smallest, again and again, the densest image that is left."""
    cluster = require_scikit_learn("cluster", "Choosing typical images")
    count = min(number, _MOST_CLUSTERS, len(features))
    # Few clusters of many images: k-means itself; many: mini batches.
    kind = cluster.KMeans if count <= 50 else cluster.MiniBatchKMeans
    labels = kind(count, random_state=seed, n_init=3).fit_predict(features)
    waiting = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        density = np.zeros(len(members))
        if len(members) > 1:
            k = min(_NEIGHBOURS, len(members) - 1)
            similar = nearest_in(features[members], features[members], k + 1)[1][:, 1:]
            density = -np.sqrt(np.maximum(2 - 2 * similar, 0)).mean(axis=1)
        waiting.append(members[np.argsort(-density, kind="stable")].tolist())
    waiting.sort(key=len, reverse=True)
    chosen: list[int] = []
    for turn in range(max(map(len, waiting))):
        chosen += [members[turn] for members in waiting if turn < len(members)]
    return np.array(chosen[:number], np.int64)
