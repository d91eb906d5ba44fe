"""The supervised contrastive loss: the paper's formula pair by pair, and NT-Xent where labels say nothing."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from tests.losses.pairs import finite_differences, mean_over_rows, on_replicas, value_and_gradient, views
from tf_simclr.errors import InputError
from tf_simclr.losses.nt_xent import nt_xent
from tf_simclr.losses.supcon import supcon
from tf_simclr.ops import collectives

# No image is of class 0, which is what fills up the last block; two have no label.
LABELS = np.array([3, 1, 3, -1, 2, 1, 3, -1, 2, 5, 1, 4])


def naive(z, labels, tau, norm):
    """Equation 2 of the paper in float64, with P(i) and A(i) as they are written there."""
    labels = list(labels) * 2

    def anchor_loss(similarities, own, second_view):
        everything = [a for a in range(len(labels)) if a != own]
        positives = [p for p in everything if p == second_view or (labels[p] == labels[own] and labels[own] != -1)]
        denominator = sum(math.exp(similarities[a] / tau) for a in everything)
        return -sum(math.log(math.exp(similarities[p] / tau) / denominator) for p in positives) / len(positives)

    return mean_over_rows(anchor_loss, z, norm)


def of_labels(labels, **options):
    return lambda a, b: supcon(a, b, labels, **options)


@pytest.mark.parametrize("n,tau,norm", list(itertools.product([1, 2, 5, 12], [0.1, 0.5, 1.0], [True, False])))
def test_equals_the_paper_pair_by_pair(n, tau, norm):
    z = views(n, seed=n)
    got = supcon(*z, LABELS[:n], temperature=tau, hidden_norm=norm)
    assert float(got.loss) == pytest.approx(naive(z, LABELS[:n], tau, norm), rel=2e-5, abs=1e-5)
    want = nt_xent(*z, temperature=tau, hidden_norm=norm)
    assert (float(got.accuracy), float(got.entropy)) == (float(want.accuracy), float(want.entropy))


def test_defaults():
    z = views(5)
    assert float(supcon(*z, [0, 1, 1, 0, -1]).loss) == pytest.approx(naive(z, [0, 1, 1, 0, -1], 0.1, True), rel=2e-5)


def test_by_hand():
    """Two images of one class on orthogonal axes, both views alike, tau = 1: positives have cosines 1, 0, 0."""
    e = math.e
    loss = supcon(tf.eye(2), tf.eye(2), [4, 4], temperature=1.0).loss
    assert float(loss) == pytest.approx(math.log(e + 2) - 1 / 3, rel=1e-6)


@pytest.mark.parametrize("labels", [np.full(12, -1), np.arange(12), np.arange(12) * 1000])
@pytest.mark.parametrize("block_rows", [None, 5])
def test_is_nt_xent_where_no_two_images_share_a_class(labels, block_rows):
    z = tf.constant(views(12))
    got = value_and_gradient(of_labels(labels, temperature=0.3, block_rows=block_rows), z)
    want = value_and_gradient(functools.partial(nt_xent, temperature=0.3), z)
    np.testing.assert_allclose(tf.stack(got[0]), tf.stack(want[0]), rtol=1e-6)
    np.testing.assert_allclose(got[1], want[1], rtol=1e-4, atol=1e-6)


def test_chance_is_that_of_nt_xent_whatever_the_labels():
    assert float(supcon(tf.ones([12, 4]), tf.ones([12, 4]), LABELS).loss) == pytest.approx(math.log(23), rel=1e-6)
    z = np.random.default_rng(0).normal(size=(50, 2, 12, 4)).astype(np.float32)
    assert np.mean([float(supcon(*pair, LABELS, temperature=0.2).loss) for pair in z]) > math.log(23)


def test_gradient_equals_finite_differences():
    z = views(4, d=4, seed=3)
    _, gradient = value_and_gradient(of_labels([0, 1, 0, -1], temperature=0.5), z)
    expected = finite_differences(lambda x: naive(x, [0, 1, 0, -1], 0.5, True), z)
    np.testing.assert_allclose(gradient, expected, atol=2e-5)


@pytest.mark.parametrize("block_rows", [None, 5])
@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_replicas_give_the_loss_and_gradient_of_the_whole_batch(replicas, block_rows, mirrored):
    """Classes span replicas: labels are gathered with the projections."""
    z = views(12)
    want, want_gradient = value_and_gradient(of_labels(LABELS, temperature=0.2), z)
    share = 12 // replicas

    def local(a, b):
        mine = collectives.replica_id() * share + tf.range(share)
        return supcon(a, b, tf.gather(tf.constant(LABELS), mine), temperature=0.2, block_rows=block_rows)

    means, gradient = on_replicas(local, z, mirrored(replicas))
    np.testing.assert_allclose(means, want, rtol=1e-5)
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("block_rows", [None, 1, 7, 24])
def test_compiled_by_xla_equals_plain(block_rows):
    z, labels = tf.constant(views(12)), tf.constant(LABELS)
    want, want_gradient = value_and_gradient(of_labels(labels), z)
    compiled = tf.function(lambda z, y: value_and_gradient(of_labels(y, block_rows=block_rows), z), jit_compile=True)
    got, gradient = compiled(z, labels)
    np.testing.assert_allclose(tf.stack(got), tf.stack(want), rtol=1e-5)
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-4, atol=1e-6)


def test_a_batch_size_unknown_in_advance():
    concrete = tf.function(lambda a, b, y: supcon(a, b, y, block_rows=4).loss).get_concrete_function(
        tf.TensorSpec([None, 5]), tf.TensorSpec([None, 5]), tf.TensorSpec([None], tf.int64)
    )
    for n in (1, 2, 5):
        z, labels = tf.constant(views(n)), tf.constant(LABELS[:n])
        np.testing.assert_allclose(concrete(z[0], z[1], labels), supcon(z[0], z[1], labels).loss, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_projections_give_a_finite_loss_and_gradient(dtype):
    z = tf.cast(100 * views(12), dtype)
    out, gradient = value_and_gradient(of_labels(LABELS, temperature=0.01, hidden_norm=False), z)
    assert out.loss.dtype == tf.float32 and np.isfinite(out.loss)
    assert np.isfinite(tf.cast(gradient, tf.float32)).all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "needs labels. Received: labels=None"),
        (np.zeros(3, np.int64), "Received: int64 of shape"),
        (np.zeros([2, 2], np.int64), "Take the argmax of one-hot rows"),
        (np.zeros(2, np.float32), "Received: float32 of shape"),
    ],
)
def test_labels_that_are_not_one_integer_an_image_are_refused(labels, message):
    with pytest.raises(InputError, match=message):
        supcon(tf.ones([2, 2]), tf.ones([2, 2]), labels)


def test_a_temperature_that_cannot_work_is_refused():
    with pytest.raises(InputError, match="`temperature` must be > 0"):
        supcon(tf.ones([2, 2]), tf.ones([2, 2]), [0, 1], temperature=0.0)
