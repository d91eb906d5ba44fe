"""Which images to label first, or next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tf_simclr.errors import InputError
from tf_simclr.evaluate.measures.standardise import Standardiser
from tf_simclr.index.neighbours import nearest_in
from tf_simclr.index.store import Index
from tf_simclr.optional import require_scikit_learn

_NEIGHBOURS = 20
_MOST_CLUSTERS = 500
_BLOCK = 1 << 14


@dataclass(frozen=True)
class Pool:
    """What is chosen from, and what has labels already.

    Attributes:
        candidates: int64 [c], rows that may be chosen.
        known: int64 [m], rows that have labels, none of which is a candidate; empty where all are candidates.
    """

    candidates: np.ndarray
    known: np.ndarray


def pool_of(index: Index) -> Pool:
    """The images without labels beside those with labels. Where all have labels, or none, all are candidates."""
    labelled = np.array([bool(row.label) for row in index.rows])
    if labelled.all():
        return Pool(np.arange(len(labelled)), np.array([], np.int64))
    return Pool(np.flatnonzero(~labelled), np.flatnonzero(labelled))


def select(index: Index, number: int, strategy: str, seed: int = 0, pool: Pool | None = None) -> np.ndarray:
    """Chooses images to label.

    Args:
        index: with or without labels. Where some images have labels, it chooses among the others.
        number: of images, from 1 to those that can be chosen.
        strategy: "typical" takes the densest image of each cluster, clusters without labels first (TypiClust, Hacohen
            et al. 2022): best for few labels. "diverse" takes one image after the other, each the one that is farthest
            from those taken and from those with labels (k-centre greedy, Sener and Savarese 2018). "uncertain" takes
            those where the two most probable classes are closest, by a logistic regression on the features of the
            images with labels (margin sampling, Scheffer et al. 2001): for many labels. "random" is what to compare
            with.
        seed: of the clusters, of the first image, and of the random choice.
        pool: what `pool_of` says of the index, where it is known.

    Returns:
        rows int64 [number], all different; the first are the most important.

    Raises:
        InputError: more images than there are, "uncertain" without labels, or scikit-learn is missing.
    """
    pool = pool_of(index) if pool is None else pool
    if number > len(pool.candidates):
        raise InputError(
            f"`n` must be at most the number of images to choose from. Received: n={number}, {len(pool.candidates)} "
            "images. Pass fewer"
        )
    if strategy == "random":
        return np.random.default_rng(seed).permutation(pool.candidates)[:number]
    if strategy == "uncertain":
        return _least_margin(index, pool)[:number]
    candidates, known = index.normalised(pool.candidates), index.normalised(pool.known)
    choose = _farthest_first if strategy == "diverse" else _typical
    return pool.candidates[choose(candidates, known, number, seed)]


def _farthest_first(features: np.ndarray, known: np.ndarray, number: int, seed: int) -> np.ndarray:
    if len(known):
        closest = nearest_in(known, features, 1)[1][:, 0]
        chosen: list[int] = []
    else:
        chosen = [int(np.random.default_rng(seed).integers(len(features)))]
        closest = features @ features[chosen[0]]
        closest[chosen[0]] = np.inf
    while len(chosen) < number:
        place = int(np.argmin(closest))
        chosen.append(place)
        closest = np.maximum(closest, features @ features[place])
        closest[place] = np.inf
    return np.array(chosen, np.int64)


def _typical(features: np.ndarray, known: np.ndarray, number: int, seed: int) -> np.ndarray:
    """From cluster to cluster, again and again, the densest image that is left: few labels first, then many images."""
    cluster = require_scikit_learn("cluster", "Choosing typical images")
    count = min(number + len(known), _MOST_CLUSTERS, len(features))
    # Few clusters of many images: k-means itself; many: mini batches.
    kind = cluster.KMeans if count <= 50 else cluster.MiniBatchKMeans
    labels = kind(count, random_state=seed, n_init=3).fit_predict(np.concatenate([features, known]))
    covered = np.bincount(labels[len(features) :], minlength=count)
    labels = labels[: len(features)]
    clusters = np.unique(labels)
    sizes = np.bincount(labels, minlength=count)
    order = clusters[np.lexsort((clusters, -sizes[clusters], covered[clusters]))]
    waiting = [_densest_first(features, np.flatnonzero(labels == label)) for label in order]
    chosen: list[int] = []
    for turn in range(max(map(len, waiting))):
        chosen += [members[turn] for members in waiting if turn < len(members)]
    return np.array(chosen[:number], np.int64)


def _densest_first(features: np.ndarray, members: np.ndarray) -> list[int]:
    density = np.zeros(len(members))
    if len(members) > 1:
        k = min(_NEIGHBOURS, len(members) - 1)
        similar = nearest_in(features[members], features[members], k + 1)[1][:, 1:]
        density = -np.sqrt(np.maximum(2 - 2 * similar, 0)).mean(axis=1)
    return members[np.argsort(-density, kind="stable")].tolist()


def _least_margin(index: Index, pool: Pool) -> np.ndarray:
    labels = [index.rows[row].label for row in pool.known.tolist()]
    if len(set(labels)) < 2:
        raise InputError(
            f"`strategy` uncertain needs images with labels of two classes or more, beside those without. Received: "
            f"{index.directory}, where {len(set(labels))} classes stand beside images without labels. Pass another "
            "--strategy, or label some images, as --labels=FILE.csv of embed says, and embed again"
        )
    linear_model = require_scikit_learn("linear_model", "Choosing uncertain images")
    standardise = Standardiser.of(index.features[pool.known])
    model = linear_model.LogisticRegression(max_iter=1000)
    model.fit(standardise(index.features[pool.known]), labels)
    margins = []
    for first in range(0, len(pool.candidates), _BLOCK):
        features = index.features[pool.candidates[first : first + _BLOCK]]
        shares = np.sort(model.predict_proba(standardise(features)), axis=1)
        margins.append(shares[:, -1] - shares[:, -2])
    return pool.candidates[np.argsort(np.concatenate(margins), kind="stable")]
