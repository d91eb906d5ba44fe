from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from lars_optimizer import LARSOptimizer
from tf_simclr.compat import raw_variable
from tf_simclr.optim.lars import lars_update
from tf_simclr.optim.schedules import WarmupCosine


def numpy_lars(w, g, v, lr, m, wd, eta, adapt, nesterov, classic):
    """You et al. 2017, with the two placements of the momentum, in float64."""
    g = g + wd * w
    if classic:
        nw, ng = np.sqrt((w**2).sum()), np.sqrt((g**2).sum())
        trust = eta * nw / ng if adapt and nw > 0 and ng > 0 else 1.0
        v = m * v + lr * trust * g
        return (w - (m * v + lr * trust * g), v) if nesterov else (w - v, v)
    v = m * v + g
    u = m * v + g if nesterov else v
    nw, nu = np.sqrt((w**2).sum()), np.sqrt((u**2).sum())
    trust = eta * nw / nu if adapt and nw > 0 and nu > 0 else 1.0
    return w - lr * trust * u, v


@pytest.mark.parametrize(
    "nesterov,classic,adapt,wd", list(itertools.product([False, True], [False, True], [False, True], [0.0, 0.1]))
)
def test_update_equals_numpy_over_steps(nesterov, classic, adapt, wd):
    rng = np.random.default_rng(0)
    w = rng.normal(size=(3, 4))
    v = np.zeros_like(w)
    w_tf, v_tf = tf.constant(w), tf.constant(v)
    for _ in range(4):
        g = rng.normal(size=w.shape)
        w, v = numpy_lars(w, g, v, 0.7, 0.9, wd, 0.01, adapt, nesterov, classic)
        w_tf, v_tf = lars_update(
            w_tf,
            tf.constant(g),
            v_tf,
            learning_rate=tf.constant(0.7, tf.float64),
            weight_decay=wd,
            eeta=tf.constant(0.01, tf.float64),
            adapt=adapt,
            nesterov=nesterov,
            classic_momentum=classic,
        )
    np.testing.assert_allclose(w_tf, w, rtol=1e-6)
    np.testing.assert_allclose(v_tf, v, rtol=1e-6)


@pytest.mark.parametrize(
    "nesterov,classic,expected",
    [
        # w = (3, 4), ||w|| = 5; g = (0, 1), wd = 1/2 give g' = (1.5, 3), ||g'||^2 = 11.25; v = (1, 1), m = 1/2, lr = 2
        # trust = 0.1 * 5 / sqrt(11.25) = 0.149071198; lr * trust * g' = (0.447213595, 0.894427191)
        (False, True, (3 - 0.947213595, 4 - 1.394427191)),
        (True, True, (3 - 0.920820393, 4 - 1.591640787)),
        # v' = (2, 3.5), ||v'|| = sqrt(16.25); trust = 0.5 / 4.031128874 = 0.124034735; lr * trust * v'
        (False, False, (3 - 0.496138938, 4 - 0.868243142)),
    ],
)
def test_update_by_hand(nesterov, classic, expected):
    w, _ = lars_update(
        tf.constant([3.0, 4.0]),
        tf.constant([0.0, 1.0]),
        tf.constant([1.0, 1.0]),
        learning_rate=2.0,
        momentum=0.5,
        weight_decay=0.5,
        eeta=0.1,
        nesterov=nesterov,
        classic_momentum=classic,
    )
    np.testing.assert_allclose(w, expected, rtol=1e-6)


@pytest.mark.parametrize("w,g", [((0.0, 0.0), (1.0, 2.0)), ((1.0, 2.0), (0.0, 0.0))])
def test_a_norm_of_zero_gives_a_trust_of_one(w, g):
    new, _ = lars_update(tf.constant(w), tf.constant(g), tf.zeros(2), learning_rate=0.5, momentum=0.0)
    np.testing.assert_allclose(new, np.array(w) - 0.5 * np.array(g))


def make_variables():
    return [tf.Variable([3.0, 4.0], name="dense/kernel"), tf.Variable([1.0, 2.0], name="norm/gamma")]


