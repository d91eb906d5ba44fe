"""95% intervals of accuracies: how far a figure would move if other images of the same kind had been the test split.

They say nothing of the randomness of a training: that is the standard deviation over seeds.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tf_simclr.errors import InputError, require_range

Interval: TypeAlias = tuple[float, float]

LEVEL = 0.95
# The 97.5% quantile of the standard normal distribution.
_Z = 1.959963984540054
_TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
DRAWS_OF_IMAGES = 1000
# Bootstrap samples that are worked on at a time, times images: bounds the memory.
MOST_CELLS = 2**22
_RECALL_STEPS = 10


def wilson(accuracy: float, examples: float) -> Interval:
    """Wilson's score interval of a share, binomial in the number of examples.

    Unlike the interval of the normal approximation it is no point at 0% and 100%, and never leaves [0, 1].

    Args:
        accuracy: share of hits in [0, 1].
        examples: how many it is a share of, >= 1; need not be whole.

    Returns:
        the lower and the upper end, in [0, 1].

    Raises:
        InputError: a number out of range.

    Reference: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 1927.
    """
    require_range("accuracy", float(accuracy), at_least=0, at_most=1)
    require_range("examples", examples, at_least=1)
    weight = _Z**2 / examples
    centre = (accuracy + weight / 2) / (1 + weight)
    half = _Z / (1 + weight) * math.sqrt(accuracy * (1 - accuracy) / examples + weight / (4 * examples))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def mean_per_class_interval(confusion: npt.ArrayLike) -> Interval:
    """Wilson's interval of the mean accuracy per class, with the number of examples that such a mean is worth.

    The mean of K independent shares has the variance sum(p_c (1 - p_c) / n_c) / K^2. As many examples as give a single
    share of the same size that variance take the place of n. The share of each class is drawn towards the mean by one
    example, so that a class whose few images are all hits still counts as uncertain.

    Args:
        confusion: counts [classes, classes], true classes are rows. Classes without an image are left out.

    Returns:
        the lower and the upper end, in [0, 1].

    Raises:
        InputError: no image at all.

    Reference: `wilson`; Kish, Survey Sampling, 1965, Section 8.2 (effective sample size).
    """
    counts = np.asarray(confusion)
    sizes = counts.sum(axis=1)
    hits = np.diagonal(counts)[sizes > 0]
    sizes = sizes[sizes > 0]
    if not sizes.size:
        raise InputError("`confusion` must count an image at least. Received: none. Choose a split with images")
    mean = float((hits / sizes).mean())
    shares = (hits + mean) / (sizes + 1)
    variance = float((shares * (1 - shares) / sizes).sum()) / len(sizes) ** 2
    # At 0% and 100% every share is the mean, and its factor is the same in both.
    worth = mean * (1 - mean) / variance if variance > 0 else len(sizes) ** 2 / float((1 / sizes).sum())
    return wilson(mean, max(worth, 1.0))


def map_interval(
    scores: npt.ArrayLike,
    positives: npt.ArrayLike,
    *,
    ignored: npt.ArrayLike | None = None,
    draws: int = DRAWS_OF_IMAGES,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval of the 11-point mAP, of images drawn with replacement.

    A class that no image of a sample shows is left out of that sample's mean.

    Args:
        scores: real numbers [n, classes], the higher the likelier.
        positives: booleans [n, classes].
        ignored: booleans [n, classes], what counts neither way; None: nothing.
        draws: bootstrap samples.
        seed: the same seed gives the same interval.

    Returns:
        the 2.5% and the 97.5% quantile, in [0, 1].
    """
    s, truth = np.asarray(scores), np.asarray(positives, bool)
    counted = np.ones(truth.shape, bool) if ignored is None else ~np.asarray(ignored, bool)
    rng, values = np.random.default_rng(seed), []
    block = max(1, min(draws, MOST_CELLS // len(s)))
    for first in range(0, draws, block):
        times = rng.multinomial(len(s), np.full(len(s), 1 / len(s)), size=min(block, draws - first))  # [b, n]
        means = weighted_map(s, truth, counted, times)
        values.append(means[~np.isnan(means)])
    return quantiles(np.concatenate(values))


def weighted_map(scores: np.ndarray, positives: np.ndarray, counted: np.ndarray, times: np.ndarray) -> np.ndarray:
    """11-point mAP of images that are repeated, for each row of `times`, how often each image is there.

    Args:
        scores: real numbers [n, classes], the higher the likelier.
        positives: booleans [n, classes].
        counted: booleans [n, classes], what counts for or against a class.
        times: whole numbers >= 0, [b, n].

    Returns:
        float64 [b], the mean over the classes that an image of a row shows; NaN where none does.
    """
    precisions = [
        _weighted_precision(scores[keep, c], positives[keep, c], times[:, keep]) for c, keep in enumerate(counted.T)
    ]
    table = np.stack(precisions, axis=1)  # [b, classes], NaN without a positive
    shown = ~np.isnan(table)
    sums, classes = np.where(shown, table, 0).sum(axis=1), shown.sum(axis=1)
    return np.where(classes > 0, sums / np.maximum(classes, 1), np.nan)


def _weighted_precision(scores: np.ndarray, positives: np.ndarray, times: np.ndarray) -> np.ndarray:
    """11-point average precision of one class for each row of `times`, how often each image is there: [b, n] -> [b].

    One class of `metrics.average_precisions` of the repeated images; NaN where none of them shows the class.
    """
    if not len(scores):
        return np.full(len(times), np.nan)
    order = np.argsort(-scores, kind="stable")
    ends: np.ndarray = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    drawn = times[:, order]
    seen = np.cumsum(drawn, axis=1)[:, ends]  # images down to each place
    hits = np.cumsum(drawn * positives[order], axis=1)[:, ends]
    precision = hits / np.maximum(seen, 1)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    found = np.full(len(times), np.nan)
    for row, (reached, values) in enumerate(zip(hits, best, strict=True)):
        if reached[-1]:
            needed = -(-np.arange(_RECALL_STEPS + 1) * reached[-1] // _RECALL_STEPS)
            found[row] = values[np.searchsorted(reached, needed)].mean()
    return found


def quantiles(values: np.ndarray) -> Interval:
    """The ends of the 95% interval of a bootstrap, from its values."""
    low, high = np.quantile(values, _TAILS)
    return float(low), float(high)
