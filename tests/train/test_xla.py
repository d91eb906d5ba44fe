"""The whole training step compiles as one XLA program, and gives what the plain step gives."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.compat import raw_variable
from tf_simclr.config import Durations, build_config
from tf_simclr.errors import InputError
from tf_simclr.nn import heads
from tf_simclr.nn.blocks import BlockStyle, basic_block, conv, norm_relu
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.nn.normalization import BatchNorm
from tf_simclr.train import build
from tf_simclr.train.train_function import build_train_function

BATCH, SIZE = 8, 8
DURATIONS = Durations(train_steps=10, warmup_steps=1, checkpoint_steps=10, steps_per_epoch=10)
TOLERANCE = 1e-4


def small_networks(config, num_classes):
    """A stem and one residual block, so that every kind of layer of a ResNet is there."""
    style = BlockStyle(norm=BatchNorm)
    inputs = tf.keras.Input((None, None, 3), name="images")
    x = norm_relu(conv(inputs, 6, 3, 1, "stem_conv", style), "stem", "", style)
    x = basic_block(x, 8, 2, True, "block", style)
    h = tf.keras.layers.GlobalAveragePooling2D(name="pool")(x)
    encoder = tf.keras.Model(inputs, {"final_avg_pool": h}, name="encoder")
    head = heads.build_projection_head("nonlinear", 8, 5, 2)
    return SimCLRModel(encoder, head, heads.build_supervised_head(8, num_classes))


def make_batch():
    rng = np.random.default_rng(0)
    views = rng.uniform(-2, 2, size=(1, BATCH, 1, 1, 3)) + rng.normal(size=(2, BATCH, SIZE, SIZE, 3))
    return {"views": tuple(tf.constant(v, tf.float32) for v in views), "label": tf.constant(rng.integers(0, 3, BATCH))}


def config_of(**values):
    values = {"dataset": "shapes", "train_batch_size": BATCH, "temperature": 0.5} | values
    return build_config({"learning_rate": 20.0, "weight_decay": 1e-3} | values)


def trainer_of(monkeypatch, **values):
    monkeypatch.setattr(build, "build_networks", small_networks)
    return build.build_train_state(config_of(**values), DURATIONS, num_classes=3)


@functools.cache
def three_steps(jit_compile, micro_batch_size):
    """Losses of three LARS steps, as a run takes them, and the state after them."""
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with pytest.MonkeyPatch.context() as patch, strategy.scope():
        state = trainer_of(patch, jit_compile=jit_compile, micro_batch_size=micro_batch_size)
    iterator = iter(strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensors(make_batch()).repeat()))
    train = build_train_function(strategy, state.step)
    losses = [{k: float(v) for k, v in train(iterator, tf.constant(n))[0].items()} for n in (1, 2)]
    return losses, {path: raw_variable(v).numpy() for path, v in state.named_state().items()}


@pytest.mark.parametrize("micro_batch_size", [0, 4])
def test_the_compiled_step_is_the_plain_step(micro_batch_size):
    want_losses, want = three_steps(False, micro_batch_size)
    losses, state = three_steps(True, micro_batch_size)
    assert want["optimizer/iterations"] == 3
    for got_call, want_call in zip(losses, want_losses, strict=True):
        assert got_call == pytest.approx(want_call, rel=TOLERANCE, abs=1e-5)
    for path, value in want.items():
        np.testing.assert_allclose(state[path], value, atol=TOLERANCE * max(np.abs(value).max(), 1e-3), err_msg=path)


def test_it_is_one_compiled_program(monkeypatch):
    state = trainer_of(monkeypatch, jit_compile=True)
    function = state.step.get_concrete_function(make_batch()).function_def
    assert function.attr["_XlaMustCompile"].b
    program = state.step.experimental_get_compiler_ir(make_batch())(stage="hlo")
    # One call takes the views and every variable, and returns every variable that it changed.
    assert program.startswith("HloModule")
    assert "convolution(" in program and f"f32[{BATCH},{SIZE},{SIZE},3]" in program
    assert not hasattr(trainer_of(monkeypatch).step, "get_concrete_function")


@pytest.mark.parametrize("low", ["bfloat16", "float16"])
def test_low_precision_compiles(low, monkeypatch):
    state = trainer_of(monkeypatch, jit_compile=True, precision=low)
    assert np.isfinite(state.step(make_batch())["train/total_loss"].numpy())


@pytest.mark.parametrize("replicas", [1, 2])
def test_replicas_are_refused(replicas, mirrored, monkeypatch):
    strategy = mirrored(replicas)
    with (
        strategy.scope(),
        pytest.raises(InputError, match=r"`jit_compile` must be False with MirroredStrategy"),
    ):
        trainer_of(monkeypatch, jit_compile=True)