def run_optimizer(optimizer, variables, steps=3):
    optimizer.build(variables)

    @tf.function
    def step(k):
        optimizer.apply_gradients([(k * tf.ones(2), variables[0]), (tf.constant([0.5, -0.5]), variables[1])])

    for k in range(1, steps + 1):
        step(tf.cast(k, tf.float32))
    return [v.numpy() for v in variables]


@pytest.mark.parametrize("exclusion", [["gamma"], ["^norm/"], lambda v: "norm" in v.name], ids=["leaf", "path", "fn"])
def test_optimizer_class_applies_exclusions_and_schedule(exclusion):
    schedule = WarmupCosine(peak=1.0, warmup_steps=2, total_steps=6)
    got = run_optimizer(
        LARSOptimizer(schedule, weight_decay=0.1, exclude_from_weight_decay=exclusion), make_variables()
    )
    w, b = np.array([3.0, 4.0]), np.array([1.0, 2.0])
    vw, vb = np.zeros(2), np.zeros(2)
    for k in range(1, 4):
        lr = float(schedule(k - 1))
        w, vw = numpy_lars(w, k * np.ones(2), vw, lr, 0.9, 0.1, 0.001, True, False, True)
        b, vb = numpy_lars(b, np.array([0.5, -0.5]), vb, lr, 0.9, 0.0, 0.001, False, False, True)
    np.testing.assert_allclose(got[0], w, rtol=1e-5)
    np.testing.assert_allclose(got[1], b, rtol=1e-5)


def test_layer_adaptation_has_its_own_exclusion():
    optimizer = LARSOptimizer(
        1.0, weight_decay=0.1, exclude_from_weight_decay=["gamma"], exclude_from_layer_adaptation=["kernel"]
    )
    got = run_optimizer(optimizer, make_variables(), steps=1)
    w, _ = numpy_lars(np.array([3.0, 4.0]), np.ones(2), np.zeros(2), 1.0, 0.9, 0.1, 0.001, False, False, True)
    b, _ = numpy_lars(np.array([1.0, 2.0]), np.array([0.5, -0.5]), np.zeros(2), 1, 0.9, 0, 0.001, True, False, True)
    np.testing.assert_allclose(got[0], w, rtol=1e-5)
    np.testing.assert_allclose(got[1], b, rtol=1e-5)


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_replicas_sum_gradients_to_the_same_weights(replicas, mirrored):
    strategy = mirrored(replicas)
    with strategy.scope():
        variable = tf.Variable([3.0, 4.0], name="w")
        optimizer = LARSOptimizer(0.5, weight_decay=0.1)
        optimizer.build([variable])

    @tf.function
    def step():
        def replica_step():
            optimizer.apply_gradients([(tf.constant([1.0, 2.0]) / replicas, variable)])

        strategy.run(replica_step)

    w, v = np.array([3.0, 4.0]), np.zeros(2)
    for _ in range(3):
        step()
        w, v = numpy_lars(w, np.array([1.0, 2.0]), v, 0.5, 0.9, 0.1, 0.001, True, False, True)
    np.testing.assert_allclose(variable.numpy(), w, rtol=1e-6)
    np.testing.assert_allclose(raw_variable(optimizer.slots[0]).numpy(), v, rtol=1e-5)


@pytest.mark.parametrize("rate", [0.25, WarmupCosine(1.0, 2, 6)], ids=["float", "schedule"])
def test_config_round_trip_leaves_the_config_alone(rate):
    optimizer = LARSOptimizer(rate, weight_decay=0.1, use_nesterov=True, exclude_from_weight_decay=["gamma"])
    config = optimizer.get_config()
    before = repr(config)
    again = LARSOptimizer.from_config(config)
    assert repr(config) == before
    assert again.get_config() == config
    np.testing.assert_array_equal(run_optimizer(again, make_variables()), run_optimizer(optimizer, make_variables()))


def test_a_predicate_does_not_serialise_in_silence():
    with pytest.raises(TypeError, match="name patterns"):
        LARSOptimizer(0.1, exclude_from_weight_decay=lambda v: True).get_config()
