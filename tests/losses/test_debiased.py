"""Debiased NT-Xent: the paper's formula pair by pair, and NT-Xent where no negative is false."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from tests.losses.pairs import finite_differences, mean_over_rows, on_replicas, value_and_gradient, views
from tf_simclr.errors import InputError
from tf_simclr.losses.debiased import debiased_nt_xent
from tf_simclr.losses.nt_xent import nt_xent


def naive(z, tau, prior):
    """Section 4 of the paper in float64: the estimator g, its bound, and the loss, anchor by anchor."""

    def anchor_loss(similarities, own, positive):
        of_others = [math.exp(s / tau) for place, s in enumerate(similarities) if place not in (own, positive)]
        of_class = math.exp(similarities[positive] / tau)
        g = (sum(of_others) / len(of_others) - prior * of_class) / (1 - prior)
        g = max(g, math.exp(-1 / tau))
        return -math.log(of_class / (of_class + len(of_others) * g))

    return mean_over_rows(anchor_loss, z, True)


@pytest.mark.parametrize("n,tau,prior", list(itertools.product([2, 5, 12], [0.05, 0.5, 1.0], [0.0, 0.1, 0.5, 0.99])))
def test_equals_the_paper_pair_by_pair(n, tau, prior):
    z = views(n, seed=n)
    got = debiased_nt_xent(*z, temperature=tau, class_prior=prior)
    assert float(got.loss) == pytest.approx(naive(z, tau, prior), rel=2e-5, abs=1e-5)
    want = nt_xent(*z, temperature=tau)
    assert (float(got.accuracy), float(got.entropy)) == (float(want.accuracy), float(want.entropy))


def test_defaults():
    z = views(5)
    assert float(debiased_nt_xent(*z).loss) == pytest.approx(naive(z, 0.1, 0.1), rel=2e-5)


def test_by_hand_above_the_bound():
    """Cosines 1, 0, 0, tau = 1: g = (1 - 0.1 e) / 0.9, above 1 / e."""
    loss = debiased_nt_xent(tf.eye(2), tf.eye(2), temperature=1.0, class_prior=0.1).loss
    g = (1 - 0.1 * math.e) / 0.9
    assert g > math.exp(-1)
    assert float(loss) == pytest.approx(math.log((math.e + 2 * g) / math.e), rel=1e-6)


def test_by_hand_at_the_bound():
    """With half of all images of the anchor's class the estimate is below 1 / e, and the bound is taken."""
    loss = debiased_nt_xent(tf.eye(2), tf.eye(2), temperature=1.0, class_prior=0.5).loss
    assert (1 - 0.5 * math.e) / 0.5 < math.exp(-1)
    assert float(loss) == pytest.approx(math.log((math.e + 2 / math.e) / math.e), rel=1e-6)


@pytest.mark.parametrize("tau", [0.005, 0.1, 1.0])
def test_is_nt_xent_where_no_negative_is_of_the_anchors_class(tau):
    z = tf.constant(views(8))
    got = value_and_gradient(functools.partial(debiased_nt_xent, temperature=tau, class_prior=0.0), z)
    want = value_and_gradient(functools.partial(nt_xent, temperature=tau), z)
    np.testing.assert_allclose(tf.stack(got[0]), tf.stack(want[0]), rtol=1e-5)
    np.testing.assert_allclose(got[1], want[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prior", [0.0, 0.1, 0.9])
def test_equal_projections_give_the_chance_of_nt_xent_whatever_the_prior(prior):
    z = tf.ones([8, 4])
    assert float(debiased_nt_xent(z, z, class_prior=prior).loss) == pytest.approx(math.log(15), rel=1e-5)


@pytest.mark.parametrize("tau", [0.001, 0.01])
def test_a_low_temperature_overflows_nothing(tau):
    """exp(1 / tau) and exp(-1 / tau) are beyond float32; positives are best for some anchors and not for others."""
    out, gradient = value_and_gradient(functools.partial(debiased_nt_xent, temperature=tau), tf.constant(views(8)))
    assert 0 < float(out.accuracy) < 1
    assert np.isfinite(tf.stack(out)).all() and np.isfinite(gradient).all()


@pytest.mark.parametrize("prior", [0.1, 0.5])
def test_gradient_equals_finite_differences(prior):
    """With the larger prior some anchors are at the bound."""
    z = views(3, d=4, seed=3)
    _, gradient = value_and_gradient(functools.partial(debiased_nt_xent, temperature=0.5, class_prior=prior), z)
    np.testing.assert_allclose(gradient, finite_differences(lambda x: naive(x, 0.5, prior), z), atol=2e-5)


@pytest.mark.parametrize("block_rows", [None, 5])
@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_replicas_give_the_loss_and_gradient_of_the_whole_batch(replicas, block_rows, mirrored):
    z = views(12)
    loss = functools.partial(debiased_nt_xent, temperature=0.2, class_prior=0.2)
    want, want_gradient = value_and_gradient(loss, z)
    means, gradient = on_replicas(functools.partial(loss, block_rows=block_rows), z, mirrored(replicas))
    np.testing.assert_allclose(means, want, rtol=1e-5)
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("block_rows", [None, 7])
def test_compiled_by_xla_equals_plain(block_rows):
    z = tf.constant(views(12))
    want, want_gradient = value_and_gradient(debiased_nt_xent, z)
    blocks = functools.partial(debiased_nt_xent, block_rows=block_rows)
    got, gradient = tf.function(functools.partial(value_and_gradient, blocks), jit_compile=True)(z)
    np.testing.assert_allclose(tf.stack(got), tf.stack(want), rtol=1e-5)
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_projections_give_a_finite_loss_and_gradient(dtype):
    out, gradient = value_and_gradient(debiased_nt_xent, tf.cast(100 * views(8), dtype))
    assert out.loss.dtype == tf.float32 and np.isfinite(out.loss)
    assert np.isfinite(tf.cast(gradient, tf.float32)).all()


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"temperature": 0.0}, "`temperature` must be > 0"),
        ({"class_prior": 1.0}, "`class_prior` must be >= 0 and <= 0.99"),
        ({"class_prior": -0.1}, "`class_prior` must be >= 0"),
    ],
)
def test_numbers_that_cannot_work_are_refused(numbers, message):
    with pytest.raises(InputError, match=message):
        debiased_nt_xent(tf.ones([2, 2]), tf.ones([2, 2]), **numbers)


def test_one_image_is_refused():
    with pytest.raises(InputError, match="`debiased` compares an image with others"):
        debiased_nt_xent(tf.ones([1, 2]), tf.ones([1, 2]))
