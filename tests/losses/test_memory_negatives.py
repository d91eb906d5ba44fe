"""NT-Xent with negatives of earlier batches: the definition candidate by candidate, on any number of replicas."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import tensorflow as tf

from tests.losses.pairs import finite_differences, on_replicas, value_and_gradient, views
from tf_simclr.losses.anchors import Memory, _default_block_rows, prepare
from tf_simclr.losses.nt_xent import chance_level, nt_xent


def queue_of(m, d=5, norm=True):
    """Projections of an earlier time, float32 [m, d]."""
    return prepare(np.random.default_rng(m).normal(size=(m, d)), norm).numpy()


def naive(z, queue, tau, norm=True):
    """Loss, accuracy and entropy in float64: every anchor against the batch but itself, and then against the queue."""
    z = np.concatenate(np.asarray(z, np.float64))
    if norm:
        z = z / np.linalg.norm(z, axis=1, keepdims=True)
    n, losses, hits, entropies = len(z) // 2, [], [], []
    for i, anchor in enumerate(z):
        positive = (i + n) % (2 * n)
        candidates = [positive, *(k for k in range(2 * n) if k not in (i, positive))]
        similarities = [anchor @ z[k] for k in candidates] + [anchor @ old for old in queue.astype(np.float64)]
        total = math.fsum(math.exp(s / tau) for s in similarities)
        shares = [math.exp(s / tau) / total for s in similarities]
        losses.append(-math.log(shares[0]))
        hits.append(similarities[0] == max(similarities))
        entropies.append(-math.fsum(p * math.log(p) for p in shares))
    return np.mean(losses), np.mean(hits), np.mean(entropies)


def memory_of(queue, filled):
    """A memory whose rows behind `filled` hold what would matter if anything looked at it."""
    rest = np.full_like(queue[filled:], 100.0)
    return Memory(tf.constant(np.concatenate([queue[:filled], rest])), tf.constant(filled))


@pytest.mark.parametrize(("n", "m", "filled"), [(2, 8, 4), (5, 10, 10), (6, 36, 24), (4, 8, 0)])
@pytest.mark.parametrize(("tau", "norm"), [(0.1, True), (1.0, False)])
def test_equals_the_definition(n, m, filled, tau, norm):
    z, queue = views(n, seed=n), queue_of(m, norm=norm)
    got = nt_xent(*z, temperature=tau, hidden_norm=norm, memory=memory_of(queue, filled))
    np.testing.assert_allclose(got, naive(z, queue[:filled], tau, norm), rtol=2e-5, atol=1e-5)


def test_by_hand():
    """One image whose views agree, and three negatives of which two are opposite and one is orthogonal; tau = 1."""
    z = tf.constant([[1.0, 0.0]])
    memory = Memory(tf.constant([[-1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), tf.constant(3))
    loss, accuracy, _ = nt_xent(z, z, temperature=1.0, memory=memory)
    assert float(loss) == pytest.approx(math.log(1 + 2 * math.exp(-2) + math.exp(-1)), rel=1e-6)
    assert float(accuracy) == 1.0


def test_an_empty_memory_is_none():
    z = views(6)
    want, want_gradient = value_and_gradient(nt_xent, z)
    got, gradient = value_and_gradient(functools.partial(nt_xent, memory=memory_of(queue_of(24), 0)), z)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-5, atol=1e-7)


def test_equal_projections_give_the_chance_of_all_candidates():
    memory = Memory(tf.ones([32, 4]) / 2, tf.constant(32))
    assert float(nt_xent(tf.ones([8, 4]), tf.ones([8, 4]), memory=memory).loss) == pytest.approx(chance_level(8, 32))
    assert chance_level(8, 32) == pytest.approx(math.log(47))


@pytest.mark.parametrize("block_rows", [None, 4])
def test_the_gradient_is_that_of_the_definition_and_none_reaches_the_memory(block_rows):
    z, queue = views(3, d=4, seed=3), queue_of(12, d=4)
    old = tf.constant(queue)
    with tf.GradientTape() as tape:
        tape.watch(old)
        memory = Memory(old, tf.constant(6))
        loss = functools.partial(nt_xent, temperature=0.5, memory=memory, block_rows=block_rows)
        out, gradient = value_and_gradient(loss, z)
    assert tape.gradient(out.loss, old) is None
    want = finite_differences(lambda x: naive(x, queue[:6], 0.5)[0], z)
    np.testing.assert_allclose(gradient, want, atol=2e-5)


@pytest.mark.parametrize("block_rows", [None, 5])
@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_replicas_give_the_loss_and_gradient_of_the_whole_batch(replicas, block_rows, mirrored):
    z, memory = views(12), memory_of(queue_of(48), 24)
    want, want_gradient = value_and_gradient(functools.partial(nt_xent, temperature=0.2, memory=memory), z)
    loss = functools.partial(nt_xent, temperature=0.2, memory=memory, block_rows=block_rows)
    means, gradient = on_replicas(loss, z, mirrored(replicas))
    np.testing.assert_allclose(means, want, rtol=1e-5)
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("block_rows", [None, 7])
def test_compiled_by_xla_equals_plain(block_rows):
    z, memory = tf.constant(views(12)), memory_of(queue_of(24), 12)
    want, want_gradient = value_and_gradient(functools.partial(nt_xent, memory=memory), z)
    loss = functools.partial(nt_xent, block_rows=block_rows, memory=memory)
    got, gradient = tf.function(lambda z: value_and_gradient(loss, z), jit_compile=True)(z)
    np.testing.assert_allclose(tf.stack(got), tf.stack(want), rtol=1e-5)
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-4, atol=1e-6)


def test_blocks_are_chosen_by_the_candidates_of_both_kinds():
    assert _default_block_rows(2048, 1) is None and _default_block_rows(2048, 1, 2048) is None
    assert _default_block_rows(2048, 1, 2**16) == 2**21 // (2048 + 2**16)
    assert _default_block_rows(2048, 4, 0) == _default_block_rows(2048, 1, 3 * 2048)
