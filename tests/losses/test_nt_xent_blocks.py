from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.errors import InputError
from tf_simclr.losses.anchors import _default_block_rows
from tf_simclr.losses.nt_xent import nt_xent


def naive(z_a, z_b, tau, norm):
    """Equation 1 of the paper and its derivative, anchor by anchor, in float64: loss, accuracy, entropy, gradient."""
    x = np.concatenate([z_a, z_b]).astype(np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True) if norm else np.ones([len(x), 1])
    z, n = x / length, len(z_a)
    loss, hits, entropy, gradient = 0.0, 0, 0.0, np.zeros_like(z)
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        scores = np.array([-np.inf if k == i else z[i] @ z[k] / tau for k in range(2 * n)])
        p = np.exp(scores - scores.max())
        p /= p.sum()
        loss -= np.log(p[j])
        hits += np.argmax(scores) == j
        entropy -= sum(v * np.log(v) for v in p if v > 0)
        for k in range(2 * n):
            pull = (p[k] - (k == j)) / tau
            gradient[i] += pull * z[k]
            gradient[k] += pull * z[i]
    if norm:
        gradient = (gradient - z * (z * gradient).sum(1, keepdims=True)) / length
    total = 2 * n
    return loss / total, hits / total, entropy / total, gradient.reshape(2, n, -1) / total


def views(n, d=6, seed=0):
    """Two views [2, n, d] that are alike enough for some anchors to find their positive."""
    rng = np.random.default_rng(seed)
    z_a, noise = rng.normal(size=(2, n, d))
    return np.stack([z_a, z_a + 0.8 * noise]).astype(np.float32)


def value_and_gradient(z, **options):
    with tf.GradientTape() as tape:
        tape.watch(z)
        out = nt_xent(z[0], z[1], **options)
    return out, tape.gradient(out.loss, z)


