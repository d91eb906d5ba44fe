"""Two classifiers on the same images: the difference of a metric, its 95% interval, and the paper's permutation test.

Each image is answered by both, so that what is hard about the images is the same for both. Every number here is of
pairs: the interval draws images with both of their answers, and the test swaps the two answers of an image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tf_simclr.errors import InputError
from tf_simclr.evaluate.measures.intervals import DRAWS_OF_IMAGES, MOST_CELLS, Interval, quantiles, weighted_map

# Fewer for the mAP, which takes a hundred times as long.
SWAPS, SWAPS_OF_SCORES = 100_000, 1_000
# Two statistics that differ by less are equal, and differ by rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Paired:
    """One metric of two classifiers, A and B, on the same images.

    Attributes:
        a: of A, in [0, 1].
        b: of B, in [0, 1].
        difference: b - a.
        interval: 95%, of the difference, for other images of the same kind.
        p_value: of the permutation test, two-sided, in (0, 1].
        exact: whether the p-value is exact; otherwise it is of random swaps.
    """

    a: float
    b: float
    difference: float
    interval: Interval
    p_value: float
    exact: bool


def compare_hits(
    hits_a: npt.ArrayLike,
    hits_b: npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
    *,
    swaps: int = SWAPS,
    draws: int = DRAWS_OF_IMAGES,
    seed: int = 0,
) -> Paired:
    """Compares the accuracies of two classifiers, or their mean accuracies per class.

    The permutation test swaps the two answers of each image with probability 1/2, and counts how often the difference
    is then at least as large as it is. Images that both answer alike do not matter. Where all others weigh the same,
    as they do in an accuracy of one seed, the number of swapped ones is binomial, and the p-value is exact: this is
    McNemar's exact test.

    Args:
        hits_a: real numbers [n] in [0, 1]: 1 where A is right, 0 where it is wrong; a mean over seeds between them.
        hits_b: the same of B, for the same images in the same order.
        labels: integers [n]; the metric is the mean over the classes. None: the accuracy.
        swaps: random ones, where the p-value is not exact.
        draws: bootstrap samples of the images, for the interval.
        seed: the same seed gives the same interval and p-value.

    Returns:
        Paired.

    Raises:
        InputError: no image, or shapes that do not match.

    Reference: SimCLR, B.8, after Kornblith et al., Do Better ImageNet Models Transfer Better?, CVPR 2019; McNemar,
        Note on the Sampling Error of the Difference Between Correlated Proportions, Psychometrika 1947.

    Example:
        from tf_simclr.evaluate.measures.paired import compare_hits

        found = compare_hits([1, 0, 0, 0, 1, 0], [1, 1, 1, 1, 1, 1])
        assert found.p_value == 0.125  # 4 images differ, all in favour of B: 2 / 2^4
    """
    a, b = (np.asarray(hits, np.float64) for hits in (hits_a, hits_b))
    groups = np.zeros(len(a), np.int64) if labels is None else np.unique(np.asarray(labels), return_inverse=True)[1]
    if not len(a) or not a.shape == b.shape == groups.shape:
        raise InputError(
            "`hits_a`, `hits_b` and `labels` must have a value for each of the same images. Received: shapes "
            f"{a.shape}, {b.shape} and {groups.shape}. Pass them in the order of the images"
        )
    sizes = np.bincount(groups)
    weights = 1 / (len(sizes) * sizes[groups])  # [n], adds up to 1
    gains = b - a
    rng = np.random.default_rng(seed)
    p_value, exact = _swapped(weights * gains, swaps, rng)
    values = np.concatenate(list(_resampled(gains, groups, draws, rng)))
    of_a, of_b = float(weights @ a), float(weights @ b)
    return Paired(of_a, of_b, of_b - of_a, quantiles(values), p_value, exact)


def exact_p_value(first: int, second: int) -> float:
    """The two-sided p-value of McNemar's exact test.

    Args:
        first: images that the first classifier alone answers rightly.
        second: images that the second one alone answers rightly.

    Returns:
        the probability that fair coins, one for each of these images, fall at least as unevenly; 1 without any.
    """
    coins = first + second
    few = np.arange(min(first, second) + 1)
    logs = [math.lgamma(coins + 1) - math.lgamma(k + 1) - math.lgamma(coins - k + 1) for k in few.tolist()]
    return float(min(1.0, 2 * np.exp(np.array(logs) - coins * math.log(2)).sum()))


def _swapped(changes: np.ndarray, swaps: int, rng: np.random.Generator) -> tuple[float, bool]:
    """The p-value of swaps, and whether it is exact; `changes` [n] add up to the difference of the metric."""
    # Rounded, since equal changes may come of different sums over seeds.
    sizes, counts = np.unique(np.round(np.abs(changes[changes != 0]), 15), return_counts=True)
    if len(sizes) < 2:
        return exact_p_value(int((changes < 0).sum()), int((changes > 0).sum())), True
    observed, extreme = abs(changes.sum()) - _ROUNDING, 0
    for block in _blocks(swaps, len(sizes)):
        # Of equal changes only the number that is swapped matters.
        swapped = rng.binomial(counts, 0.5, size=(block, len(sizes)))
        extreme += int((np.abs((counts - 2 * swapped) @ sizes) >= observed).sum())
    return (1 + extreme) / (1 + swaps), False


def _resampled(gains: np.ndarray, groups: np.ndarray, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The difference of the metric for images drawn with replacement; a group that is not drawn is left out."""
    kinds, counts = np.unique(np.stack([groups, gains]), axis=1, return_counts=True)
    starts = np.flatnonzero(np.diff(kinds[0], prepend=-1))
    for block in _blocks(draws, len(counts)):
        times = rng.multinomial(len(gains), counts / len(gains), size=block)  # [b, kinds]
        sizes = np.add.reduceat(times, starts, axis=1)  # [b, groups]
        sums = np.add.reduceat(times * kinds[1], starts, axis=1)
        yield (sums / np.maximum(sizes, 1)).sum(axis=1) / (sizes > 0).sum(axis=1)


