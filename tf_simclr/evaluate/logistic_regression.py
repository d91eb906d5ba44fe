"""Logistic regression on frozen features, the linear transfer protocol of SimCLR (B.8), by scikit-learn's L-BFGS.

The objective, for weights W [c, d], biases b [c] and l2 strength lambda:

    sum over the examples of -log softmax(W h + b)[label]  +  lambda / 2 ||W||^2

The paper gives the range of lambda and not whether the cross entropy is a sum or a mean; the sum is what
scikit-learn has. scikit-learn minimises C sum(..) + ||W||^2 / 2: its C is 1 / lambda.
For two classes it has one row of weights w and the logistic function. Our two rows are then -w/2 and w/2, their squared
norm is half of w's, and C is 2 / lambda. Features are taken as they are: B.8 names no standardisation.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tf_simclr.errors import InputError, require_range
from tf_simclr.evaluate.arrays import as_features, as_labels, require_finite
from tf_simclr.evaluate.metrics import accuracy

# The paper's grid: 45 values from 1e-6 to 1e5, evenly spaced in the logarithm.
L2_STRENGTHS: tuple[float, ...] = tuple(float(x) for x in np.logspace(-6, 5, 45))

# Multiplications of one product of features and weights up to which one thread is faster: two threads took 20 times as
# long for 5e6 of them, 8 times for 5e7 and 3 times for 5e8 (2 cores shared with other programs, one run each), because
# L-BFGS makes thousands of short products and the threads wait for each other.
_ONE_THREAD_UP_TO = 10**9

# (predictions int64 [n], labels int64 [n]) -> the figure by which a strength is chosen, the higher the better
Metric = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class StrengthFit:
    """One fit on the training part.

    Attributes:
        l2: strength lambda.
        iterations: of L-BFGS; 0 where the fit before is within the tolerance for this strength, too.
        converged: whether L-BFGS reached its tolerance. False: the iterations ran out, or no step improved further.
        validation: the metric on the validation part.
    """

    l2: float
    iterations: int
    converged: bool
    validation: float


@dataclass(frozen=True, eq=False)
class LinearFit:
    """Weights, and how they were chosen.

    Attributes:
        weights: float64 [classes, d].
        biases: float64 [classes].
        l2: the strength that was best on the validation part.
        path: every strength that was tried, from strong to weak.
        iterations: of the last fit, on the training and the validation part together.
        converged: of the last fit, see StrengthFit.
    """

    weights: np.ndarray
    biases: np.ndarray
    l2: float
    path: tuple[StrengthFit, ...]
    iterations: int
    converged: bool

    def scores(self, features: npt.ArrayLike) -> np.ndarray:
        """Logits, float64 [n, classes], of features [n, d]."""
        return checked_features("features", features, self.weights.shape[1]) @ self.weights.T + self.biases


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

    The strengths are tried from the strongest to the weakest, each fit starting from the one before. Of equally good
    ones the strongest is taken. The last fit starts from zero, so that it depends on the chosen strength alone. The
    features are held in float64, twice.

    Args:
        features: real numbers [n, d], not standardised here.
        labels: integers [n] in [0, num_classes), every class with an example.
        num_classes: at least 2; None: the largest label and one.
        validation: features [m, d] and labels [m] of the validation part; `features` is then the training part. None:
            `stratified_split` takes it out of `features`.
        validation_fraction: of that split, in (0, 1).
        seed: of that split.
        l2_strengths: lambdas > 0, in any order; the paper's 45.
        metric: what is best on the validation part.
        max_iterations: of each fit, >= 1.
        tolerance: > 0; L-BFGS stops where no entry of the gradient (of the mean over the examples) is larger.
        progress: told each fit when it is done.

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
    model, path = new_model(max_iterations, tolerance), []
    for l2 in strengths:
        iterations, converged = fit_model(model, *train, sklearn_c(l2, classes))
        path.append(StrengthFit(l2, iterations, converged, _measured(metric, model.predict(held_out[0]), held_out[1])))
        if progress is not None:
            progress(path[-1])
    best = max(path, key=lambda fit: fit.validation)  # the first of equals, which is the strongest
    final = new_model(max_iterations, tolerance)
    x, y = (np.concatenate(arrays) for arrays in zip(train, held_out, strict=True))
    iterations, converged = fit_model(final, x, y, sklearn_c(best.l2, classes))
    weights, biases = _softmax_form(final.coef_, final.intercept_)
    return LogisticRegressionResult(weights, biases, best.l2, tuple(path), iterations, converged)


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
                "Add pictures, or pass a validation split"
            )
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        chosen.append(rng.permutation(members)[:count])
    held_out = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(y)), held_out), held_out


def objective(
    weights: npt.ArrayLike, biases: npt.ArrayLike, features: npt.ArrayLike, labels: npt.ArrayLike, l2: float
) -> float:
    """What a fit minimises, in nats: see the head of this file.

    Args:
        weights: real numbers [classes, d].
        biases: real numbers [classes].
        features: real numbers [n, d].
        labels: integers [n] in [0, classes).
        l2: lambda >= 0.
    """
    w = np.asarray(weights, np.float64)
    x, y = _checked("features", "labels", features, labels)
    logits = x @ w.T + np.asarray(biases, np.float64)
    peak = logits.max(axis=1)
    log_total = peak + np.log(np.exp(logits - peak[:, np.newaxis]).sum(axis=1))
    return float(np.sum(log_total - logits[np.arange(len(y)), y]) + l2 / 2 * np.sum(w**2))


def sklearn_c(l2: float, num_classes: int) -> float:
    """scikit-learn's C of a strength lambda > 0: 1 / lambda, and 2 / lambda for two classes (head of this file)."""
    return (2 if num_classes == 2 else 1) / l2


