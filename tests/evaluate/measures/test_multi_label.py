from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tf_simclr.data.source import MultiLabel
from tf_simclr.errors import InputError
from tf_simclr.evaluate.measures import strengths as strengths_module
from tf_simclr.evaluate.measures.metrics import mean_average_precision
from tf_simclr.evaluate.measures.multi_label import fit_one_vs_rest, multi_label_split
from tf_simclr.evaluate.measures.strengths import L2_STRENGTHS
from tf_simclr.evaluate.records import PRETRAINED, Record, measured_multi_label


def images(rows, classes=3, dimensions=4, seed=0, ignored_share=0.0):
    """Features float64 [rows, dimensions] and targets that depend on them, with noise; the last class is the rarest."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(100).normal(size=(dimensions, classes))
    x = rng.normal(size=(rows, dimensions))
    positives = x @ directions + rng.normal(size=(rows, classes)) > np.linspace(0, 1.5, classes)
    return x, MultiLabel(positives, ~positives & (rng.random(positives.shape) < ignored_share))


def standardised(x, like=None):
    like = x if like is None else like
    return (x - like.mean(axis=0)) / like.std(axis=0)


def clean(positives):
    positives = np.asarray(positives, bool)
    return MultiLabel(positives, np.zeros_like(positives))


def gradient_size(weights, bias, x, y, l2):
    """Largest entry of the gradient, by hand: of log(1 + exp(-y u)) by u it is sigmoid(u) - [y = 1]."""
    residual = 1 / (1 + np.exp(-(x @ weights + bias))) - y
    return max(np.abs(x.T @ residual + l2 * weights).max(), abs(residual.sum()))


# ---- Fits ----


@pytest.mark.parametrize("l2", [0.1, 10.0])
def test_each_class_is_the_minimum_of_its_own_objective_over_the_images_that_count(l2):
    x, targets = images(80, ignored_share=0.2)
    x = standardised(x)  # over all images, as the last fit does
    parts = np.arange(50), np.arange(50, 80)
    result = fit_one_vs_rest(
        x[parts[0]], targets.rows(parts[0]), validation=(x[parts[1]], targets.rows(parts[1])), l2_strengths=[l2],
        tolerance=1e-9,
    )  # fmt: skip
    assert targets.ignored.any(axis=0).all()
    for label in range(3):
        counts, shown = ~targets.ignored[:, label], targets.positives[:, label].astype(float)
        fitted = result.weights[label], result.biases[label]
        assert gradient_size(*fitted, x[counts], shown[counts], l2) < 1e-5
        assert gradient_size(*fitted, x, shown, l2) > 1e-2  # with the ignored ones as negatives it is not
        assert gradient_size(*fitted, x[counts], shown[counts], 2 * l2) > 1e-2  # nor of another strength


def test_agrees_with_scikit_learns_one_vs_rest_strength_by_strength(monkeypatch):
    x, targets = images(120, 4, 5)
    x_val, val = images(80, 4, 5, seed=1)
    x_test, _ = images(200, 4, 5, seed=2)
    strengths = np.logspace(-3, 3, 5)

    def alone(l2, features, positives):
        one = OneVsRestClassifier(LogisticRegression(C=1 / l2, max_iter=1000, tol=1e-8))
        return make_pipeline(StandardScaler(), one).fit(features, positives)

    monkeypatch.setattr(strengths_module, "WORSE_IN_A_ROW", len(strengths))  # none is left out
    result = fit_one_vs_rest(x, targets, validation=(x_val, val), l2_strengths=strengths, tolerance=1e-10)
    expected = {
        l2: mean_average_precision(alone(l2, x, targets.positives).decision_function(x_val), val.positives)
        for l2 in sorted(strengths, reverse=True)
    }
    assert {fit.l2: fit.validation for fit in result.path} == pytest.approx(expected, abs=1e-9)
    assert result.l2 == max(expected, key=lambda l2: expected[l2])
    both = np.concatenate([x, x_val]), np.concatenate([targets.positives, val.positives])
    np.testing.assert_allclose(result.scores(x_test), alone(result.l2, *both).decision_function(x_test), atol=1e-4)


def test_a_class_with_ignored_images_agrees_with_scikit_learn_without_them():
    x, targets = images(100, ignored_share=0.3)
    x_val, val = images(60, seed=1, ignored_share=0.3)
    result = fit_one_vs_rest(x, targets, validation=(x_val, val), l2_strengths=[1.0], tolerance=1e-8)
    for label in range(3):
        xs, positives = np.concatenate([x, x_val]), np.concatenate([targets.positives, val.positives])[:, label]
        counts = ~np.concatenate([targets.ignored, val.ignored])[:, label]
        single = LogisticRegression(C=1.0, max_iter=1000, tol=1e-8)
        single.fit(standardised(xs)[counts], positives[counts])  # standardised over all images, ignored ones too
        np.testing.assert_allclose(result.weights[label] * xs.std(axis=0), single.coef_[0], atol=1e-4)


def test_what_ignored_images_look_like_changes_nothing():
    """Exchanged, they would pull the weights if they counted: those of the class that ignores them stay."""
    x, targets = images(60)
    positives, ignored = targets.positives.copy(), np.zeros_like(targets.positives)
    positives[:10, 0], ignored[:10, 0] = False, True
    moved = x.copy()
    moved[:10] = moved[:10][::-1]  # which leaves mean and deviation of the features as they are
    options = {"validation": images(40, seed=1), "l2_strengths": [1.0], "tolerance": 1e-8}
    here = fit_one_vs_rest(x, MultiLabel(positives, ignored), **options)
    there = fit_one_vs_rest(moved, MultiLabel(positives, ignored), **options)
    np.testing.assert_allclose(here.weights[0], there.weights[0], atol=1e-5)
    assert np.abs(here.weights[1:] - there.weights[1:]).max() > 1e-2


def test_scale_and_shift_of_features_change_nothing():
    x, targets = images(60)
    scale = np.array([1e-3, 1, 1e3, 7])
    options = {"l2_strengths": [1.0, 0.1], "tolerance": 1e-9}
    plain = fit_one_vs_rest(x, targets, **options)
    moved = fit_one_vs_rest(x * scale + 5 * scale, targets, **options)
    np.testing.assert_allclose(moved.scores(x * scale + 5 * scale), plain.scores(x), atol=1e-4)


def test_classes_do_not_depend_on_each_other_but_for_the_strength():
    x, targets = images(60)
    x_val, val = images(40, seed=1)
    order = [2, 0, 1]
    options = {"l2_strengths": [1.0, 0.1]}
    plain = fit_one_vs_rest(x, targets, validation=(x_val, val), **options)
    swapped = fit_one_vs_rest(
        x, clean(targets.positives[:, order]), validation=(x_val, clean(val.positives[:, order])), **options
    )
    np.testing.assert_array_equal(swapped.weights, plain.weights[order])
    assert swapped.l2 == plain.l2


def test_the_path_goes_from_strong_to_weak_and_says_what_converged():
    x, targets = images(80, dimensions=8)
    received = []
    good = fit_one_vs_rest(x, targets, l2_strengths=[0.01, 100.0, 1.0], progress=received.append)
    assert [fit.l2 for fit in good.path] == [100.0, 1.0, 0.01] and received == list(good.path)
    assert good.converged and all(fit.converged and 0 <= fit.validation <= 1 for fit in good.path)
    cut = fit_one_vs_rest(x, targets, l2_strengths=[1e-6], max_iterations=2)
    assert (cut.path[0].converged, cut.path[0].iterations, cut.converged, cut.iterations) == (False, 2, False, 2)


def test_a_fit_starts_from_the_one_before():
    x, targets = images(80, dimensions=8)
    cold = fit_one_vs_rest(x, targets, l2_strengths=[0.01]).path[-1]
    warm = fit_one_vs_rest(x, targets, l2_strengths=[0.0101, 0.01]).path[-1]
    assert warm.iterations < cold.iterations


def test_of_equally_good_strengths_that_of_the_lowest_cross_entropy_is_taken():
    x = np.tile(np.eye(3), (8, 1))
    result = fit_one_vs_rest(x, clean(x), l2_strengths=[1e-3, 1e-1, 1e-2])
    assert {fit.validation for fit in result.path} == {1.0} and result.l2 == 1e-3


def test_the_default_strengths_are_the_papers_and_those_not_tried_are_named(monkeypatch):
    x, targets = images(200, dimensions=20)
    result = fit_one_vs_rest(x, targets)
    assert [*(fit.l2 for fit in result.path), *result.not_tried] == sorted(L2_STRENGTHS, reverse=True)
    assert len(result.not_tried) > 5
    monkeypatch.setattr(strengths_module, "WORSE_IN_A_ROW", 45)
    whole = fit_one_vs_rest(x, targets)
    assert len(whole.path) == 45 and whole.path[: len(result.path)] == result.path and whole.l2 == result.l2


def test_the_cross_entropy_of_validation_leaves_ignored_images_out():
    x, targets = images(100, ignored_share=0.3)
    x_val, val = images(60, seed=1, ignored_share=0.3)
    fit = fit_one_vs_rest(x, targets, validation=(x_val, val), l2_strengths=[1.0], tolerance=1e-10).path[0]
    losses = []
    for label in range(3):
        counts = ~targets.ignored[:, label]
        single = LogisticRegression(C=1.0, max_iter=1000, tol=1e-8)
        single.fit(standardised(x)[counts], targets.positives[counts, label])
        p = single.predict_proba(standardised(x_val, x))[:, 1]
        p = np.where(val.positives[:, label], p, 1 - p)[~val.ignored[:, label]]
        losses += list(-np.log(p))
    assert fit.validation_loss == pytest.approx(np.mean(losses), rel=1e-4)


def test_a_split_made_here_is_the_one_passed_in():
    x, targets = images(80)
    train, held_out = multi_label_split(targets, 0.2, 5)
    options = {"l2_strengths": [1.0, 0.1]}
    inside = fit_one_vs_rest(x, targets, validation_fraction=0.2, seed=5, **options)
    parts = {"validation": (x[held_out], targets.rows(held_out))}
    outside = fit_one_vs_rest(x[train], targets.rows(train), **parts, **options)
    assert inside.path == outside.path
    np.testing.assert_array_equal(inside.weights, outside.weights)


# ---- The hold-out ----


def splittable(positives):
    """Whether some of all the ways to part the images leaves every class on both sides."""
    ways = (np.array(way, bool) for way in itertools.product([0, 1], repeat=len(positives)))
    return any(all(positives[part].any(axis=0).all() for part in (way, ~way)) for way in ways)


@pytest.mark.parametrize("seed", range(40))
def test_a_split_is_found_wherever_there_is_one(seed):
    rng = np.random.default_rng(seed)
    positives = rng.random((rng.integers(2, 9), rng.integers(1, 6))) < rng.choice([0.2, 0.4, 0.6])
    if splittable(positives):
        train, held_out = multi_label_split(clean(positives), 0.1, seed)
        assert sorted([*train, *held_out]) == list(range(len(positives)))
        assert positives[train].any(axis=0).all() and positives[held_out].any(axis=0).all()
    else:
        with pytest.raises(InputError, match="Add images, or pass a validation split"):
            multi_label_split(clean(positives), 0.1, seed)


def test_the_split_keeps_the_share_of_every_class_and_of_images_without_one():
    _, targets = images(1000, classes=6)
    bare = ~targets.positives.any(axis=1)
    train, held_out = multi_label_split(targets, 0.1, seed=3)
    shares = targets.positives[held_out].sum(axis=0) / targets.positives.sum(axis=0)
    np.testing.assert_allclose(shares, 0.1, atol=0.03)
    assert len(held_out) == pytest.approx(100, abs=15)
    assert 0 < bare[held_out].sum() < bare.sum()
    assert train.tolist() == sorted(train) and held_out.tolist() == sorted(held_out)
    np.testing.assert_array_equal(multi_label_split(targets, 0.1, seed=3)[1], held_out)
    assert multi_label_split(targets, 0.1, seed=4)[1].tolist() != held_out.tolist()


# ---- Errors ----

X, TARGETS = images(30)
NONE_OF_1 = TARGETS.positives & np.array([True, False, True])


@pytest.mark.parametrize(
    "change,message",
    [
        ({"features": X[:-1]}, "`targets` must have one row for each of 29 images"),
        ({"features": np.where(X > 1, np.nan, X)}, "`features` must be finite"),
        ({"validation": (X[:, :2], TARGETS)}, "the 4 dimensions"),
        ({"validation": (X, clean(TARGETS.positives[:, :2]))}, "`validation targets`.*3 classes"),
        ({"validation": (X[:3], TARGETS)}, "`validation targets` must have one row for each of 3 images"),
        ({"validation": (X, clean(NONE_OF_1))}, "shown by a validation image. Received: none of class 1"),
        ({"targets": clean(NONE_OF_1), "validation": (X, TARGETS)}, "by a training image. Received: none of class 1"),
        ({"targets": clean(NONE_OF_1)}, "0 of class 1"),
        ({"targets": clean(TARGETS.positives | np.array([False, False, True]))}, "class 2 in all that count"),
        ({"targets": MultiLabel(TARGETS.positives, ~TARGETS.positives)}, "class 0 in all that count"),
        ({"targets": clean(np.zeros([30, 0])), "validation": (X, clean(np.zeros([30, 0])))}, "one column a class"),
        ({"validation_fraction": 0.0}, "`validation_fraction` must be > 0 and < 1"),
        ({"l2_strengths": []}, "must not be empty"),
        ({"l2_strengths": [1.0, 0.0]}, "`l2_strengths` must be > 0"),
        ({"max_iterations": 0}, "`max_iterations` must be >= 1"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"features": X, "targets": TARGETS, "l2_strengths": [1.0]}
    with pytest.raises(InputError, match=message) as error:
        fit_one_vs_rest(**{**arguments, **change})
    assert "\n" not in str(error.value)


def test_features_of_another_width_are_named_when_scoring():
    result = fit_one_vs_rest(X, TARGETS, l2_strengths=[1.0])
    with pytest.raises(InputError, match="the 4 dimensions of the training features"):
        result.scores(X[:, :3])


# ---- The record ----


def test_a_cell_has_the_map_the_precision_of_each_class_and_no_confusion():
    """Class 0: ranked right. Class 1: nobody shows it. Class 2: the ignored first place does not count, then right."""
    positives = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0]], bool)
    ignored = np.array([[0, 0, 1], [0, 0, 0], [0, 0, 0]], bool)
    scores = np.array([[3.0, 0.0, 9.0], [2.0, 0.0, 5.0], [1.0, 0.0, 1.0]])
    found = measured_multi_label(scores, MultiLabel(positives, ignored), {"l2": 1.0})
    assert {name: found[name] for name in ("metrics", "per_class", "confusion", "details")} == {
        "metrics": {"map_11_point": 1.0},
        "per_class": [1.0, None, 1.0],
        "confusion": None,
        "details": {"l2": 1.0},
    }
    wrong = measured_multi_label(-scores, MultiLabel(positives, ignored), {})
    assert wrong["per_class"] == [pytest.approx(1 / 3), None, pytest.approx(1 / 2)]
    assert wrong["metrics"]["map_11_point"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert Record("logreg", PRETRAINED, "final_avg_pool", "", 0, **wrong).to_json()["metrics"] == wrong["metrics"]
