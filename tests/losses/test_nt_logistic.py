from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from tests.losses.pairs import finite_differences, mean_over_anchors, semi_hard, value_and_gradient, views
from tf_simclr.losses.nt_logistic import CHANCE_LEVEL, nt_logistic


def softplus(x):
    return math.log1p(math.exp(x))


def naive(z, tau, norm, margin=None):
    """Table 2 of the paper, pair by pair, in float64; with a margin, of semi-hard negatives."""

    def anchor_loss(positive, negatives):
        if margin is not None:
            negatives = semi_hard(positive, negatives, margin)
        total = softplus(-positive / tau)
        for negative in negatives:
            total += softplus(negative / tau) / len(negatives)
        return total

    return mean_over_anchors(anchor_loss, z, norm)


@pytest.mark.parametrize("n,tau,norm", list(itertools.product([1, 2, 5, 16], [0.2, 1.0], [True, False])))
@pytest.mark.parametrize("margin", [None, 0.1, 0.6])
def test_equals_the_paper_pair_by_pair(n, tau, norm, margin):
    z = views(n, seed=n)
    mining = {} if margin is None else {"semi_hard": True, "margin": margin}
    got = nt_logistic(*map(tf.constant, z), temperature=tau, hidden_norm=norm, **mining)
    np.testing.assert_allclose(got.loss, naive(z, tau, norm, margin), rtol=2e-5)


def test_by_hand():
    """Two images on orthogonal axes, both views alike, tau = 1: every anchor sees cosines 1 and 0."""
    z = tf.constant([[2.0, 0.0], [0.0, 3.0]])
    assert float(nt_logistic(z, z, temperature=1.0).loss) == pytest.approx(math.log(1 + math.exp(-1)) + math.log(2))


def test_semi_hard_by_hand():
    """The similarity is the product: 0.8, 0.5 and -0.3 for every first view, one number for each second view."""
    z_a, z_b = tf.ones([3, 1]), tf.constant([[0.8], [0.5], [-0.3]])
    mined = functools.partial(nt_logistic, temperature=0.5, hidden_norm=False, semi_hard=True)
    positives = 2 * (softplus(-1.6) + softplus(-1.0) + softplus(0.6))
    # 0.5 is within 0.4 of 0.8; -0.3 is farther than that from 0.5, but not farther than 1.
    assert float(mined(z_a, z_b, margin=0.4).loss) == pytest.approx((positives + softplus(1.0)) / 6)
    both = positives + softplus(1.0) + softplus(-0.6)
    assert float(mined(z_a, z_b, margin=1.0).loss) == pytest.approx(both / 6)


@pytest.mark.parametrize("margin", [None, 0.5])
def test_gradient_equals_finite_differences(margin):
    z = views(4, d=3, seed=3)
    mining = {} if margin is None else {"semi_hard": True, "margin": margin}
    _, gradient = value_and_gradient(functools.partial(nt_logistic, temperature=0.5, **mining), z)
    np.testing.assert_allclose(gradient, finite_differences(lambda x: naive(x, 0.5, True, margin), z), atol=2e-5)
    if margin is not None:
        assert naive(z, 0.5, True, margin) > naive(z, 0.5, True, 1e-9), "no anchor has a semi-hard negative"


def test_without_a_semi_hard_negative_the_positive_is_left():
    """Collapsed projections: no negative is farther than the positive, and the unmined loss is far above it."""
    z = tf.ones([2, 5, 3])
    assert float(nt_logistic(z[0], z[1], temperature=0.5, semi_hard=True).loss) == pytest.approx(softplus(-2))
    assert float(nt_logistic(z[0], z[1], temperature=0.5).loss) == pytest.approx(softplus(-2) + softplus(2))


def test_the_margin_is_not_used_without_mining():
    z = views(6)
    assert float(nt_logistic(z[0], z[1], margin=0.1).loss) == float(nt_logistic(z[0], z[1], margin=2.0).loss)


def test_chance_is_the_least_that_projections_without_information_give():
    z_a, z_b = np.random.default_rng(0).normal(size=(2, 64, 8)).astype(np.float32)
    assert CHANCE_LEVEL < float(nt_logistic(z_a, z_b, temperature=1.0).loss) < 1.1 * CHANCE_LEVEL
    assert float(nt_logistic(tf.zeros([4, 3]), tf.zeros([4, 3])).loss) == pytest.approx(CHANCE_LEVEL)
