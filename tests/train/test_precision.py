"""Low precision computes in the layers only, and float16 survives gradients that are no numbers."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.compat import raw_variable
from tf_simclr.config import Durations, build_config
from tf_simclr.errors import InputError
from tf_simclr.nn import heads
from tf_simclr.nn.blocks import BlockStyle, conv, norm_relu
from tf_simclr.nn.model import SimCLRModel, build_model
from tf_simclr.nn.normalization import BatchNorm
from tf_simclr.train import build, precision
from tf_simclr.train.precision import INITIAL_SCALE, LARGEST_SCALE, Updater, are_finite_everywhere

BATCH, SIZE = 8, 16
DURATIONS = Durations(train_steps=10, warmup_steps=0, checkpoint_steps=10, steps_per_epoch=10)
SCALE = 64.0
LOW = ("bfloat16", "float16")


def config_of(**values):
    values = {"dataset": "shapes", "train_batch_size": BATCH, "image_size": SIZE, "temperature": 0.5} | values
    return build_config({"num_proj_layers": 2, "warmup_epochs": 0, "width_multiplier": 0.0625} | values)


def make_batch(share=BATCH):
    """Images of very different colours: between projections that are all alike no gradient is left but rounding."""
    rng = np.random.default_rng(0)
    views = rng.uniform(-2, 2, size=(1, share, 1, 1, 3)) + rng.normal(size=(2, share, SIZE, SIZE, 3))
    views = views.astype(np.float32)
    return {"views": tuple(tf.constant(v) for v in views), "label": tf.constant(rng.integers(0, 3, share))}


def small_networks(config, num_classes):
    """Two convolutions and the usual heads."""
    policy = precision.POLICIES[config.runtime.precision]
    style = BlockStyle(norm=BatchNorm, dtype=policy)
    inputs = tf.keras.Input((None, None, 3), name="images")
    x = norm_relu(conv(inputs, 8, 3, 2, "stem_conv", style), "stem", "", style)
    x = norm_relu(conv(x, 8, 3, 1, "block_conv", style), "block", "", style)
    h = tf.keras.layers.GlobalAveragePooling2D(name="pool", dtype="float32")(x)
    encoder = tf.keras.Model(inputs, {"final_avg_pool": h}, name="encoder")
    head = heads.build_projection_head("nonlinear", 8, 5, 2, BatchNorm, policy)
    return SimCLRModel(encoder, head, heads.build_supervised_head(8, num_classes))


def small_trainer(**values):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "build_networks", small_networks)
        state = build.build_train_state(config_of(**values), DURATIONS, num_classes=3)
    # As after the first few steps of a run, which only lower it.
    state.updater.named_state()["loss_scale/scale"].assign(SCALE)
    return state


def state_of(state):
    return {path: raw_variable(v).numpy() for path, v in state.named_state().items()}


@functools.cache
def two_steps(**values):
    """Metrics of two steps, the state after them, and its state after the first one."""
    state = small_trainer(**values)
    step = tf.function(state.step)
    first = step(make_batch())
    after_first = state_of(state)
    return [{k: float(v) for k, v in metrics.items()} for metrics in (first, step(make_batch()))], state, after_first


@pytest.mark.parametrize("low", LOW)
def test_losses_are_close_and_the_state_is_float32(low):
    want, reference, _ = two_steps()
    got, state, _ = two_steps(precision=low)
    for step, other in zip(got, want, strict=True):
        assert step["train/contrast_loss"] == pytest.approx(other["train/contrast_loss"], rel=0.02)
        assert step["train/supervised_loss"] == pytest.approx(other["train/supervised_loss"], rel=0.02)
    assert got[0]["train/contrast_loss"] != want[0]["train/contrast_loss"]  # it did compute in low precision
    assert list(state.named_state()) == list(reference.named_state())
    for path, variable in state.named_state().items():
        value = raw_variable(variable)
        assert value.dtype == (tf.int64 if path.endswith(("iterations", "steps", "count")) else tf.float32), path
        assert np.isfinite(value.numpy()).all(), path


def gradient_of(**values):
    """The gradient of the first step, all in one vector: the slots of momentum SGD, which starts from none."""
    state = two_steps(optimizer="momentum", weight_decay=0.0, **values)[2]
    return np.concatenate([v.ravel() for k, v in state.items() if k.startswith("optimizer/momentum")])


@pytest.mark.parametrize("low", LOW)
@pytest.mark.parametrize("micro_batch_size", [0, BATCH])
def test_gradients_are_close_too(low, micro_batch_size):
    """The loss scale has to be out of them again."""
    got, want = gradient_of(precision=low, micro_batch_size=micro_batch_size), gradient_of()
    assert np.dot(got, want) / np.linalg.norm(got) / np.linalg.norm(want) > 0.98
    assert np.linalg.norm(got) == pytest.approx(np.linalg.norm(want), rel=0.1)


@pytest.mark.parametrize("low", LOW)
@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
def test_every_layer_takes_the_policy_and_endpoints_are_float32(stem, low):
    model = build_model(depth=50, width_multiplier=0.0625, sk_ratio=0.0625, se_ratio=0.25, stem=stem, num_classes=3,
                        dtype=precision.POLICIES[low])  # fmt: skip
    with tf.GradientTape() as tape:
        endpoints = model.endpoints(make_batch(2)["views"][0], training=True)
        loss = tf.add_n([tf.reduce_mean(endpoints[k]) for k in ("proj_head_output", "logits_sup")])
    assert {value.dtype for value in endpoints.values()} == {tf.float32}
    assert model.encoder(tf.zeros([1, SIZE, SIZE, 3]))["block_group4"].dtype == low
    gradients = [g for g in tape.gradient(loss, model.trainable_variables) if g is not None]
    assert len(gradients) > 100 and all(np.isfinite(g.numpy()).all() for g in gradients)


def small_updater(optimizer=None):
    variable = tf.Variable([1.0, 2.0])
    optimizer = optimizer or tf.keras.optimizers.SGD(1.0, momentum=0.9)
    optimizer.build([variable])
    return variable, Updater(optimizer, [variable], dynamic_scale=True)


def number(updater, name):
    return updater.named_state()[f"loss_scale/{name}"].numpy()


def apply_function(updater):
    return tf.function(lambda gradient: updater.apply([updater.scaled(gradient)]))


def test_scaled_gradients_update_as_unscaled_ones():
    variable, updater = small_updater()
    apply_function(updater)(tf.constant([0.5, -1.0]))
    np.testing.assert_array_equal(variable.numpy(), [0.5, 3.0])
    assert (number(updater, "scale"), number(updater, "good_steps")) == (INITIAL_SCALE, 1)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_a_gradient_that_is_no_number_changes_nothing_but_the_scale(bad):
    variable, updater = small_updater()
    apply = apply_function(updater)
    apply(tf.constant([0.5, -1.0]))
    before = variable.numpy()
    velocity = updater.optimizer.momentums[0].numpy()
    apply(tf.constant([bad, 1.0]))
    np.testing.assert_array_equal(variable.numpy(), before)
    np.testing.assert_array_equal(updater.optimizer.momentums[0].numpy(), velocity)
    assert (number(updater, "scale"), number(updater, "good_steps")) == (INITIAL_SCALE / 2, 0)
    assert updater.optimizer.iterations.numpy() == 2  # the learning rate follows the run
    apply(tf.constant([0.0, 0.0]))  # the velocity alone: 0.9 * -0.5
    np.testing.assert_allclose(variable.numpy(), before + 0.9 * velocity)


def test_the_scale_doubles_after_good_steps_and_stays_in_its_range(monkeypatch):
    monkeypatch.setattr(precision, "GROWTH_STEPS", 2)
    _, updater = small_updater()
    apply = apply_function(updater)
    scales = []
    for _ in range(5):
        apply(tf.constant([0.0, 0.0]))
        scales.append(number(updater, "scale") / INITIAL_SCALE)
    assert scales == [1, 2, 2, 4, 4]
    updater.named_state()["loss_scale/scale"].assign(LARGEST_SCALE)
    apply(tf.constant([0.0, 0.0]))
    assert number(updater, "scale") == LARGEST_SCALE
    updater.named_state()["loss_scale/scale"].assign(1.0)
    apply(tf.constant([np.nan, 0.0]))
    assert number(updater, "scale") == 1.0


def test_all_replicas_skip_when_one_must(mirrored):
    strategy = mirrored(2)
    with strategy.scope():
        state = small_trainer(precision="float16", micro_batch_size=3)
    share = make_batch(BATCH // 2)

    def replica(context, value):
        views = share["views"]
        if context.replica_id_in_sync_group == 1:
            views = (views[0] * value, views[1])
        return {"views": views, "label": share["label"]}

    @tf.function(autograph=False)
    def step(batch):
        return strategy.run(state.step, (batch,))

    def run(value):
        # Finite everywhere, but the second replica's image leaves the range of float16.
        step(strategy.experimental_distribute_values_from_function(lambda context: replica(context, value)))
        return state_of(state)

    first = run(1.0)
    after = run(1e6)
    counts = ("optimizer/iterations", "online_head/steps")
    kept = [k for k in first if not (k.startswith("loss_scale") or "moving" in k or k in counts)]
    assert {"online_head/mean", "supervised_head/dense/kernel"} <= set(kept)
    assert all(np.array_equal(after[path], first[path]) for path in kept)
    assert (first["loss_scale/scale"], after["loss_scale/scale"]) == (SCALE, SCALE / 2)
    copies = strategy.experimental_local_results(state.named_state()["loss_scale/scale"])
    assert len({float(copy) for copy in copies}) == 1


def test_finiteness_looks_at_every_tensor():
    assert are_finite_everywhere([tf.zeros([2]), tf.ones([1, 2])])
    assert not are_finite_everywhere([tf.zeros([2]), tf.constant([[0.0, np.nan]])])


def test_an_unknown_precision_lists_the_choices():
    with pytest.raises(InputError, match="float32, bfloat16, float16"):
        config_of(precision="int8")


def test_the_networks_take_the_flag():
    model = build.build_networks(config_of(precision="bfloat16", resnet_depth=18), 3)
    assert model.encoder(tf.zeros([1, SIZE, SIZE, 3]))["block_group4"].dtype == tf.bfloat16
