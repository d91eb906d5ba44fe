from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from sklearn.preprocessing import normalize

from tf_simclr.errors import InputError
from tf_simclr.evaluate.measures import health as module
from tf_simclr.evaluate.measures.health import (
    Health,
    alignment,
    collapse_warning,
    contrastive_task,
    effective_rank,
    feature_std,
    representation_health,
    uniformity,
)


def features(rows=37, dimensions=6, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, dimensions)).astype(np.float32)


@pytest.fixture(params=[4, 1024])
def block_rows(request, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_ROWS", request.param)
    return request.param


def test_alignment_equals_numpy(block_rows):
    a, b = features(), features(seed=1)
    expected = np.mean(np.sum((normalize(a) - normalize(b)) ** 2, axis=1))
    assert alignment(a, b) == pytest.approx(expected)


def test_alignment_by_hand():
    """One pair alike up to its length, one opposite, one at a right angle: 0, 4 and 2."""
    assert alignment([[1, 0], [1, 0], [0, 2]], [[3, 0], [-2, 0], [5, 0]]) == pytest.approx(2.0)


@pytest.mark.parametrize("rows", [1, 5, 36, 37, 1000])
@pytest.mark.parametrize("t", [0.5, 2.0])
def test_uniformity_equals_scipy_in_blocks_of_any_size(monkeypatch, rows, t):
    monkeypatch.setattr(module, "_BLOCK_ROWS", rows)
    f = features()
    expected = np.log(np.mean(np.exp(-t * pdist(normalize(f.astype(np.float64)), "sqeuclidean"))))
    assert uniformity(f, t=t) == pytest.approx(expected)


def test_uniformity_by_hand():
    """Two opposite points: exp(-2 * 4). Three on the axes: all pairs at squared distance 2. All alike: 0."""
    assert uniformity([[1, 0], [-3, 0]]) == pytest.approx(-8.0)
    assert uniformity(np.eye(3)) == pytest.approx(-4.0)
    assert uniformity(np.ones([5, 3])) == pytest.approx(0.0, abs=1e-12)


def test_feature_std_equals_numpy(block_rows):
    f = features()
    np.testing.assert_allclose(feature_std(f), normalize(f.astype(np.float64)).std(axis=0), rtol=1e-9)


def test_feature_std_by_hand():
    np.testing.assert_allclose(feature_std([[2, 0], [0, 5], [1, 0], [0, 1]]), [0.5, 0.5])
    np.testing.assert_allclose(feature_std([[1.0, 1.0], [7.0, 7.0]]), [0, 0], atol=1e-15)


def test_feature_std_of_directions_drawn_evenly_is_one_over_the_root_of_d():
    np.testing.assert_allclose(feature_std(features(20_000, 16)), 0.25, rtol=0.05)


def test_feature_std_sees_a_deviation_far_below_the_mean():
    f = np.ones([50, 2])
    f[:, 1] += np.where(np.arange(50) % 2, 1e-9, -1e-9)
    assert feature_std(f)[1] == pytest.approx(1e-9 / (2 * math.sqrt(2)), rel=1e-3)


@pytest.mark.parametrize("rows,dimensions", [(37, 6), (6, 37), (8, 8), (1, 3)])
@pytest.mark.parametrize("centre", [True, False])
def test_effective_rank_equals_the_definition(rows, dimensions, centre, block_rows):
    f = features(rows, dimensions).astype(np.float64) + 3
    values = np.linalg.svd(f - f.mean(axis=0) if centre else f, compute_uv=False)
    values = values[values > 1e-10]
    p = values / values.sum()
    expected = np.exp(-np.sum(p * np.log(p))) if p.size else 0.0
    assert effective_rank(f, centre=centre) == pytest.approx(expected)


def test_effective_rank_by_hand():
    """Singular values 3 and 1: shares 3/4 and 1/4. Equal ones: their number. None: 0."""
    expected = math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert effective_rank([[3, 0, 0], [0, 1, 0]], centre=False) == pytest.approx(expected)
    assert effective_rank(7 * np.eye(5), centre=False) == pytest.approx(5.0)
    assert effective_rank(7 * np.eye(5)) == pytest.approx(4.0)  # one direction is the mean's
    assert effective_rank(np.zeros([4, 3])) == 0.0


def test_equal_rows_have_no_rank_but_that_of_their_mean():
    f = np.tile(math.pi * features(1, 9).astype(np.float64), (300, 1))  # of which the mean is not exact
    assert effective_rank(f) == 0.0
    assert effective_rank(f, centre=False) == pytest.approx(1.0)


def naive_task(z_a, z_b, tau):
    """Loss, accuracy and entropy anchor by anchor, in float64."""
    z = normalize(np.concatenate([z_a, z_b]).astype(np.float64))
    n, rows = len(z_a), []
    for i in range(2 * n):
        others = [k for k in range(2 * n) if k != i]
        scores = z[others] @ z[i] / tau
        p = np.exp(scores) / np.exp(scores).sum()
        positive = others.index((i + n) % (2 * n))
        rows.append((-np.log(p[positive]), np.argmax(p) == positive, -np.sum(p * np.log(p))))
    return np.mean(rows, axis=0)


@pytest.mark.parametrize("batch_size", [None, 12, 4, 1])
def test_contrastive_task_equals_the_paper_anchor_by_anchor(batch_size):
    z_a = features(12)
    z_b = z_a + 0.7 * features(12, seed=1)
    size = batch_size or 12
    parts = [naive_task(z_a[i : i + size], z_b[i : i + size], 0.5) for i in range(0, 12, size)]
    got = contrastive_task(z_a, z_b, temperature=0.5, batch_size=batch_size)
    np.testing.assert_allclose([got.loss, got.accuracy, got.entropy], np.mean(parts, axis=0), rtol=1e-5, atol=1e-6)
    assert got.candidates == 2 * size - 1


def test_contrastive_task_by_hand():
    """Two examples on orthogonal axes, tau = 1: every anchor sees cosines 1, 0, 0."""
    got = contrastive_task([[2, 0], [0, 3]], [[1, 0], [0, 1]], temperature=1.0)
    assert got.loss == pytest.approx(math.log((math.e + 2) / math.e), rel=1e-6)
    assert (got.accuracy, got.candidates) == (1.0, 3)


def test_health_puts_the_parts_together():
    f = features()
    f[5] = 0
    got = representation_health(f)
    assert got == Health(
        examples=37,
        dimensions=6,
        zero_rows=1 / 37,
        uniformity=uniformity(f),
        std_ratio=pytest.approx(math.sqrt(np.mean(feature_std(f) ** 2)) / (1 / math.sqrt(6))),
        effective_rank=effective_rank(f),
    )


def test_features_in_all_directions_are_healthy():
    got = representation_health(features(500, 64))
    assert got.std_ratio == pytest.approx(1.0, rel=0.05)
    assert collapse_warning(got) is None


def test_the_square_of_the_std_ratio_is_one_minus_the_mean_cosine():
    f = features() + 1
    unit = normalize(f.astype(np.float64))
    assert representation_health(f).std_ratio ** 2 == pytest.approx(1 - np.mean(unit @ unit.T))


def test_spread_in_few_dimensions_is_not_called_alike():
    f = np.zeros([100, 2048])
    f[np.arange(100), np.arange(100) % 2] = 1
    assert "dimensional collapse" in collapse_warning(representation_health(f))


def test_one_direction_for_all_is_collapse():
    assert "nearly the same features" in collapse_warning(representation_health(np.ones([40, 8])))
    assert "nearly the same features" in collapse_warning(representation_health(10 + 0.1 * features(40, 8)))


def test_few_directions_are_dimensional_collapse():
    line = features(200, 1) @ features(1, 64, seed=1)
    assert "use 1.0 of 64 possible directions" in collapse_warning(representation_health(line))


def test_features_of_zeros_are_dead():
    f = features(50, 8)
    f[:3] = 0
    assert "6.0% of the examples" in collapse_warning(representation_health(f))
    assert "100.0%" in collapse_warning(representation_health(np.zeros([5, 3])))


@pytest.mark.parametrize(
    "change,warns",
    [
        ({"zero_rows": 0.01}, False),
        ({"zero_rows": 0.011}, True),
        ({"std_ratio": 0.1}, False),
        ({"std_ratio": 0.099}, True),
        ({"effective_rank": 10.24}, False),
        ({"effective_rank": 10.23}, True),
        ({"examples": 51, "effective_rank": 2.0}, False),
        ({"examples": 51, "effective_rank": 1.9}, True),
        ({"examples": 3, "effective_rank": 1.5}, False),
        ({"dimensions": 1, "effective_rank": 1.0}, False),
    ],
)
def test_thresholds(change, warns):
    healthy = Health(
        examples=10_000, dimensions=512, zero_rows=0.0, uniformity=-2.0, std_ratio=0.9, effective_rank=100.0
    )
    assert collapse_warning(healthy) is None
    assert (collapse_warning(replace(healthy, **change)) is not None) == warns


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda: alignment(features(3), features(4)), "same shape"),
        (lambda: alignment(features(2), [[1, 2, 3, 4, 5, np.nan]] * 2), "`features_b` must be finite"),
        (lambda: uniformity(features(1)), "at least 2 row"),
        (lambda: uniformity(features(), t=0), "`t` must be > 0"),
        (lambda: uniformity(features(), t=1000), "<= 100"),
        (lambda: feature_std(features(1)), "at least 2 row"),
        (lambda: effective_rank([[np.inf]]), "must be finite"),
        (lambda: representation_health([[0.0, np.nan], [1.0, 1.0]]), "row 0"),
        (lambda: contrastive_task(features(6), features(6), batch_size=4), "first 4 pairs"),
        (lambda: contrastive_task(features(6), features(6), batch_size=0), "`batch_size` must be >= 1"),
        (lambda: contrastive_task(features(6), features(6), batch_size=7), "<= 6"),
        (lambda: contrastive_task(features(6), features(6), temperature=0), "`temperature` must be > 0"),
        (lambda: contrastive_task(features(6), features(6, 5)), "same shape"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
