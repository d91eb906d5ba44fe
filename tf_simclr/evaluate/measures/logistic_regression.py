"""Logistic regression on frozen features, the linear transfer protocol of SimCLR (B.8), by scikit-learn's L-BFGS.

The objective, for weights W [c, d], biases b [c] and l2 strength lambda, where s are the features h moved and scaled
to mean 0 and variance 1 over the examples of the fit:

    sum over the examples of -log softmax(W s + b)[label]  +  lambda / 2 ||W||^2

The paper gives the range of lambda and not whether the cross entropy is a sum or a mean; the sum is what
scikit-learn has. scikit-learn minimises C sum(..) + ||W||^2 / 2: its C is 1 / lambda.
For two classes it has one row of weights w and the logistic function. Our two rows are then -w/2 and w/2, their squared
norm is half of w's, and C is 2 / lambda.

B.8 names no standardisation. Without it a strength means something else for every encoder, because the scale of h
differs by orders of magnitude, and L-BFGS needs thousands of iterations: features of very different variances make
the objective badly conditioned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tf_simclr.errors import InputError
from tf_simclr.evaluate.measures.arrays import as_features, as_labels, require_finite
from tf_simclr.evaluate.measures.metrics import accuracy
from tf_simclr.evaluate.measures.scikit_learn import fit_model, new_model, sklearn_c, softmax_form
from tf_simclr.evaluate.measures.standardise import Standardiser
from tf_simclr.evaluate.measures.strengths import (
    L2_STRENGTHS,
    PATH_TOLERANCE,
    StrengthFit,
    best_of,
    check_settings,
    follow_path,
)

# (predictions int64 [n], labels int64 [n]) -> the figure by which a strength is chosen, the higher the better
Metric = Callable[[np.ndarray, np.ndarray], float]
# features float64 [n, d], labels int64 [n]
Part = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class LinearFit:
    """Weights, and how they were chosen.

    Attributes:
        weights: float64 [classes, d], for features as they are; l2 was that of the weights of standardised ones.
        biases: float64 [classes].
        l2: the strength that was best on the validation part.
        path: every strength that was tried, from strong to weak.
        not_tried: the strengths after them, from strong to weak.
        iterations: of the last fit, on the training and the validation part together.
        converged: of the last fit, see StrengthFit.
    """

    weights: np.ndarray
    biases: np.ndarray
    l2: float
    path: tuple[StrengthFit, ...]
    not_tried: tuple[float, ...]
    iterations: int
    converged: bool

    def scores(self, features: npt.ArrayLike) -> np.ndarray:
        """Logits, float64 [n, classes], of features [n, d].

        Raises:
            InputError: features of another width, or features or logits that are not finite.
        """
        x = checked_features("features", features, self.weights.shape[1])
        with np.errstate(over="ignore", invalid="ignore"):  # the check says it
            logits = x @ self.weights.T + self.biases
        require_finite("logits", logits)
        return logits


@dataclass(frozen=True, eq=False)
class LogisticRegressionResult(LinearFit):
    """A classifier, and how it was chosen."""

    def predict(self, features: npt.ArrayLike) -> np.ndarray:
        """Classes, int64 [n], of features [n, d]."""
        return np.argmax(self.scores(features), axis=1)


def fit_logistic_regression(
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    num_classes: int | None = None,
    validation: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    validation_fraction: float = 0.1,
    seed: int = 0,
    l2_strengths: Iterable[float] = L2_STRENGTHS,
    metric: Metric = accuracy,
    max_iterations: int = 1000,
    tolerance: float = 1e-6,
    progress: Callable[[StrengthFit], None] | None = None,
) -> LogisticRegressionResult:
    """Chooses the l2 strength on a validation part, then fits once more on all examples with it.

    Features are standardised by the mean and deviation of the examples of each fit: the training part, then all. The
    strengths are tried from the strongest to the weakest, each fit starting from the one before, until five in a row
    have a higher cross entropy on the validation part than one before them, and none of the five a better metric. Of
    equally good ones that with the lowest cross entropy is taken. The last fit starts from zero, so that it depends on
    the chosen strength alone. The features are held in float64, three times.

    Args:
        features: real numbers [n, d], as they are.
        labels: integers [n] in [0, num_classes), every class with an example.
        num_classes: at least 2; None: the largest label and one.
        validation: features [m, d] and labels [m] of the validation part; `features` is then the training part. None:
            `stratified_split` takes it out of `features`.
        validation_fraction: of that split, in (0, 1).
        seed: of that split.
        l2_strengths: lambdas > 0, in any order; the paper's 45.
        metric: what is best on the validation part.
        max_iterations: of each fit, >= 1.
        tolerance: > 0; L-BFGS stops where no entry of the gradient (of the mean over the examples) is larger; 100
            times that for the fits that the strength is chosen by.
        progress: called with each fit when it is done.

    Returns:
        LogisticRegressionResult.

    Raises:
        InputError: scikit-learn is missing, features and labels do not match or are out of range, a class has no
            training example, fewer than two classes.
    """
    strengths = sorted(l2_strengths, reverse=True)
    check_settings(strengths, max_iterations, tolerance)
    train = _checked("features", "labels", features, labels)
    classes = _class_count(train[1], num_classes)
    if validation is None:
        parts = stratified_split(train[1], validation_fraction, seed)
        train, held_out = ((train[0][part], train[1][part]) for part in parts)
    else:
        held_out = _checked("validation features", "validation labels", *validation, classes, train[0].shape[1])
    fit = _one_strength(new_model(max_iterations, PATH_TOLERANCE * tolerance), train, held_out, classes, metric)
    path = follow_path(strengths, fit, progress=progress)
    del fit  # and with it the features that it holds
    l2 = best_of(path).l2
    features, labels = (np.concatenate(arrays) for arrays in zip(train, held_out, strict=True))
    scaled, final = Standardiser.of(features), new_model(max_iterations, tolerance)
    iterations, converged = fit_model(final, scaled(features), labels, sklearn_c(l2, classes))
    weights, biases = scaled.folded(*softmax_form(final.coef_, final.intercept_))
    not_tried = tuple(strengths[len(path) :])
    return LogisticRegressionResult(weights, biases, l2, path, not_tried, iterations, converged)


def _one_strength(
    model: Any,
    train: Part,
    held_out: Part,
    classes: int,
    metric: Metric,
) -> Callable[[float], StrengthFit]:
    """A function that fits the model to the training part with a strength, and measures it on the validation part."""
    scaled = Standardiser.of(train[0])
    x, x_held_out = scaled(train[0]), scaled(held_out[0])

    def fit(l2: float) -> StrengthFit:
        fitted = fit_model(model, x, train[1], sklearn_c(l2, classes))
        weights, biases = softmax_form(model.coef_, model.intercept_)
        logits = x_held_out @ weights.T + biases
        value = float(metric(np.argmax(logits, axis=1), held_out[1]))
        return StrengthFit(l2, *fitted, value, float(np.mean(_cross_entropies(logits, held_out[1]))))

    return fit


def stratified_split(labels: npt.ArrayLike, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of a training and a validation part, both sorted; every class is in both.

    Args:
        labels: integers [n] >= 0.
        fraction: of each class that goes to validation, in (0, 1), rounded, but at least one example and not all.
        seed: the same seed gives the same split.

    Returns:
        int64 [n - m] and int64 [m].

    Raises:
        InputError: a fraction out of range, or a class with a single example.
    """
    y = as_labels("labels", labels)
    if not 0 < fraction < 1:
        raise InputError(f"`validation_fraction` must be > 0 and < 1. Received: validation_fraction={fraction}")
    rng = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        if len(members) < 2:
            raise InputError(
                f"Every class must have an example for training and one for validation. Received: 1 of class {label}. "
                "Add images, or pass a validation split"
            )
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        chosen.append(rng.permutation(members)[:count])
    held_out = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(y)), held_out), held_out


