"""LAMB against NumPy, against a hand-computed step, and against the libraries' own on each stack."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr import compat
from tf_simclr.config import OptimizerConfig
from tf_simclr.errors import InputError
from tf_simclr.optim.build import build_optimizer
from tf_simclr.optim.lamb import lamb_update
from tf_simclr.optim.schedules import WarmupCosine

STEPS = 6


def numpy_lamb(w, g, m, v, step, lr, wd, adapt):
    """You et al. 2020, Algorithm 2 (phi the identity), in float64."""
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g**2
    r = m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.999**step)) + 1e-6) + wd * w
    nw, nr = np.linalg.norm(w), np.linalg.norm(r)
    trust = nw / nr if adapt and nw > 0 and nr > 0 else 1.0
    return w - lr * trust * r, m, v


@pytest.mark.parametrize("adapt", [False, True])
@pytest.mark.parametrize("wd", [0.0, 0.1])
def test_update_equals_numpy_over_steps(adapt, wd):
    rng = np.random.default_rng(0)
    state = (rng.normal(size=12), np.zeros(12), np.zeros(12))
    ours = tuple(tf.constant(x) for x in state)
    for step in range(1, STEPS + 1):
        g = rng.normal(size=12)
        state = numpy_lamb(state[0], g, *state[1:], step, 0.3, wd, adapt)
        ours = lamb_update(
            ours[0],
            tf.constant(g),
            *ours[1:],
            step=tf.constant(float(step), tf.float64),
            learning_rate=0.3,
            weight_decay=wd,
            adapt=adapt,
        )
    for expected, got in zip(state, ours, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_a_first_step_by_hand():
    # m / (1 - 0.9) = g and v / (1 - 0.999) = g^2, so the update is the sign of g, of norm sqrt(2); ||w|| = 5.
    w, _, _ = lamb_update(
        tf.constant([3.0, 4.0]),
        tf.constant([0.5, -2.0]),
        tf.zeros(2),
        tf.zeros(2),
        step=tf.constant(1.0),
        learning_rate=0.1,
    )
    moved = 0.1 * 5 / np.sqrt(2)
    np.testing.assert_allclose(w, [3 - moved, 4 + moved], rtol=1e-5)


def variables_of(values):
    return [tf.Variable(v, name=f"layer{i}/kernel") for i, v in enumerate(values)]


def gradients_of(values):
    rng = np.random.default_rng(1)
    return [[tf.constant(rng.normal(size=v.shape), tf.float32) for v in values] for _ in range(STEPS)]


def values():
    rng = np.random.default_rng(2)
    return [rng.normal(size=shape).astype(np.float32) for shape in ((3, 4), (4,))]


def schedule():
    return WarmupCosine(0.2, 2, 20)


def test_the_run_s_optimizer_equals_the_update_and_spares_the_excluded():
    kernel, bias = variables = variables_of(values())
    config = OptimizerConfig(optimizer="lamb", weight_decay=0.1)
    optimizer = build_optimizer(config, schedule(), variables, [kernel])
    slots = compat.optimizer_slots(optimizer)
    assert [v.shape for v in slots["first_moment"]] == [v.shape for v in variables]
    states = [(v, np.zeros_like(v), np.zeros_like(v)) for v in values()]
    for step, gradients in enumerate(gradients_of(variables)):
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        lr = float(schedule()(step))
        states = [
            numpy_lamb(w, g.numpy(), m, v, step + 1, lr, wd, adapt)
            for (w, m, v), g, wd, adapt in zip(states, gradients, (0.1, 0.0), (True, False), strict=True)
        ]
    for variable, first, second, state in zip(
        (kernel, bias), slots["first_moment"], slots["second_moment"], states, strict=True
    ):
        for got, expected in zip((variable, first, second), state, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_without_addons_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_addons", None)
    with pytest.raises(InputError, match=r"Install requirements-addons\.txt"):
        compat.addons()


def test_without_decay_and_exclusions_it_is_the_library_s():
    ours, theirs = variables_of(values()), variables_of(values())
    optimizer = build_optimizer(OptimizerConfig(optimizer="lamb", weight_decay=0.0), schedule(), ours, ours)
    if compat.KERAS_3:
        library = tf.keras.optimizers.Lamb(schedule(), epsilon=1e-6)
    else:
        library = compat.addons().optimizers.LAMB(schedule())
    for gradients in gradients_of(ours):
        optimizer.apply_gradients(zip(gradients, ours, strict=True))
        library.apply_gradients(zip(gradients, theirs, strict=True))
    for got, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5)
