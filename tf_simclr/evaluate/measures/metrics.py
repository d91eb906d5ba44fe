"""Metrics of classification: accuracies, the confusion matrix, the mean average precision of VOC2007."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tf_simclr.errors import InputError, require_choice, require_range
from tf_simclr.evaluate.measures.arrays import as_features, as_labels, require_finite
from tf_simclr.losses.supervised import top_k_hits

# What to do with a class that no example has: an error that names it, or a mean over the other classes.
MissingClasses = Literal["error", "exclude"]

_RECALL_STEPS = 10


@dataclass(frozen=True)
class SeedSummary:
    """A figure over several seeds.

    Attributes:
        mean: arithmetic mean.
        std: sample standard deviation (divided by runs - 1); None for a single run, which tells nothing of it.
        runs: how many.
    """

    mean: float
    std: float | None
    runs: int


def accuracy(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Share of examples whose predicted class is their label, in [0, 1].

    Args:
        predictions: integers [n] >= 0.
        labels: integers [n] >= 0.

    Raises:
        InputError: no examples, shapes that do not match, examples without a label.
    """
    predicted, truth = _pair(predictions, labels, None)
    return float(np.mean(predicted == truth))


def top_k_accuracy(scores: npt.ArrayLike, labels: npt.ArrayLike, k: int) -> float:
    """Share of examples whose label has one of the k highest scores, in [0, 1].

    Ties are pessimistic, as in the evaluation of run.py: a label that ties with others is a hit only where all of them
    fit in the k places together, so that equal scores for all classes are never right. Scores are compared in float32.

    Args:
        scores: real numbers [n, classes], the higher the likelier.
        labels: integers [n] in [0, classes).
        k: places, 1 <= k <= classes.

    Raises:
        InputError: k out of range, scores that are not finite in float32, labels that do not match.
    """
    with np.errstate(over="ignore"):  # scores beyond the range of float32 would tie as infinities: the check says it
        s: np.ndarray = as_features("scores", scores).astype(np.float32)
    require_finite("scores", s)
    truth = as_labels("labels", labels, rows=len(s), num_classes=s.shape[1])
    require_range("k", k, at_least=1, at_most=s.shape[1])
    return float(np.mean(top_k_hits(tf.convert_to_tensor(s), tf.convert_to_tensor(truth), k)))


def confusion_matrix(predictions: npt.ArrayLike, labels: npt.ArrayLike, num_classes: int) -> np.ndarray:
    """Counts of examples, int64 [num_classes, num_classes]: true classes are rows, predicted ones columns.

    Args:
        predictions: integers [n] in [0, num_classes).
        labels: integers [n] in [0, num_classes).
        num_classes: >= 1; a class without examples has a row of zeros.

    Raises:
        InputError: no examples, shapes that do not match, a class out of range.
    """
    require_range("num_classes", num_classes, at_least=1)
    predicted, truth = _pair(predictions, labels, num_classes)
    cells = np.bincount(truth * num_classes + predicted, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes).astype(np.int64)


def per_class_accuracy(
    predictions: npt.ArrayLike, labels: npt.ArrayLike, num_classes: int, *, missing: MissingClasses = "error"
) -> dict[int, float]:
    """Share of the examples of each class that are predicted as it (its recall): class -> value in [0, 1].

    Args:
        predictions: integers [n] in [0, num_classes).
        labels: integers [n] in [0, num_classes).
        num_classes: >= 1.
        missing: of a class that no label names: "error", or "exclude", which gives it no entry.

    Raises:
        InputError: as `confusion_matrix`; a class is missing and `missing` is "error".
    """
    counts = confusion_matrix(predictions, labels, num_classes)
    sizes = counts.sum(axis=1)
    _check_missing(sizes > 0, missing)
    return {int(c): float(counts[c, c] / sizes[c]) for c in np.flatnonzero(sizes)}


def mean_per_class_accuracy(
    predictions: npt.ArrayLike, labels: npt.ArrayLike, num_classes: int, *, missing: MissingClasses = "error"
) -> float:
    """Mean over the classes of `per_class_accuracy`, in [0, 1]: every class counts the same, whatever its size.

    The metric of Aircraft, Pets, Caltech-101 and Flowers (SimCLR, B.8). Arguments and errors as `per_class_accuracy`.
    """
    return float(np.mean(list(per_class_accuracy(predictions, labels, num_classes, missing=missing).values())))


