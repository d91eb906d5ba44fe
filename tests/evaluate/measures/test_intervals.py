"""Intervals against scipy, against a bootstrap that is written out, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tf_simclr.errors import InputError
from tf_simclr.evaluate.measures import metrics
from tf_simclr.evaluate.measures.intervals import map_interval, mean_per_class_interval, wilson


@pytest.mark.parametrize("examples", [1, 2, 10, 448, 50_000])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_wilson_is_scipys(examples, share):
    hits = round(share * examples)
    theirs = stats.binomtest(hits, examples).proportion_ci(0.95, method="wilson")
    assert wilson(hits / examples, examples) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_by_hand():
    """No hit of n: the lower end is 0, the upper one z^2 / (n + z^2); by symmetry for n of n."""
    z2 = 1.959963984540054**2
    assert wilson(0.0, 10) == pytest.approx((0.0, z2 / (10 + z2)), abs=1e-12)
    assert wilson(1.0, 10) == pytest.approx((10 / (10 + z2), 1.0), abs=1e-12)
    low, high = wilson(0.5, 1000)
    assert (low + high) / 2 == pytest.approx(0.5) and high - low == pytest.approx(2 * 0.031, abs=1e-3)


@pytest.mark.parametrize("bad", [(-0.1, 5), (1.1, 5), (float("nan"), 5), (0.5, 0)])
def test_wilson_refuses(bad):
    with pytest.raises(InputError, match="Received"):
        wilson(*bad)


def test_mean_per_class_against_images_that_are_drawn_one_by_one():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), (40, 25, 12, 60))
    predictions = np.where(rng.random(len(labels)) < 0.7, labels, rng.integers(0, 4, len(labels)))
    confusion = metrics.confusion_matrix(predictions, labels, 5)  # the fifth class has no image
    values = []
    for _ in range(4000):
        rows = np.concatenate([rng.choice(np.flatnonzero(labels == c), (labels == c).sum()) for c in range(4)])
        values.append(metrics.mean_per_class_accuracy(predictions[rows], labels[rows], 4))
    low, high = mean_per_class_interval(confusion)
    assert (low, high) == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.02)
    assert low < metrics.mean_per_class_accuracy(predictions, labels, 4) < high


def test_mean_per_class_of_equal_classes_is_about_that_of_the_accuracy():
    confusion = np.full((10, 10), 3) + 40 * np.eye(10, dtype=int)
    accuracy = np.trace(confusion) / confusion.sum()
    low, high = mean_per_class_interval(confusion)
    assert (low, high) == pytest.approx(wilson(accuracy, confusion.sum()), abs=0.01)
    with pytest.raises(InputError, match="an image at least"):
        mean_per_class_interval(np.zeros((2, 2), int))


def test_a_mean_of_100_per_cent_is_not_certain():
    """Of equal classes without a miss it is Wilson's interval of all examples, by hand n / (n + z^2)."""
    assert mean_per_class_interval(np.diag([5, 5, 5])) == pytest.approx(wilson(1.0, 15), abs=1e-12)
    assert mean_per_class_interval(np.diag([3, 4]))[0] == pytest.approx(wilson(1.0, 4 / (1 / 3 + 1 / 4))[0])
    one_miss = np.diag([2, 2, 2, 2])
    one_miss[0] = [1, 1, 0, 0]
    low, high = mean_per_class_interval(one_miss)
    assert low < 0.65 and high > 0.95


@pytest.mark.parametrize(("shares", "images"), [((0.9,) * 10, 5), ((0.5, 0.8, 0.95), 20), ((0.1, 0.9), 8)])
def test_the_mean_per_class_is_covered_as_often_as_it_says(shares, images):
    rng, inside = np.random.default_rng(3), 0
    for _ in range(1000):
        hits = rng.binomial(images, shares)
        confusion = np.zeros((len(shares), len(shares)), int)
        np.fill_diagonal(confusion, hits)
        confusion[np.arange(len(shares)), (np.arange(len(shares)) + 1) % len(shares)] = images - hits
        low, high = mean_per_class_interval(confusion)
        inside += low <= np.mean(shares) <= high
    assert 0.92 <= inside / 1000 <= 0.995


def test_map_against_images_that_are_drawn_one_by_one():
    rng = np.random.default_rng(1)
    positives = rng.random((80, 3)) < (0.5, 0.2, 0.1)
    positives[:3] = True
    ignored = ~positives & (rng.random((80, 3)) < 0.1)
    scores = np.round(positives + rng.normal(size=(80, 3)), 1)  # with ties
    values = []
    for _ in range(1500):
        rows = rng.integers(0, 80, 80)
        found = metrics.average_precisions(scores[rows], positives[rows], ignored=ignored[rows], missing="exclude")
        values.append(np.mean(list(found.values())))
    low, high = map_interval(scores, positives, ignored=ignored, draws=1500)
    assert (low, high) == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.02)
    assert low < metrics.mean_average_precision(scores, positives, ignored=ignored) < high


def test_map_of_a_perfect_ranking_and_of_memory_that_is_small(monkeypatch):
    positives = np.eye(4, dtype=bool)[[0, 1, 2, 3, 0, 1]]
    assert map_interval(positives * 1.0, positives, draws=50) == (1.0, 1.0)
    scores = np.random.default_rng(2).normal(size=positives.shape)
    whole = map_interval(scores, positives, draws=50)
    monkeypatch.setattr("tf_simclr.evaluate.measures.intervals.MOST_CELLS", 1)
    assert map_interval(scores, positives, draws=50) == pytest.approx(whole, abs=0.2)
