"""Images that are like few others."""

from __future__ import annotations

import numpy as np

from tf_simclr.index.neighbours import all_nearest
from tf_simclr.index.store import Index


def outlier_scores(index: Index, k: int = 10) -> np.ndarray:
    """How far every image is from its neighbours: the mean cosine distance 1 - similarity to the k nearest.

    Args:
        index: of at least two rows.
        k: neighbours; at most all others are taken.

    Returns:
        float32 [n], in [0, 2]; large for an outlier.
    """
    return 1 - all_nearest(index, k)[1].mean(axis=1)