def average_precisions(
    scores: npt.ArrayLike,
    positives: npt.ArrayLike,
    *,
    ignored: npt.ArrayLike | None = None,
    missing: MissingClasses = "error",
) -> dict[int, float]:
    """Interpolated average precision of every class as in PASCAL VOC2007: class -> value in [0, 1].

    The mean, over the recalls r = 0, 0.1, .. 1, of the highest precision reached at any recall >= r. Examples with
    equal scores enter the ranking together, so that the order of the examples does not matter.

    Args:
        scores: real numbers [n, classes], the higher the likelier.
        positives: booleans [n, classes]; an example may show several classes.
        ignored: booleans [n, classes], examples that count neither as right nor as wrong ("difficult" in VOC). None:
            none.
        missing: of a class without a positive example that counts: "error", or "exclude", which gives it no entry.

    Raises:
        InputError: shapes that do not match, scores that are not finite, every class is missing, or one is and
            `missing` is "error".

    Reference: Everingham et al., The PASCAL Visual Object Classes (VOC) Challenge, IJCV 2010, Section 4.2.
    """
    s: np.ndarray = as_features("scores", scores).astype(np.float64)
    require_finite("scores", s)
    truth = _as_mask("positives", positives, s.shape)
    counted = np.ones(s.shape, bool) if ignored is None else ~_as_mask("ignored", ignored, s.shape)
    present = (truth & counted).any(axis=0)
    _check_missing(present, missing)
    return {int(c): _interpolated(s[counted[:, c], c], truth[counted[:, c], c]) for c in np.flatnonzero(present)}


def mean_average_precision(
    scores: npt.ArrayLike,
    positives: npt.ArrayLike,
    *,
    ignored: npt.ArrayLike | None = None,
    missing: MissingClasses = "error",
) -> float:
    """Mean over the classes of `average_precisions`, in [0, 1]: the metric of VOC2007 (SimCLR, B.8).

    Arguments and errors as `average_precisions`.
    """
    return float(np.mean(list(average_precisions(scores, positives, ignored=ignored, missing=missing).values())))


def over_seeds(values: Iterable[float]) -> SeedSummary:
    """Mean and sample standard deviation of a figure that was measured once a seed.

    Args:
        values: finite numbers, at least one.

    Raises:
        InputError: no value, or one that is not finite.
    """
    figures = np.array(list(values), np.float64)
    if figures.size == 0 or not np.isfinite(figures).all():
        raise InputError(f"`values` must be finite numbers, at least one. Received: {figures.tolist()}. Check the runs")
    std = float(figures.std(ddof=1)) if figures.size > 1 else None
    return SeedSummary(mean=float(figures.mean()), std=std, runs=figures.size)


def _pair(predictions: npt.ArrayLike, labels: npt.ArrayLike, num_classes: int | None) -> tuple[np.ndarray, np.ndarray]:
    truth = as_labels("labels", labels, num_classes=num_classes)
    return as_labels("predictions", predictions, rows=len(truth), num_classes=num_classes), truth


def _as_mask(name: str, values: npt.ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.asarray(values)
    if mask.shape != shape or not np.isin(mask, (0, 1)).all():
        raise InputError(
            f"`{name}` must be True or False (1 or 0) for every score, shape {shape}. Received: shape {mask.shape}, "
            f"dtype {mask.dtype}. One row an example and one column a class"
        )
    return mask.astype(bool)


def _check_missing(present: np.ndarray, missing: MissingClasses) -> None:
    """Raises InputError where classes (bool [classes]: it has an example) are missing and that is an error."""
    require_choice("missing", missing, ("error", "exclude"))
    absent = np.flatnonzero(~present)
    if absent.size and (missing == "error" or not present.any()):
        listed = ", ".join(map(str, absent[:10])) + (", ..." if absent.size > 10 else "")
        raise InputError(
            f"Every class must have an example. Received: none of {absent.size} class(es): {listed}. Take a split "
            'that has them, or pass missing="exclude" for the mean over the others'
        )


def _interpolated(scores: np.ndarray, positives: np.ndarray) -> float:
    """11-point average precision of scores [n] with positives, bool [n], at least one of them True."""
    order = np.argsort(-scores, kind="stable")
    # The last place of every score: examples with equal scores enter together.
    ends: np.ndarray = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(positives[order])[ends]  # true positives down to that place
    precision = hits / (ends + 1)
    # The best precision from a place on, the recall only growing.
    best = np.maximum.accumulate(precision[::-1])[::-1]
    # Recall >= step / 10 in whole numbers: 3 of 10 as a float is less than 3 * 0.1.
    needed = -(-np.arange(_RECALL_STEPS + 1) * hits[-1] // _RECALL_STEPS)
    return float(np.mean(best[np.searchsorted(hits, needed)]))
