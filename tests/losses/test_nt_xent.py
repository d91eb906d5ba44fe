from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from tests.losses.pairs import finite_differences, on_replicas, value_and_gradient
from tf_simclr.errors import InputError
from tf_simclr.losses.nt_xent import chance_level, nt_xent


def naive(z_a, z_b, tau, norm):
    """Equation 1 and Algorithm 1 of the paper, pair by pair, in float64."""
    z = np.concatenate([z_a, z_b]).astype(np.float64)
    if norm:
        z = z / np.linalg.norm(z, axis=1, keepdims=True)
    n = len(z_a)
    losses, hits, entropies = [], [], []
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        others = [k for k in range(2 * n) if k != i]
        scores = np.array([np.dot(z[i], z[k]) / tau for k in others])
        shifted = np.exp(scores - scores.max())
        p = shifted / shifted.sum()
        losses.append(-math.log(p[others.index(j)]))
        hits.append(others[int(np.argmax(scores))] == j)
        entropies.append(-sum(x * math.log(x) for x in p if x > 0))
    return np.mean(losses), np.mean(hits), np.mean(entropies)


@pytest.mark.parametrize("n,tau,norm", list(itertools.product([1, 2, 5, 16], [0.1, 0.5, 1.0], [True, False])))
def test_equals_the_paper_pair_by_pair(n, tau, norm):
    rng = np.random.default_rng(n)
    z_a, z_b = rng.normal(size=(2, n, 8)).astype(np.float32)
    z_b = z_a + 0.7 * z_b
    got = nt_xent(tf.constant(z_a), tf.constant(z_b), temperature=tau, hidden_norm=norm)
    np.testing.assert_allclose(got, naive(z_a, z_b, tau, norm), rtol=2e-5, atol=1e-5)


def test_by_hand():
    """Two images on orthogonal axes, both views alike, tau = 1: every anchor sees cosines 1, 0, 0."""
    z = tf.constant([[2.0, 0.0], [0.0, 3.0]])
    loss, accuracy, entropy = nt_xent(z, z, temperature=1.0)
    e = math.e
    assert float(loss) == pytest.approx(math.log((e + 2) / e), rel=1e-6)
    assert float(accuracy) == 1.0
    p, q = e / (e + 2), 1 / (e + 2)
    assert float(entropy) == pytest.approx(-p * math.log(p) - 2 * q * math.log(q), rel=1e-6)


def test_chance_is_what_equal_projections_give():
    z = tf.ones([8, 4])
    loss, _, entropy = nt_xent(z, z, temperature=0.1)
    assert float(loss) == pytest.approx(chance_level(8), rel=1e-6) == pytest.approx(math.log(15))
    assert float(entropy) == pytest.approx(math.log(15), rel=1e-6)


def test_accuracy_ranks_the_candidates_of_the_same_view_too():
    """b is nearest among the b's for each a, but every a is nearer to another a."""
    z_a = tf.constant([[1.0, 0.0], [0.99, 0.1]])
    z_b = tf.constant([[0.6, -0.8], [0.6, 0.8]])
    assert float(nt_xent(z_a, z_b).accuracy) == naive(z_a.numpy(), z_b.numpy(), 0.1, True)[1] < 0.6


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_projections_give_a_finite_loss_and_gradient(dtype):
    z = tf.cast(tf.random.stateless_normal([2, 8, 16], [0, 1]) * 100, dtype)
    with tf.GradientTape() as tape:
        tape.watch(z)
        loss = nt_xent(z[0], z[1], temperature=0.01, hidden_norm=False).loss
    assert loss.dtype == tf.float32 and np.isfinite(loss)
    assert np.isfinite(tf.cast(tape.gradient(loss, z), tf.float32)).all()


def test_gradient_equals_finite_differences():
    z = np.random.default_rng(3).normal(size=(2, 3, 4)).astype(np.float32)
    _, gradient = value_and_gradient(functools.partial(nt_xent, temperature=0.5), z)
    expected = finite_differences(lambda x: naive(*x, 0.5, True)[0], z)
    np.testing.assert_allclose(gradient, expected, atol=2e-5)


@pytest.mark.parametrize("replicas", [1, 2, 3, 4])
def test_replicas_give_the_loss_and_gradient_of_the_whole_batch(replicas, mirrored):
    z = np.random.default_rng(4).normal(size=(2, 12, 6)).astype(np.float32)
    loss = functools.partial(nt_xent, temperature=0.2)
    want, want_gradient = value_and_gradient(loss, z)
    means, gradient = on_replicas(loss, z, mirrored(replicas))
    np.testing.assert_allclose(means, want, rtol=1e-5)
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("tau", [0.0, -1.0])
def test_a_temperature_that_cannot_work_is_refused(tau):
    with pytest.raises(InputError, match=r"`temperature` must be > 0. Received: temperature="):
        nt_xent(tf.ones([2, 2]), tf.ones([2, 2]), temperature=tau)