def _blocks(rows: int, columns: int) -> Iterator[int]:
    """Numbers of rows that add up to `rows`, each small enough for a table of so many columns."""
    block = max(1, min(rows, MOST_CELLS // columns))
    for first in range(0, rows, block):
        yield min(block, rows - first)


def compare_scores(
    scores_a: Sequence[np.ndarray],
    scores_b: Sequence[np.ndarray],
    positives: npt.ArrayLike,
    *,
    ignored: npt.ArrayLike | None = None,
    swaps: int = SWAPS_OF_SCORES,
    draws: int = DRAWS_OF_IMAGES,
    seed: int = 0,
) -> Paired:
    """Compares the 11-point mAP of two classifiers of images that may show several classes.

    A swap exchanges all scores of an image.

    Args:
        scores_a: for each seed real numbers [n, classes], the higher the likelier.
        scores_b: the same of B, as many seeds, for the same images in the same order.
        positives: booleans [n, classes].
        ignored: booleans [n, classes], what counts neither way; None: nothing.
        swaps: random ones.
        draws: bootstrap samples of the images.
        seed: the same seed gives the same interval and p-value.

    Returns:
        Paired, of the means over the seeds.

    Reference: as `compare_hits`.
    """
    truth = np.asarray(positives, bool)
    counted = np.ones(truth.shape, bool) if ignored is None else ~np.asarray(ignored, bool)
    images, rng = len(truth), np.random.default_rng(seed)

    def means(scores: Sequence[np.ndarray], times: np.ndarray) -> np.ndarray:
        """The mAP over the seeds, of images that are repeated: `scores` may hold them twice, as A's and as B's."""
        parts = len(scores[0]) // images
        masks = np.tile(truth, (parts, 1)), np.tile(counted, (parts, 1))
        return np.mean([weighted_map(one, *masks, times) for one in scores], axis=0)

    of_a, of_b = (float(means(scores, np.ones([1, images], np.int64))[0]) for scores in (scores_a, scores_b))
    differences = []
    for block in _blocks(draws, images):
        times = rng.multinomial(images, np.full(images, 1 / images), size=block)
        differences.append(means(scores_b, times) - means(scores_a, times))
    values = np.concatenate(differences)
    both = [np.concatenate(pair) for pair in zip(scores_a, scores_b, strict=True)]  # [2n, classes] for each seed
    observed, extreme = abs(of_b - of_a) - _ROUNDING, 0
    for block in _blocks(swaps, 2 * images):
        swapped = rng.integers(0, 2, size=(block, images))
        one, other = (np.concatenate(part, axis=1) for part in ((1 - swapped, swapped), (swapped, 1 - swapped)))
        extreme += int((np.abs(means(both, one) - means(both, other)) >= observed).sum())
    interval = quantiles(values[~np.isnan(values)])
    return Paired(of_a, of_b, of_b - of_a, interval, (1 + extreme) / (1 + swaps), False)