def check_settings(strengths: list[float], max_iterations: int, tolerance: float) -> None:
    """Raises InputError where strengths, from strong to weak, or limits of a fit are out of range."""
    if not strengths:
        raise InputError("`l2_strengths` must not be empty. Received: no value. The paper's are L2_STRENGTHS")
    require_range("l2_strengths", strengths[-1], above=0)
    require_range("max_iterations", max_iterations, at_least=1)
    require_range("tolerance", tolerance, above=0)


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
            f"{int(np.argmin(counts))}. Take a split that has them, or number the classes anew"
        )
    return len(counts)


def _measured(metric: Metric, predictions: np.ndarray, labels: np.ndarray) -> float:
    value = float(metric(predictions, labels))
    if not np.isfinite(value):
        raise InputError(f"`metric` must give a finite number. Received: {value}. No strength could be chosen by it")
    return value


def require_scikit_learn(module: str = "linear_model", task: str = "Logistic regression") -> Any:
    """A module of the package: a program that will fit asks for it before it works.

    Args:
        module: of scikit-learn; by default its linear models.
        task: what needs it, for the message.

    Raises:
        InputError: scikit-learn is missing.
    """
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError as error:
        raise InputError(
            f"{task} needs the package scikit-learn. Received: {error}. Install it: pip install "
            "scikit-learn, or the extra `evaluate` of this package"
        ) from error


def new_model(max_iterations: int, tolerance: float) -> Any:
    """scikit-learn's estimator, which starts each further fit from the one before."""
    return require_scikit_learn().LogisticRegression(
        solver="lbfgs", warm_start=True, max_iter=max_iterations, tol=tolerance
    )


def fit_model(
    model: Any, features: np.ndarray, labels: np.ndarray, c: float, counts: np.ndarray | None = None
) -> tuple[int, bool]:
    """Fits an estimator in place.

    Args:
        model: of `new_model`.
        features: float64 [n, d].
        labels: class numbers [n].
        c: scikit-learn's C.
        counts: bool [n], the examples that count; None: all.

    Returns:
        the iterations, and whether it converged, which is no warning but a result.
    """
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    threads = 1 if features.size * (labels.max() + 1) <= _ONE_THREAD_UP_TO else None
    with threadpool_limits(threads, user_api="blas"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # Weights of zero spare a copy of the features without the examples that do not count.
        model.set_params(C=c).fit(features, labels, None if counts is None else counts.astype(np.float64))
    unfinished = [w for w in caught if issubclass(w.category, ConvergenceWarning)]
    for other in (w for w in caught if w not in unfinished):
        warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
    return int(model.n_iter_[0]), not unfinished


def _softmax_form(weights: np.ndarray, biases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights [classes, d] and biases [classes]; for two classes scikit-learn has one row, of their difference."""
    if len(weights) > 1:
        return weights, biases
    return np.concatenate([-weights, weights]) / 2, np.concatenate([-biases, biases]) / 2
