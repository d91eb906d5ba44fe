"""BatchNorm on several replicas equals one replica with the whole batch."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr import compat
from tf_simclr.nn.normalization import BatchNorm, frozen_statistics

SHAPES = {"rank2": (12, 3), "rank4": (12, 2, 3, 3)}


def run_step(strategy, x, weights, *, freeze="", **options):
    """One training step; returns outputs and gradients of the whole batch, the moving statistics; and the layer."""
    replicas = strategy.num_replicas_in_sync
    with strategy.scope():
        layer = BatchNorm(momentum=0.5, **options)
        layer.build(x.shape)
        layer.moving_mean.assign([1.0, 2.0, 3.0])

    def share(values):
        parts = np.split(values, replicas)
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )

    def replica_step(inputs, factors):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            if freeze == "inside":
                with frozen_statistics():
                    outputs = layer(inputs, training=True)
            else:
                outputs = layer(inputs, training=True)
            loss = tf.reduce_sum(tf.sin(tf.cast(outputs, tf.float32)) * factors)
        parameters = [compat.raw_variable(v) for v in layer.trainable_variables]
        return outputs, tape.gradient(loss, [inputs, *parameters])

    @tf.function
    def step(inputs, factors):
        return strategy.run(replica_step, (inputs, factors))

    inputs = share(x), share(weights)
    if freeze == "around":
        with frozen_statistics():
            outputs, (inputs_gradient, *parameter_gradients) = step(*inputs)
    else:
        outputs, (inputs_gradient, *parameter_gradients) = step(*inputs)
    local = strategy.experimental_local_results
    return {
        "outputs": np.concatenate(local(outputs)),
        "inputs_gradient": np.concatenate(local(inputs_gradient)),
        "gamma_gradient": np.sum(local(parameter_gradients[0]), axis=0),
        "beta_gradient": np.sum(local(parameter_gradients[1]), axis=0),
        "moving_mean": layer.moving_mean.numpy(),
        "moving_variance": layer.moving_variance.numpy(),
    }, layer


def batch(shape):
    """A batch whose mean drifts, so that the shares' moments are not those of the whole."""
    rng = np.random.default_rng(3)
    drift = np.linspace(-3, 5, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    return (rng.normal(2.0, 1.0, shape) + drift).astype("float32"), rng.normal(size=shape).astype("float32")


def differences(a, b):
    return {name: np.abs(a[name] - b[name]).max() / np.abs(b[name]).max() for name in a}


@pytest.mark.parametrize("replicas", [1, 2, 3, 4])
@pytest.mark.parametrize("rank", SHAPES)
def test_global_moments_equal_one_replica(mirrored, replicas, rank):
    x, weights = batch(SHAPES[rank])
    whole, _ = run_step(mirrored(1), x, weights)
    strategy = mirrored(replicas)
    shared, layer = run_step(strategy, x, weights)
    assert max(differences(shared, whole).values()) < 1e-5
    copies = strategy.experimental_local_results(compat.raw_variable(layer.moving_variance))
    for copy in copies:
        np.testing.assert_array_equal(copy.numpy(), copies[0].numpy())


def test_local_moments_differ(mirrored):
    x, weights = batch(SHAPES["rank4"])
    whole, _ = run_step(mirrored(1), x, weights, global_moments=False)
    shared, _ = run_step(mirrored(2), x, weights, global_moments=False)
    different = differences(shared, whole)
    # The mean of equal shares' means is the mean; everything else must not agree.
    assert different.pop("moving_mean") < 1e-5
    assert min(different.values()) > 1e-2
    halves = [half.reshape(-1, 3).var(0) for half in np.split(x, 2)]
    np.testing.assert_allclose(shared["moving_variance"], 0.5 + 0.5 * np.mean(halves, 0), rtol=1e-5)


@pytest.mark.parametrize("freeze", ["inside", "around"])
@pytest.mark.parametrize("replicas", [1, 2])
def test_frozen_statistics(mirrored, freeze, replicas):
    x, weights = batch(SHAPES["rank4"])
    whole, _ = run_step(mirrored(1), x, weights)
    frozen, _ = run_step(mirrored(replicas), x, weights, freeze=freeze)
    np.testing.assert_array_equal(frozen.pop("moving_mean"), [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(frozen.pop("moving_variance"), np.ones(3))
    assert max(differences(frozen, {k: whole[k] for k in frozen}).values()) < 1e-5


def test_frozen_then_moving_pass_in_one_replica_function(mirrored):
    """The two passes of a micro-batched step: only the second may move the statistics, in every replica."""
    strategy = mirrored(2)
    x, _ = batch(SHAPES["rank4"])
    with strategy.scope():
        layer = BatchNorm(momentum=0.5, global_moments=False)
        layer.build(x.shape)

    def replica_step():
        with frozen_statistics():
            layer(x, training=True)
        layer(x, training=True)

    tf.function(lambda: strategy.run(replica_step))()
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.5 * x.reshape(-1, 3).mean(0), rtol=1e-5)


def test_bfloat16_on_two_replicas_keeps_float32_moments(mirrored):
    x, weights = batch(SHAPES["rank4"])
    x = tf.cast(tf.cast(x, tf.bfloat16), tf.float32).numpy()
    whole, _ = run_step(mirrored(1), x, weights)
    shared, _ = run_step(mirrored(2), x, weights, dtype="mixed_bfloat16")
    different = differences({k: np.asarray(v, "float32") for k, v in shared.items()}, whole)
    assert max(different["moving_mean"], different["moving_variance"]) < 1e-5
    assert different["outputs"] < 0.01


def test_large_mean_does_not_cancel(mirrored):
    """Mean 1000, variance near 1: averaging squares in float32 would lose the variance."""
    x, _ = batch(SHAPES["rank4"])
    x = (x + 1000.0).astype("float32")
    strategy = mirrored(2)
    with strategy.scope():
        layer = BatchNorm(momentum=0.0)
        layer.build(x.shape)
        layer.moving_mean.assign(tf.fill([3], 999.0))
    parts = np.split(x, 2)
    values = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )
    tf.function(lambda inputs: strategy.run(layer, (inputs,), {"training": True}))(values)
    np.testing.assert_allclose(layer.moving_variance.numpy(), x.reshape(-1, 3).astype("float64").var(0), rtol=1e-4)


@pytest.mark.parametrize("global_moments", [True, False])
def test_cross_replica_context(mirrored, global_moments):
    """Evaluation and export call the layer in the strategy's scope but outside `run`."""
    x, weights = batch(SHAPES["rank4"])
    strategy = mirrored(2)
    _, layer = run_step(strategy, x, weights, global_moments=global_moments)
    expected = (x - layer.moving_mean.numpy()) / np.sqrt(layer.moving_variance.numpy() + 1e-5)
    with strategy.scope():
        np.testing.assert_allclose(layer(x, training=False), expected, atol=1e-5)
        np.testing.assert_allclose(layer(x, training=True), layer(x, training=True), atol=1e-6)
