from __future__ import annotations

import dataclasses
import math
import sys
import warnings

import numpy as np
import pytest
import threadpoolctl
from scipy.optimize import minimize
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tf_simclr.errors import InputError
from tf_simclr.evaluate.measures import scikit_learn as module
from tf_simclr.evaluate.measures import strengths as strengths_module
from tf_simclr.evaluate.measures.logistic_regression import fit_logistic_regression, stratified_split
from tf_simclr.evaluate.measures.scikit_learn import sklearn_c
from tf_simclr.evaluate.measures.strengths import L2_STRENGTHS, StrengthFit, best_of, follow_path


def clusters(rows, classes=3, dimensions=4, seed=0, spread=1.5):
    """Overlapping clusters around fixed centres."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    centres = np.random.default_rng(100).normal(size=(classes, dimensions))
    return (centres[labels] + spread * rng.normal(size=(rows, dimensions))).astype(np.float32), labels


def standardised(x):
    return (x - x.mean(axis=0, dtype=np.float64)) / x.std(axis=0, dtype=np.float64)


def on_standardised(result, x):
    """The same classifier, for features standardised as x is."""
    mean, std = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    return dataclasses.replace(result, weights=result.weights * std, biases=result.biases + result.weights @ mean)


def objective(weights, biases, features, labels, l2):
    """What a fit minimises, in nats, for standardised features: the head of logistic_regression.py."""
    logits = np.asarray(features) @ np.transpose(weights) + biases
    cross_entropies = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]
    return float(cross_entropies.sum() + l2 / 2 * np.square(weights).sum())


def gradient_size(weights, biases, x, y, l2):
    """Largest entry of the gradient of `objective`, by central differences."""
    point, eps = np.concatenate([weights.ravel(), biases]), 1e-5
    shape = weights.shape

    def value(p):
        return objective(p[: weights.size].reshape(shape), p[weights.size :], x, y, l2)

    steps = eps * np.eye(point.size)
    return max(abs(value(point + s) - value(point - s)) / (2 * eps) for s in steps)


def test_the_grid_is_the_papers():
    assert len(L2_STRENGTHS) == 45
    assert (L2_STRENGTHS[0], L2_STRENGTHS[-1]) == (pytest.approx(1e-6), pytest.approx(1e5))
    ratios = np.array(L2_STRENGTHS[1:]) / np.array(L2_STRENGTHS[:-1])
    np.testing.assert_allclose(ratios, 10 ** (11 / 44))


def test_objective_by_hand():
    """One feature, W = (0, ln 3), x = 1: softmax is 1/4, 3/4; lambda 2 adds (ln 3)^2."""
    got = objective([[0.0], [math.log(3)]], [0.0, 0.0], [[1.0], [1.0]], [0, 1], 2.0)
    assert got == pytest.approx(math.log(4) + math.log(4 / 3) + math.log(3) ** 2)


@pytest.mark.parametrize("l2", [1e-3, 1.0, 50.0])
def test_c_gives_the_objective_of_scikit_learn_up_to_a_factor(l2):
    """Its documentation: C sum(cross entropy) + ||W||^2 / 2; two classes have one row w and the logistic function."""
    rng = np.random.default_rng(0)
    x, y = clusters(20)
    w, b = rng.normal(size=(3, 4)), rng.normal(size=3)
    logits = x @ w.T + b
    cross_entropy = sum(math.log(np.exp(row).sum()) - row[label] for row, label in zip(logits, y, strict=True))
    c = sklearn_c(l2, 3)
    assert objective(w, b, x, y, l2) == pytest.approx((c * cross_entropy + np.sum(w**2) / 2) / c)

    x, y = clusters(20, classes=2)
    margins = np.where(y == 1, 1, -1) * (x @ w[0] + b[0])
    c = sklearn_c(l2, 2)
    expected = (c * np.sum(np.log1p(np.exp(-margins))) + np.sum(w[0] ** 2) / 2) / c
    assert objective([-w[0] / 2, w[0] / 2], [-b[0] / 2, b[0] / 2], x, y, l2) == pytest.approx(expected)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("l2", [0.1, 10.0])
def test_the_fit_is_the_minimum_of_the_objective(classes, l2):
    raw, y = clusters(40, classes)
    result = fit_logistic_regression(raw[:30], y[:30], validation=(raw[30:], y[30:]), l2_strengths=[l2], tolerance=1e-9)
    # The weights are for features as they are; the objective is of standardised ones, over training and validation.
    x, result = standardised(raw), on_standardised(result, raw)
    assert gradient_size(result.weights, result.biases, x, y, l2) < 1e-4
    assert gradient_size(result.weights, result.biases, x, y, 2 * l2) > 1e-2  # of another strength it is not
    size = result.weights.size
    shape = result.weights.shape
    other = minimize(lambda p: objective(p[:size].reshape(shape), p[size:], x, y, l2), np.zeros(size + classes))
    np.testing.assert_allclose(result.weights, other.x[:size].reshape(shape), atol=1e-3)


@pytest.mark.parametrize("classes", [2, 4])
def test_agrees_with_scikit_learn_fitted_strength_by_strength(monkeypatch, classes):
    x, y = clusters(90, classes, 5)
    x_val, y_val = clusters(60, classes, 5, seed=1)
    x_test, y_test = clusters(200, classes, 5, seed=2)
    strengths = np.logspace(-4, 4, 9)

    def alone(l2, features, labels):
        c = sklearn_c(l2, classes)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000, tol=1e-8))
        return model.fit(features.astype(np.float64), labels)

    options = {"validation": (x_val, y_val), "l2_strengths": strengths, "tolerance": 1e-8}
    monkeypatch.setattr(strengths_module, "WORSE_IN_A_ROW", len(strengths))  # none is left out
    result = fit_logistic_regression(x, y, **options)
    assert [fit.l2 for fit in result.path] == sorted(strengths, reverse=True) and result.not_tried == ()
    for fit in result.path:
        theirs = alone(fit.l2, x, y)
        assert fit.validation == pytest.approx(theirs.score(x_val, y_val), abs=1e-9)
        assert fit.validation_loss == pytest.approx(log_loss(y_val, theirs.predict_proba(x_val)), rel=1e-3)
    final = alone(result.l2, np.concatenate([x, x_val]), np.concatenate([y, y_val]))
    np.testing.assert_array_equal(result.predict(x_test), final.predict(x_test))
    logits = result.scores(x_test)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, final.predict_proba(x_test), atol=1e-5)
    assert np.mean(result.predict(x_test) == y_test) > 1.2 / classes


def test_the_path_goes_from_strong_to_weak_and_is_reported():
    x, y = clusters(60)
    received = []
    result = fit_logistic_regression(x, y, l2_strengths=[0.01, 100.0, 1.0], progress=received.append)
    assert [fit.l2 for fit in result.path] == [100.0, 1.0, 0.01]
    assert received == list(result.path)
    assert all(fit.converged and fit.iterations > 0 for fit in result.path) and result.converged


def test_a_fit_starts_from_the_one_before():
    x, y = clusters(60, dimensions=8)
    cold = fit_logistic_regression(x, y, l2_strengths=[0.01]).path[-1]
    warm = fit_logistic_regression(x, y, l2_strengths=[0.0101, 0.01]).path[-1]
    assert warm.iterations < cold.iterations


def test_of_equally_good_strengths_that_of_the_lowest_cross_entropy_is_taken():
    """Nothing is confused: the weaker, the surer."""
    x, y = clusters(40, spread=0.01)
    result = fit_logistic_regression(x, y, l2_strengths=[1e-3, 1e-1, 1e-2])
    assert {fit.validation for fit in result.path} == {1.0}
    losses = [fit.validation_loss for fit in result.path]
    assert losses == sorted(losses, reverse=True) and result.l2 == 1e-3


def fits(*figures):
    """Fits of strengths 10^0, 10^-1, ..., by their (validation, validation_loss)."""
    return {10.0**-number: StrengthFit(10.0**-number, 1, True, *both) for number, both in enumerate(figures)}


@pytest.mark.parametrize(
    "figures,tried,best",
    [
        # Worse from the third on: five of them, and no more.
        ([(0.5, 2.0), (0.9, 1.0), *[(0.8, 1.0 + k / 10) for k in range(1, 9)]], 7, 1),
        # As accurate as the best one, but less sure: the same.
        ([(0.5, 2.0), (0.9, 1.0), *[(0.9, 1.0 + k / 10) for k in range(1, 9)]], 7, 1),
        # Worse for four strengths, then better: all are tried.
        ([(0.9, 1.0), *[(0.8, 1.5)] * 4, (0.95, 1.4), *[(0.9, 1.6)] * 4], 10, 5),
        # The largest class for everything, but surer and surer: strengths are still too strong.
        ([*[(0.4, 2.0 - k / 10) for k in range(9)], (0.8, 0.9)], 10, 9),
        # A lucky start of a small validation part: less accurate, but the cross entropy falls.
        ([(0.7, 2.0), *[(0.6, 1.9 - k / 10) for k in range(8)], (0.8, 0.9)], 10, 9),
    ],
)
def test_the_path_ends_where_weaker_strengths_only_get_worse(monkeypatch, figures, tried, best):
    given = fits(*figures)
    path = follow_path(list(given), given.__getitem__, progress=None)
    monkeypatch.setattr(strengths_module, "WORSE_IN_A_ROW", len(given))
    whole = follow_path(list(given), given.__getitem__, progress=None)
    assert list(whole) == list(given.values()) and path == whole[:tried]
    assert best_of(path) == best_of(whole) == whole[best]


def test_strengths_that_were_not_tried_are_named(monkeypatch):
    x, y = clusters(200, dimensions=30, spread=3.0)
    result = fit_logistic_regression(x, y)
    monkeypatch.setattr(strengths_module, "WORSE_IN_A_ROW", 45)
    whole = fit_logistic_regression(x, y)
    assert len(result.path) + len(result.not_tried) == 45 and len(result.not_tried) > 10
    assert max(result.not_tried) < result.path[-1].l2
    assert result.path == whole.path[: len(result.path)] and result.l2 == whole.l2


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits"])
def test_on_real_data_it_is_as_good_as_scikit_learn(name):
    """Its C of 1, the default, is a sensible one for standardised data; both take two thirds for training."""
    data = getattr(datasets, f"load_{name}")()
    train, test = stratified_split(data.target, 0.33, seed=1)
    x, y, x_test, y_test = data.data[train], data.target[train], data.data[test], data.target[test]
    theirs = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(x, y).score(x_test, y_test)
    result = fit_logistic_regression(x, y)
    assert result.converged and all(fit.converged for fit in result.path)
    assert np.mean(result.predict(x_test) == y_test) > theirs - 0.03 and theirs > 0.9


def test_the_metric_chooses():
    x, y = clusters(60)
    given = {100.0: 0.1, 1.0: 0.9, 0.01: 0.3}
    answers = iter(given.values())  # of a validation part that is otherwise the better the weaker
    result = fit_logistic_regression(x, y, l2_strengths=given, metric=lambda predictions, labels: next(answers))
    assert {fit.l2: fit.validation for fit in result.path} == given
    assert result.l2 == 1.0


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
def test_a_fit_that_did_not_converge_says_so_and_warns_of_nothing():
    x, y = clusters(60, dimensions=8)
    result = fit_logistic_regression(x, y, l2_strengths=[1e-6], max_iterations=2)
    assert (result.path[0].converged, result.path[0].iterations) == (False, 2)
    assert (result.converged, result.iterations) == (False, 2)


@pytest.mark.parametrize("limit,single", [(10**9, True), (0, False)])
def test_small_fits_take_one_thread_and_leave_the_setting_as_it_was(monkeypatch, limit, single):
    def threads():
        return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]

    during = []
    original = LogisticRegression.fit

    def watched(self, *arguments):
        during.append(threads())
        return original(self, *arguments)

    monkeypatch.setattr(LogisticRegression, "fit", watched)
    monkeypatch.setattr(module, "_ONE_THREAD_UP_TO", limit)
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = threads()
        fit_logistic_regression(*clusters(30), l2_strengths=[1.0])
        assert threads() == before
    assert len(before) > 0
    assert during == [[1] * len(before) if single else before] * 2


def test_other_warnings_are_passed_on(monkeypatch):
    original = LogisticRegression.fit

    def noisy(self, *arguments):
        warnings.warn("something else", UserWarning, stacklevel=1)
        return original(self, *arguments)

    monkeypatch.setattr(LogisticRegression, "fit", noisy)
    with pytest.warns(UserWarning, match="something else"):
        fit_logistic_regression(*clusters(30), l2_strengths=[1.0])


@pytest.mark.parametrize("shift", [0.0, 50.0])
def test_scale_and_shift_of_features_change_nothing(shift):
    x, y = clusters(60)
    scale = np.array([1e-3, 1, 1e3, 7])
    plain = fit_logistic_regression(x, y, l2_strengths=[1.0, 0.1], tolerance=1e-9)
    moved = fit_logistic_regression(x * scale + shift * scale, y, l2_strengths=[1.0, 0.1], tolerance=1e-9)
    np.testing.assert_allclose(moved.weights * scale, plain.weights, atol=1e-4)
    np.testing.assert_allclose(moved.scores(x * scale + shift * scale), plain.scores(x), atol=1e-4)


def test_a_feature_that_never_varies_says_nothing():
    x, y = clusters(60)
    with_constant = np.concatenate([x, np.full((60, 1), 3.0, np.float32)], axis=1)
    result = fit_logistic_regression(with_constant, y, l2_strengths=[1.0])
    np.testing.assert_allclose(result.weights[:, -1], 0, atol=1e-12)
    with_constant[:, -1] = 1e6  # in images to come it varies
    np.testing.assert_allclose(
        result.scores(with_constant), fit_logistic_regression(x, y, l2_strengths=[1.0]).scores(x)
    )


def test_the_split_is_stratified_and_seeded():
    labels = np.repeat([0, 1, 2], [40, 10, 2])
    train, held_out = stratified_split(labels, 0.25, seed=3)
    assert np.bincount(labels[held_out]).tolist() == [10, 2, 1]
    assert sorted([*train, *held_out]) == list(range(52))
    again, other = stratified_split(labels, 0.25, seed=3), stratified_split(labels, 0.25, seed=4)
    np.testing.assert_array_equal(again[1], held_out)
    assert other[1].tolist() != held_out.tolist()
    assert np.bincount(labels[stratified_split(labels, 0.99, 0)[0]]).tolist() == [1, 1, 1]


def test_a_split_made_here_is_the_one_passed_in():
    x, y = clusters(60)
    train, held_out = stratified_split(y, 0.2, 5)
    inside = fit_logistic_regression(x, y, validation_fraction=0.2, seed=5, l2_strengths=[1.0, 0.1])
    outside = fit_logistic_regression(
        x[train], y[train], validation=(x[held_out], y[held_out]), l2_strengths=[1.0, 0.1]
    )
    assert inside.path == outside.path
    np.testing.assert_array_equal(inside.weights, outside.weights)


@pytest.mark.parametrize("hidden", ["sklearn", "sklearn.linear_model"])
def test_a_missing_scikit_learn_is_named(monkeypatch, hidden):
    monkeypatch.setitem(sys.modules, hidden, None)
    if hidden == "sklearn":
        monkeypatch.delitem(sys.modules, "sklearn.linear_model")
    with pytest.raises(InputError, match="pip install scikit-learn"):
        fit_logistic_regression(*clusters(30), l2_strengths=[1.0])


X, Y = clusters(30)


@pytest.mark.parametrize(
    "change,message",
    [
        ({"labels": Y[:-1]}, "29 for 30 examples"),
        ({"labels": Y * 2}, "none of class 1"),
        ({"labels": Y * 0}, "at least two classes"),
        ({"labels": Y - 1}, "without a label"),
        ({"labels": np.append(np.zeros(29, int), 1)}, "1 of class 1"),
        ({"features": np.where(X > 1, np.nan, X)}, "`features` must be finite"),
        ({"validation": (X[:, :2], Y)}, "the 4 dimensions"),
        ({"validation": (X, Y + 1)}, "`validation labels` must be below the number of classes, 3. Received: 3"),
        ({"validation": (np.full_like(X, np.inf), Y)}, "`validation features` must be finite"),
        ({"num_classes": 4}, "none of class 3"),
        ({"num_classes": 2}, "below the number of classes, 2"),
        ({"metric": lambda predictions, labels: math.nan}, "`metric` must give a finite number"),
        ({"validation": (X, Y[:3])}, "`validation labels` must have one entry"),
        ({"validation_fraction": 1.0}, "`validation_fraction` must be > 0 and < 1"),
        ({"l2_strengths": []}, "must not be empty"),
        ({"l2_strengths": [1.0, 0.0]}, "`l2_strengths` must be > 0"),
        ({"max_iterations": 0}, "`max_iterations` must be >= 1"),
        ({"tolerance": 0}, "`tolerance` must be > 0"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"features": X, "labels": Y, "l2_strengths": [1.0]}
    with pytest.raises(InputError, match=message):
        fit_logistic_regression(**{**arguments, **change})


def test_features_of_another_width_are_named_when_predicting():
    result = fit_logistic_regression(X, Y, l2_strengths=[1.0])
    with pytest.raises(InputError, match="the 4 dimensions of the training features"):
        result.predict(X[:, :3])
