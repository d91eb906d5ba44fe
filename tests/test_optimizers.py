"""LARS and LAMB of the public API: the run's updates, and what they do not decay."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tf_simclr
from tf_simclr.compat import build_slots, raw_variable
from tf_simclr.errors import InputError
from tf_simclr.optim.decay import all_but, kernels
from tf_simclr.optim.lamb import lamb_update
from tf_simclr.optim.lars import LARSOptimizer


def network():
    tf.keras.utils.set_random_seed(2)
    return tf.keras.Sequential(
        [
            tf.keras.Input((6, 6, 3)),
            tf.keras.layers.Conv2D(4, 3),
            tf_simclr.layers.GlobalBatchNorm(),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(2),
        ]
    )


def steps(model, optimizer, n=3):
    """The weights after n steps with made-up gradients."""
    rng = np.random.default_rng(0)
    variables = model.trainable_variables
    build_slots(optimizer, variables)
    for _ in range(n):
        gradients = [tf.constant(rng.normal(size=v.shape), tf.float32) for v in variables]
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return [raw_variable(v).numpy() for v in variables]


def test_lars_is_the_optimizer_of_a_run():
    model = network()
    got = steps(model, tf_simclr.optimizers.LARS(0.5, weight_decay=0.1, nesterov=True, eeta=0.01))
    model = network()
    theirs = LARSOptimizer(
        0.5, weight_decay=0.1, use_nesterov=True, eeta=0.01, exclude_from_weight_decay=all_but(kernels(model.layers))
    )
    for one, other in zip(got, steps(model, theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_lamb_is_the_update_of_the_paper_on_both_stacks():
    model = network()
    want = [raw_variable(v).numpy() for v in model.trainable_variables]
    moments = [(np.zeros_like(w), np.zeros_like(w)) for w in want]
    rng = np.random.default_rng(0)
    for step in range(1, 4):
        for place, w in enumerate(want):
            g = rng.normal(size=w.shape).astype(np.float32)
            kernel = w.ndim > 1
            want[place], *moments[place] = lamb_update(
                tf.constant(w), tf.constant(g), *map(tf.constant, moments[place]),
                step=tf.constant(float(step)), learning_rate=0.1, weight_decay=0.3 if kernel else 0.0, adapt=kernel,
            )  # fmt: skip
            want[place] = np.asarray(want[place])
    for got, wanted in zip(steps(network(), tf_simclr.optimizers.LAMB(0.1, weight_decay=0.3)), want, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [tf_simclr.optimizers.LARS, tf_simclr.optimizers.LAMB])
def test_both_go_through_their_config(kind):
    schedule = tf_simclr.schedules.WarmupCosine(0.3, 2, 9)
    optimizer = kind(schedule, weight_decay=0.25)
    again = tf.keras.optimizers.deserialize(tf.keras.optimizers.serialize(optimizer))
    assert type(again) is kind and again.get_config() == optimizer.get_config()
    assert again.get_config()["weight_decay"] == 0.25
    for one, other in zip(steps(network(), again), steps(network(), optimizer), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    with pytest.raises(InputError, match="weight_decay"):
        kind(0.1, weight_decay=-1.0)
