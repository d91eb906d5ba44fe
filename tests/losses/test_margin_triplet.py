from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.losses.pairs import finite_differences, mean_over_anchors, semi_hard, value_and_gradient, views
from tf_simclr.losses.margin_triplet import margin_triplet

# The similarity is the product: 0.8, 0.5 and -0.3 for every first view, one number for each second view.
PRODUCTS = np.array([[[1.0], [1.0], [1.0]], [[0.8], [0.5], [-0.3]]], np.float32)


def naive(z, margin, norm, mined=False):
    """Table 2 of the paper, pair by pair, in float64."""

    def anchor_loss(positive, negatives):
        if mined:
            negatives = semi_hard(positive, negatives, margin)
        return sum(max(negative - positive + margin, 0.0) for negative in negatives) / max(len(negatives), 1)

    return mean_over_anchors(anchor_loss, z, norm)


@pytest.mark.parametrize("n,norm,mined", list(itertools.product([1, 2, 5, 16], [True, False], [True, False])))
@pytest.mark.parametrize("margin", [0.1, 0.6])
def test_equals_the_paper_pair_by_pair(n, norm, mined, margin):
    z = views(n, seed=n)
    got = margin_triplet(*map(tf.constant, z), margin=margin, hidden_norm=norm, semi_hard=mined)
    np.testing.assert_allclose(got.loss, naive(z, margin, norm, mined), rtol=2e-5, atol=1e-6)


def test_by_hand():
    """First views: (0.1 + 0) / 2, (0.7 + 0) / 2, (1.5 + 1.2) / 2; second views: positive and negatives alike, 0.4."""
    got = margin_triplet(*PRODUCTS, margin=0.4, hidden_norm=False)
    assert float(got.loss) == pytest.approx((0.05 + 0.35 + 1.35 + 3 * 0.4) / 6)


@pytest.mark.parametrize("margin,expected", [(0.2, 0.0), (0.4, 0.1), (1.0, 0.7 + 0.2)])
def test_semi_hard_by_hand(margin, expected):
    """0.5 is 0.3 farther than 0.8, and -0.3 is 0.8 farther than 0.5; no other negative is farther than its positive."""
    got = margin_triplet(*PRODUCTS, margin=margin, hidden_norm=False, semi_hard=True)
    assert float(got.loss) == pytest.approx(expected / 6, abs=1e-7)


def test_the_gradient_of_a_semi_hard_negative_by_hand():
    """One of six anchors counts, the first: its loss is 1 x 0.5 - 1 x 0.8 + 0.4."""
    loss = functools.partial(margin_triplet, margin=0.4, hidden_norm=False, semi_hard=True)
    _, gradient = value_and_gradient(loss, PRODUCTS)
    np.testing.assert_allclose(6 * gradient[..., 0], [[0.5 - 0.8, 0, 0], [-1, 1, 0]], atol=1e-6)


def test_equally_near_negatives_share_the_gradient():
    z = np.array([[[1.0], [1.0], [1.0]], [[0.8], [0.5], [0.5]]], np.float32)
    loss = functools.partial(margin_triplet, margin=0.4, hidden_norm=False, semi_hard=True)
    out, gradient = value_and_gradient(loss, z)
    assert float(out.loss) == pytest.approx(0.1 / 6)
    np.testing.assert_allclose(6 * gradient[..., 0], [[0.5 - 0.8, 0, 0], [-1, 0.5, 0.5]], atol=1e-6)


@pytest.mark.parametrize("mined", [True, False])
def test_gradient_equals_finite_differences(mined):
    z = views(4, d=3, seed=3)
    _, gradient = value_and_gradient(functools.partial(margin_triplet, margin=0.5, semi_hard=mined), z)
    assert np.abs(gradient).max() > 0.01
    np.testing.assert_allclose(gradient, finite_differences(lambda x: naive(x, 0.5, True, mined), z), atol=2e-5)


def test_without_a_semi_hard_negative_loss_and_gradient_are_zero():
    """Collapsed projections: no negative is farther than the positive; unmined, all are at the margin."""
    z = np.ones([2, 5, 3], np.float32)
    out, gradient = value_and_gradient(functools.partial(margin_triplet, semi_hard=True), z)
    assert float(out.loss) == 0 and not np.any(gradient)
    assert float(margin_triplet(*z, margin=0.3).loss) == pytest.approx(0.3)


def test_chance_is_at_least_the_margin():
    z_a, z_b = np.random.default_rng(0).normal(size=(2, 64, 8)).astype(np.float32)
    assert 0.4 < float(margin_triplet(z_a, z_b, margin=0.4).loss) < 0.6


def test_the_temperature_only_moves_the_entropy():
    z = views(6)
    hot, cold = (margin_triplet(*z, temperature=tau) for tau in (1.0, 0.1))
    assert float(hot.loss) == float(cold.loss) and float(hot.entropy) > float(cold.entropy)