def _cross_entropies(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """-log softmax(logits)[label], [n], of logits [n, classes]."""
    peak = logits.max(axis=1)
    log_total = peak + np.log(np.exp(logits - peak[:, np.newaxis]).sum(axis=1))
    return log_total - logits[np.arange(len(labels)), labels]


def _checked(
    features_name: str,
    labels_name: str,
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    num_classes: int | None = None,
    dimensions: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    x = checked_features(features_name, features, dimensions)
    return x, as_labels(labels_name, labels, rows=len(x), num_classes=num_classes)


def checked_features(name: str, features: npt.ArrayLike, dimensions: int | None = None) -> np.ndarray:
    """Features in float64, because in float32 L-BFGS stops early at the weak strengths."""
    x: np.ndarray = as_features(name, features).astype(np.float64)
    if dimensions is not None and x.shape[1] != dimensions:
        raise InputError(
            f"`{name}` must have the {dimensions} dimensions of the training features. Received: {x.shape[1]}. Take "
            "both from one endpoint of one encoder"
        )
    require_finite(name, x)
    return x


def _class_count(labels: np.ndarray, num_classes: int | None) -> int:
    """Classes of the training labels; InputError where one has no example, or there is only one."""
    counts = np.bincount(as_labels("labels", labels, num_classes=num_classes), minlength=num_classes or 0)
    if len(counts) < 2:
        raise InputError("`labels` must have at least two classes. Received: class 0 only. Choose a labelled data set")
    if not counts.all():
        raise InputError(
            f"`labels` must have an example of every class below {len(counts)}. Received: none of class "
            f"{int(np.argmin(counts))}. Take a split that has them, or renumber the classes"
        )
    return len(counts)
