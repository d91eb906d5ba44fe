"""Images in groups of similar ones, by k-means on features of length 1."""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_simclr.errors import InputError
from tf_simclr.index.store import Index
from tf_simclr.optional import require_scikit_learn

_TRIED = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50)
_SAMPLE = 5000
_BATCH = 4096


@dataclasses.dataclass(frozen=True)
class Clusters:
    """A division of the images.

    Attributes:
        labels: int64 [n], the cluster of each row; cluster 0 is the largest.
        distances: float32 [n], Euclidean, from the centre of its cluster.
        tried: the silhouette coefficient of each number of clusters that was tried; empty where it was given.
    """

    labels: np.ndarray
    distances: np.ndarray
    tried: dict[int, float] = dataclasses.field(default_factory=dict)

    @property
    def number(self) -> int:
        """How many clusters there are."""
        return int(self.labels.max()) + 1


def find_clusters(index: Index, number: int | None, seed: int = 0) -> Clusters:
    """Divides the images by mini-batch k-means.

    Args:
        index: of n rows, more than clusters.
        number: of clusters, at least 2; None tries numbers from 2 to 50 and takes the one with the largest silhouette
            coefficient, on at most 5,000 images.
        seed: of the first centres.

    Raises:
        InputError: more clusters than images, or scikit-learn is missing.
    """
    cluster, metrics = (require_scikit_learn(name, "Clustering") for name in ("cluster", "metrics"))
    n = len(index.rows)
    if (number or 2) >= n:
        raise InputError(
            f"`clusters` must be smaller than the number of images. Received: clusters={number or 2}, {n} images. Pass "
            "fewer"
        )
    features = index.normalised(np.arange(n))

    def fitted(count: int, values: np.ndarray) -> tuple[object, np.ndarray]:
        model = cluster.MiniBatchKMeans(count, random_state=seed, batch_size=_BATCH, n_init=3)
        return model, model.fit_predict(values)

    tried: dict[int, float] = {}
    if number is None:
        chosen = np.random.default_rng(seed).permutation(n)[:_SAMPLE]
        sample = features[np.sort(chosen)]
        for count in (count for count in _TRIED if count < len(sample)):
            labels = fitted(count, sample)[1]
            if len(np.unique(labels)) > 1:
                tried[count] = float(metrics.silhouette_score(sample, labels))
        number = max(tried, key=lambda count: tried[count]) if tried else 2
    model, labels = fitted(number, features)
    distances = np.linalg.norm(features - model.cluster_centers_[labels], axis=1)  # type: ignore[attr-defined]
    return Clusters(_by_size(labels), distances.astype(np.float32), tried)


def _by_size(labels: np.ndarray) -> np.ndarray:
    """The same clusters, numbered from the largest; without gaps."""
    names, counts = np.unique(labels, return_counts=True)
    order = names[np.argsort(-counts, kind="stable")]
    rank = {int(name): place for place, name in enumerate(order)}
    return np.array([rank[int(label)] for label in labels], np.int64)