def assert_same(got, expected):
    np.testing.assert_allclose(tf.stack(got[0]), tf.stack(expected[0]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got[1], expected[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("block_rows", [None, 1, 3, 7, 8, 21, 22, 1000])
@pytest.mark.parametrize("compiled", [False, True])
def test_blocks_of_any_size_equal_the_paper(block_rows, norm, compiled):
    """2n = 22: blocks that divide it and that do not, one row each, all rows, more than there are."""
    z = views(11)
    run = tf.function(value_and_gradient) if compiled else value_and_gradient
    got = run(tf.constant(z), temperature=0.5, hidden_norm=norm, block_rows=block_rows)
    *means, gradient = naive(*z, 0.5, norm)
    assert_same(got, (means, gradient))
    assert 0 < means[1] < 1


@pytest.mark.parametrize("block_rows", [5, 10])
def test_by_hand(block_rows):
    """Five equal images: nothing to tell apart, ln 9 nats, and nowhere to go."""
    out, gradient = value_and_gradient(tf.ones([2, 5, 3]), block_rows=block_rows)
    assert float(out.loss) == pytest.approx(np.log(9), rel=1e-6) == float(out.entropy)
    np.testing.assert_allclose(gradient, tf.zeros([2, 5, 3]), atol=1e-6)


def test_the_gradient_follows_what_is_done_with_the_loss():
    z = tf.constant(views(6))
    _, expected = value_and_gradient(z, block_rows=12)
    with tf.GradientTape() as tape:
        tape.watch(z)
        out = nt_xent(z[0], z[1], block_rows=5)
        # Accuracy and entropy are statistics: they must not reach the gradient.
        total = 1024.0 * out.loss + out.accuracy + out.entropy
    np.testing.assert_allclose(tape.gradient(total, z) / 1024.0, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("block_rows", [1, 7, 24])
def test_compiled_by_xla_equals_plain(block_rows):
    z = tf.constant(views(12))
    run = tf.function(value_and_gradient, jit_compile=True)
    assert_same(run(z, block_rows=block_rows), value_and_gradient(z, block_rows=None))


def test_a_batch_size_unknown_in_advance():
    concrete = tf.function(value_and_gradient).get_concrete_function(tf.TensorSpec([2, None, 6]), block_rows=4)
    for n in (1, 2, 5):
        z = tf.constant(views(n))
        assert_same(concrete(z), value_and_gradient(z))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("norm", [True, False])
def test_low_precision_projections(dtype, norm):
    z = tf.cast(100 * views(8), dtype)
    got = value_and_gradient(z, temperature=0.01, hidden_norm=norm, block_rows=3)
    expected = value_and_gradient(z, temperature=0.01, hidden_norm=norm)
    assert got[0].loss.dtype == tf.float32 and got[1].dtype == z.dtype
    assert np.isfinite(tf.stack(got[0])).all() and np.isfinite(tf.cast(got[1], tf.float32)).all()
    np.testing.assert_allclose(tf.stack(got[0]), tf.stack(expected[0]), rtol=1e-5)
    gradient, plain_gradient = (tf.cast(g, tf.float32).numpy() for g in (got[1], expected[1]))
    np.testing.assert_allclose(gradient, plain_gradient, rtol=1e-2, atol=1e-6 * abs(plain_gradient).max())


@pytest.mark.parametrize("block_rows", [1, 5])
@pytest.mark.parametrize("replicas", [1, 2, 3, 4])
def test_replicas_in_blocks_give_the_whole_batch(replicas, block_rows, mirrored):
    """The gradient reaches the candidates on other replicas as well as the anchors."""
    z = views(12)
    expected, expected_gradient = value_and_gradient(tf.constant(z))
    strategy = mirrored(replicas)
    parts = np.split(z, replicas, axis=1)
    local = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )

    @tf.function
    def run(local):
        return strategy.run(value_and_gradient, args=(local,), kwargs={"block_rows": block_rows})

    out, gradient = run(local)
    for got, want in zip(out, expected, strict=True):
        np.testing.assert_allclose(strategy.reduce("MEAN", got, axis=None), want, rtol=1e-5)
    joined = np.concatenate([g.numpy() for g in strategy.experimental_local_results(gradient)], axis=1)
    np.testing.assert_allclose(joined / replicas, expected_gradient, rtol=1e-4, atol=1e-6)


def nodes(block_rows):
    """Every node of the graph of loss and gradient at 2n = 512, those inside loops too."""
    run = tf.function(lambda z: value_and_gradient(z, block_rows=block_rows))
    graph = run.get_concrete_function(tf.TensorSpec([2, 256, 8])).graph.as_graph_def(add_shapes=True)
    return [*graph.node, *(node for function in graph.library.function for node in function.node_def)]


def largest(graph_nodes):
    shapes = [tf.TensorShape(s) for node in graph_nodes for s in node.attr["_output_shapes"].list.shape]
    return max(shape.num_elements() or 0 for shape in shapes)


def test_no_tensor_of_the_graph_is_the_whole_matrix():
    assert largest(nodes(None)) == 512 * 512
    blocked = nodes(64)
    assert largest(blocked) == 64 * 512
    # Lists grow by pushing only where a loop keeps each block's intermediates for a backward pass.
    assert not [node.name for node in blocked if node.op == "TensorListPushBack"]


def test_the_default_takes_blocks_for_large_matrices_of_known_shape_only():
    assert _default_block_rows(None, 2) is None
    assert _default_block_rows(4096, 1) is None
    rows = _default_block_rows(16384, 1)
    assert rows is not None and 1 < rows < 4096
    assert _default_block_rows(4096, 8) == _default_block_rows(32768, 1)  # as many candidates
    assert _default_block_rows(2**12, 2**30) == 1


@pytest.mark.parametrize("block_rows", [0, -4])
def test_a_block_without_rows_is_refused(block_rows):
    with pytest.raises(InputError, match=r"`block_rows` must be >= 1. Received: block_rows="):
        nt_xent(tf.ones([2, 2]), tf.ones([2, 2]), block_rows=block_rows)
