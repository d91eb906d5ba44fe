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

import importlib
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tf_simclr.errors import InputError
from tf_simclr.evaluate.measures.arrays import as_features, as_labels, require_finite
from tf_simclr.evaluate.measures.metrics import accuracy
from tf_simclr.evaluate.measures.standardise import Standardiser
from tf_simclr.evaluate.measures.strengths import (
    L2_STRENGTHS,
    PATH_TOLERANCE,
    StrengthFit,
    best_of,
    check_settings,
    follow_path,
)

# Multiplications of one product of features and weights up to which one thread is faster: two threads took 20 times as
# long for 5e6 of them, 8 times for 5e7 and 3 times for 5e8 (2 cores shared with other programs, one run each), because
# L-BFGS makes thousands of short products and the threads wait for each other.
_ONE_THREAD_UP_TO = 10**9

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
    whole_path: bool = False,
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
        whole_path: try every strength.
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
    path = follow_path(strengths, fit, whole_path=whole_path, progress=progress)
    del fit  # and with it the features that it holds
    l2 = best_of(path).l2
    features, labels = (np.concatenate(arrays) for arrays in zip(train, held_out, strict=True))
    scaled, final = Standardiser.of(features), new_model(max_iterations, tolerance)
    iterations, converged = fit_model(final, scaled(features), labels, sklearn_c(l2, classes))
    weights, biases = scaled.folded(*_softmax_form(final.coef_, final.intercept_))
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
        weights, biases = _softmax_form(model.coef_, model.intercept_)
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


def objective(
    weights: npt.ArrayLike, biases: npt.ArrayLike, features: npt.ArrayLike, labels: npt.ArrayLike, l2: float
) -> float:
    """What a fit minimises, in nats: see the head of this file.

    Args:
        weights: real numbers [classes, d], of standardised features.
        biases: real numbers [classes].
        features: real numbers [n, d], standardised.
        labels: integers [n] in [0, classes).
        l2: lambda >= 0.
    """
    w = np.asarray(weights, np.float64)
    x, y = _checked("features", "labels", features, labels)
    logits = x @ w.T + np.asarray(biases, np.float64)
    return float(np.sum(_cross_entropies(logits, y)) + l2 / 2 * np.sum(w**2))


def _cross_entropies(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """-log softmax(logits)[label], [n], of logits [n, classes]."""
    peak = logits.max(axis=1)
    log_total = peak + np.log(np.exp(logits - peak[:, np.newaxis]).sum(axis=1))
    return log_total - logits[np.arange(len(labels)), labels]


def sklearn_c(l2: float, num_classes: int) -> float:
    """scikit-learn's C of a strength lambda > 0: 1 / lambda, and 2 / lambda for two classes (head of this file)."""
    return (2 if num_classes == 2 else 1) / l2


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
        features: float64 [n, d], standardised.
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
