"""Logistic regression by scikit-learn: its estimator, its C, its weights, and its warnings as results."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tf_simclr.optional import require_scikit_learn

# Multiplications of one product of features and weights up to which one thread is faster: two threads took 20 times as
# long for 5e6 of them, 8 times for 5e7 and 3 times for 5e8 (2 cores shared with other programs, one run each), because
# L-BFGS makes thousands of short products and the threads wait for each other.
_ONE_THREAD_UP_TO = 10**9


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


def softmax_form(weights: np.ndarray, biases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights [classes, d] and biases [classes]; for two classes scikit-learn has one row, of their difference."""
    if len(weights) > 1:
        return weights, biases
    return np.concatenate([-weights, weights]) / 2, np.concatenate([-biases, biases]) / 2


def sklearn_c(l2: float, num_classes: int) -> float:
    """scikit-learn's C of a strength lambda: 1 / lambda, and 2 / lambda for two classes (see `logistic_regression`)."""
    return (2 if num_classes == 2 else 1) / l2
