from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.compat import raw_variable
from tf_simclr.config import build_config
from tf_simclr.nn.model import build_model
from tf_simclr.optim.build import build_optimizer
from tf_simclr.optim.decay import all_but, kernels, l2_penalty
from tf_simclr.optim.schedules import WarmupCosine


@pytest.fixture(scope="module")
def model():
    return build_model(depth=50, width_multiplier=0.0625, sk_ratio=0.0625, se_ratio=0.25, stem="cifar", num_classes=3)


def test_the_exact_set_that_decays_in_a_whole_model(model):
    """Every kernel and nothing else, although Keras 3 calls a batch norm's scale only "gamma"."""
    decayed = {id(v) for v in kernels(model.variable_layers().values())}
    names = {path for path, v in model.named_variables().items() if id(v) in decayed}
    assert names == {path for path in model.named_variables() if path.endswith("/kernel")}
    excluded = {path.rsplit("/")[-1] for path in model.named_variables()} - {"kernel"}
    assert excluded == {"gamma", "beta", "bias", "moving_mean", "moving_variance"}


def test_a_kernel_decays_once(model):
    """The layers of a model come once for each of their variables: those with a bias more often than once."""
    found = kernels(model.variable_layers().values())
    assert len(found) == len({id(v) for v in found})
    assert "supervised_head/dense/bias" in model.named_variables()


def test_frozen_kernels_do_not_decay(model):
    layer = model.supervised_head.layers[-1]
    layer.trainable = False
    try:
        assert kernels([layer]) == []
    finally:
        layer.trainable = True
    assert len(kernels([layer])) == 1


def test_lars_moves_nothing_but_kernels_when_only_decay_is_left(model):
    config = build_config({"dataset": "shapes", "weight_decay": 0.5}).optimizer
    encoder_kernels = kernels(model.encoder.layers)
    named = {p: v for p, v in model.named_variables().items() if not p.startswith("projection_head")}
    trained = [v for v in model.trainable_variables if id(v) in {id(x) for x in named.values()}]
    before = {path: raw_variable(v).numpy() for path, v in named.items()}
    optimizer = build_optimizer(config, WarmupCosine(100.0, 0, 10), trained, encoder_kernels)
    optimizer.apply_gradients([(tf.zeros(v.shape), v) for v in trained])
    moved = {path for path, v in named.items() if not np.array_equal(before[path], raw_variable(v).numpy())}
    assert moved == {path for path in named if path.startswith("encoder/") and path.endswith("/kernel")}


@pytest.mark.parametrize("kind,expected", [("lars", "LARSOptimizer"), ("momentum", "SGD"), ("adam", "Adam")])
def test_every_optimizer_is_built_and_steps(kind, expected):
    config = build_config({"dataset": "shapes", "optimizer": kind, "momentum": 0.5}).optimizer
    variable = tf.Variable([1.0, -1.0])
    optimizer = build_optimizer(config, WarmupCosine(0.1, 0, 10), [variable], [variable])
    assert type(optimizer).__name__ == expected
    optimizer.apply_gradients([(tf.constant([1.0, -1.0]), variable)])
    assert float(variable[0]) < 1.0 and float(variable[1]) > -1.0


def test_momentum_is_nesterov():
    config = build_config({"dataset": "shapes", "optimizer": "momentum", "momentum": 0.5}).optimizer
    variable = tf.Variable(1.0)
    optimizer = build_optimizer(config, WarmupCosine(0.1, 0, 10**9), [variable], [])
    optimizer.apply_gradients([(tf.constant(1.0), variable)])
    assert float(variable) == pytest.approx(1.0 - 0.1 * (0.5 * 1.0 + 1.0), rel=1e-6)


def test_penalty_by_hand_and_its_gradient():
    variables = [tf.Variable([3.0, 4.0]), tf.Variable(2.0)]
    with tf.GradientTape() as tape:
        penalty = l2_penalty(variables, 0.1)
    assert float(penalty) == pytest.approx(0.1 * (25 + 4) / 2)
    np.testing.assert_allclose(tape.gradient(penalty, variables)[0], [0.3, 0.4], rtol=1e-6)
    assert float(l2_penalty([], 0.1)) == 0.0


def test_all_but_goes_by_identity():
    one, other = tf.Variable(1.0, name="same"), tf.Variable(1.0, name="same")
    excluded = all_but([one])
    assert not excluded(one) and excluded(other)
