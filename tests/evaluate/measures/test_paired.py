"""The permutation test and the interval of pairs: against all swaps, SciPy, plain resampling, and cases by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tf_simclr.errors import InputError
from tf_simclr.evaluate.measures import metrics
from tf_simclr.evaluate.measures.paired import compare_hits, compare_scores, exact_p_value

A = np.array([1, 1, 0, 0, 1, 0, 0, 1, 0, 0], float)
B = np.array([1, 0, 1, 1, 1, 1, 1, 1, 0, 1], float)
LABELS = np.array([3, 3, 3, 3, 3, 7, 7, 7, 9, 9])


def mean_per_class(hits, labels):
    return np.mean([hits[labels == label].mean() for label in np.unique(labels)])


def every_swap(statistic, a, b):
    """The share of all 2^n swaps that differ as much: the definition of the test."""
    observed, extreme = abs(statistic(b) - statistic(a)), []
    for swaps in itertools.product((False, True), repeat=len(a)):
        one, other = np.where(swaps, b, a), np.where(swaps, a, b)
        extreme.append(abs(statistic(other) - statistic(one)) >= observed - 1e-12)
    return np.mean(extreme)


def test_the_accuracy_is_exact():
    found = compare_hits(A, B)
    assert (found.a, found.b, found.difference) == pytest.approx((0.4, 0.8, 0.4))
    assert found.exact and found.p_value == pytest.approx(every_swap(np.mean, A, B))
    # By hand: of 6 that differ one is for A: 2 (1 + 6) / 2^6.
    assert found.p_value == pytest.approx(14 / 64)
    other = compare_hits(B, A)
    assert (other.difference, other.p_value) == pytest.approx((-0.4, 14 / 64))


@pytest.mark.parametrize("first,second", [(0, 0), (0, 1), (5, 5), (3, 11), (200, 260), (30_000, 31_000)])
def test_the_exact_p_value_is_a_binomial_one(first, second):
    stats = pytest.importorskip("scipy.stats")
    wanted = stats.binomtest(first, first + second, 0.5).pvalue if first + second else 1.0
    assert exact_p_value(first, second) == pytest.approx(wanted, rel=1e-8)
    assert exact_p_value(second, first) == exact_p_value(first, second)


@pytest.mark.parametrize("seeds", [1, 3])
def test_random_swaps_agree_with_all_of_them(seeds):
    rng = np.random.default_rng(seeds)
    a, b = ((rng.random((seeds, 10)) < share).mean(axis=0) for share in (0.4, 0.7))
    per_class = compare_hits(a, b, LABELS)
    assert not per_class.exact
    wanted = every_swap(lambda hits: mean_per_class(hits, LABELS), a, b)
    assert per_class.p_value == pytest.approx(wanted, abs=0.01)
    assert per_class.b - per_class.a == pytest.approx(mean_per_class(b, LABELS) - mean_per_class(a, LABELS))
    assert compare_hits(a, b).p_value == pytest.approx(every_swap(np.mean, a, b), abs=0.01)
    assert compare_hits(a, b, LABELS, seed=3) == compare_hits(a, b, LABELS, seed=3)


@pytest.mark.parametrize("labels", [None, LABELS])
def test_the_interval_is_that_of_images_drawn_again(labels):
    rng = np.random.default_rng(5)
    groups, values = np.zeros(10) if labels is None else labels, []
    for _ in range(4000):
        rows = rng.integers(0, 10, 10)
        values.append(mean_per_class(B[rows], groups[rows]) - mean_per_class(A[rows], groups[rows]))
    found = compare_hits(A, B, labels, draws=4000)
    assert found.interval == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.035)


def test_the_interval_of_many_images_is_the_normal_one():
    """Of paired differences: the root of their variance over n."""
    rng = np.random.default_rng(2)
    a = rng.random(5000) < 0.7
    b = np.where(rng.random(5000) < 0.9, a, rng.random(5000) < 0.8)
    gains = b.astype(float) - a
    half = 1.96 * gains.std() / np.sqrt(5000)
    low, high = compare_hits(a, b).interval
    assert (low, high) == pytest.approx((gains.mean() - half, gains.mean() + half), abs=0.1 * half)


def test_equal_answers_and_memory_that_is_small(monkeypatch):
    same = compare_hits(A, A, LABELS)
    assert (same.difference, same.interval, same.p_value) == (0, (0, 0), 1)
    monkeypatch.setattr("tf_simclr.evaluate.measures.paired.MOST_CELLS", 1)
    blocks = compare_hits(A, B, LABELS, swaps=3000, draws=300)
    monkeypatch.undo()
    whole = compare_hits(A, B, LABELS)
    assert blocks.p_value == pytest.approx(whole.p_value, abs=0.04)
    assert blocks.interval == pytest.approx(whole.interval, abs=0.1)


def mean_average_precision(scores, positives, ignored):
    return metrics.mean_average_precision(scores, positives, ignored=ignored, missing="exclude")


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_map_against_all_swaps_and_plain_resampling(seeds):
    rng = np.random.default_rng(1)
    positives = np.eye(2, dtype=bool)[[0, 1, 0, 1, 0, 1, 1, 0]]
    ignored = ~positives & (rng.random(positives.shape) < 0.1)
    a, b = ([rng.normal(size=(8, 2)) + far * positives for _ in range(seeds)] for far in (0.3, 1.5))

    def statistic(both):
        return np.mean([mean_average_precision(one, positives, ignored) for one in both])

    observed, extreme = statistic(b) - statistic(a), []
    for swaps in itertools.product((False, True), repeat=8):
        mask = np.array(swaps)[:, None]
        one, other = ([np.where(mask, y, x) for x, y in zip(*pair, strict=True)] for pair in ((a, b), (b, a)))
        extreme.append(abs(statistic(other) - statistic(one)) >= abs(observed) - 1e-12)
    found = compare_scores(a, b, positives, ignored=ignored, swaps=4000)
    assert (found.a, found.b, found.difference) == pytest.approx((statistic(a), statistic(b), observed))
    assert found.p_value == pytest.approx(np.mean(extreme), abs=0.03)
    values = []
    for _ in range(600):
        rows = rng.integers(0, 8, 8)
        if positives[rows].any():
            means = [
                np.mean([mean_average_precision(one[rows], positives[rows], ignored[rows]) for one in both])
                for both in (a, b)
            ]
            values.append(means[1] - means[0])
    assert found.interval == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.08)


@pytest.mark.parametrize("a,b,labels", [([], [], None), ([1, 0], [1], None), ([1, 0], [1, 1], [0])])
def test_what_does_not_match_is_refused(a, b, labels):
    with pytest.raises(InputError, match=r"a value for each of the same images\. Received: shapes"):
        compare_hits(a, b, labels)
