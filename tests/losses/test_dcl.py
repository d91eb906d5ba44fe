"""The decoupled loss: the paper's formula pair by pair, and NT-Xent without one term."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from tests.losses.pairs import finite_differences, mean_over_rows, on_replicas, value_and_gradient, views
from tf_simclr.errors import InputError
from tf_simclr.losses import dcl as dcl_module
from tf_simclr.losses import nt_xent as nt_xent_module
from tf_simclr.losses.dcl import chance_level, dcl
from tf_simclr.losses.nt_xent import nt_xent


def naive(z, tau, norm):
    """Section 3 of the paper in float64, with a loop over the images and views of the denominator."""

    def anchor_loss(similarities, own, positive):
        denominator = 0.0
        for place, similarity in enumerate(similarities):
            if place not in (own, positive):
                denominator += math.exp(similarity / tau)
        return math.log(denominator) - similarities[positive] / tau

    return mean_over_rows(anchor_loss, z, norm)


@pytest.mark.parametrize("n,tau,norm", list(itertools.product([2, 5, 12], [0.1, 0.5, 1.0], [True, False])))
def test_equals_the_paper_pair_by_pair(n, tau, norm):
    z = views(n, seed=n)
    got = dcl(*z, temperature=tau, hidden_norm=norm)
    assert float(got.loss) == pytest.approx(naive(z, tau, norm), rel=2e-5, abs=1e-5)
    want = nt_xent(*z, temperature=tau, hidden_norm=norm)
    assert (float(got.accuracy), float(got.entropy)) == (float(want.accuracy), float(want.entropy))


def test_defaults():
    z = views(5)
    assert float(dcl(*z).loss) == pytest.approx(naive(z, 0.1, True), rel=2e-5)


def test_by_hand():
    """Two images on orthogonal axes, both views alike, tau = 1: the positive's cosine is 1, both negatives' are 0."""
    loss, accuracy, _ = dcl(tf.eye(2), tf.eye(2), temperature=1.0)
    assert float(loss) == pytest.approx(math.log(2) - 1, rel=1e-6) and float(accuracy) == 1.0


def test_is_nt_xent_without_the_positive_in_its_denominator():
    """Of each anchor, exp(NT-Xent) - exp(decoupled) is 1: the positive's term over itself."""
    z = tf.concat(list(views(6)), axis=0)
    own = tf.range(12)
    labels = tf.stack([own, (own + 6) % 12], axis=1)
    ours, theirs = (module._row_values(z, z, labels, temperature=2.0)[0] for module in (dcl_module, nt_xent_module))
    np.testing.assert_allclose(np.exp(theirs) - np.exp(ours), np.ones(12), rtol=1e-3)


def test_chance_is_what_equal_projections_give_and_others_without_information_exceed():
    assert float(dcl(tf.ones([8, 4]), tf.ones([8, 4])).loss) == pytest.approx(chance_level(8), rel=1e-6)
    assert chance_level(8) == pytest.approx(math.log(14))
    z = np.random.default_rng(0).normal(size=(50, 2, 8, 4)).astype(np.float32)
    assert np.mean([float(dcl(*pair, temperature=0.2).loss) for pair in z]) > chance_level(8)


def test_gradient_equals_finite_differences():
    z = views(3, d=4, seed=3)
    _, gradient = value_and_gradient(functools.partial(dcl, temperature=0.5), z)
    np.testing.assert_allclose(gradient, finite_differences(lambda x: naive(x, 0.5, True), z), atol=2e-5)


@pytest.mark.parametrize("block_rows", [None, 5])
@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_replicas_give_the_loss_and_gradient_of_the_whole_batch(replicas, block_rows, mirrored):
    z = views(12)
    want, want_gradient = value_and_gradient(functools.partial(dcl, temperature=0.2), z)
    blocks = functools.partial(dcl, temperature=0.2, block_rows=block_rows)
    means, gradient = on_replicas(blocks, z, mirrored(replicas))
    np.testing.assert_allclose(means, want, rtol=1e-5)
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("block_rows", [None, 7])
def test_compiled_by_xla_equals_plain(block_rows):
    z = tf.constant(views(12))
    want, want_gradient = value_and_gradient(dcl, z)
    compiled = tf.function(
        lambda z: value_and_gradient(functools.partial(dcl, block_rows=block_rows), z), jit_compile=True
    )
    got, gradient = compiled(z)
    np.testing.assert_allclose(tf.stack(got), tf.stack(want), rtol=1e-5)
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_projections_give_a_finite_loss_and_gradient(dtype):
    z = tf.cast(100 * views(8), dtype)
    out, gradient = value_and_gradient(functools.partial(dcl, temperature=0.01, hidden_norm=False), z)
    assert out.loss.dtype == tf.float32 and np.isfinite(out.loss)
    assert np.isfinite(tf.cast(gradient, tf.float32)).all()


def test_what_cannot_work_is_refused():
    with pytest.raises(InputError, match="`temperature` must be > 0"):
        dcl(tf.ones([2, 2]), tf.ones([2, 2]), temperature=0.0)
    with pytest.raises(InputError, match="`dcl` compares an image with others"):
        dcl(tf.ones([1, 2]), tf.ones([1, 2]))


def test_one_image_a_replica_is_enough_with_several_replicas(mirrored):
    z = views(2)
    means, _ = on_replicas(dcl, z, mirrored(2))
    np.testing.assert_allclose(means[0], dcl(*z).loss, rtol=1e-5)
