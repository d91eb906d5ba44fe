"""Micro-batches give the gradient of the whole batch, which accumulating small batches does not."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.compat import raw_variable
from tf_simclr.config import Durations, build_config
from tf_simclr.errors import InputError
from tf_simclr.losses.nt_xent import nt_xent
from tf_simclr.losses.supervised import cross_entropy
from tf_simclr.nn import heads
from tf_simclr.nn.blocks import BlockStyle, conv, norm_relu
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.nn.normalization import BatchNorm
from tf_simclr.train import build
from tf_simclr.train.micro_batch import describe_micro_batches
from tf_simclr.train.step_checks import check_step

BATCH, SIZE = 16, 8
DURATIONS = Durations(train_steps=10, warmup_steps=0, checkpoint_steps=10, steps_per_epoch=10)
TOLERANCE = 1e-4
ONE_DEVICE = tf.distribute.OneDeviceStrategy("CPU:0")


class FixedMoments(BatchNorm):
    """A batch norm in inference mode: what remains is affine, and trained."""

    def call(self, inputs, training=None):
        return super().call(inputs, training=False)


def networks(config, num_classes, norm):
    """One convolution with enough values per channel that float32 noise stays far below the tolerance."""
    style = BlockStyle(norm=functools.partial(norm, momentum=0.9, global_moments=config.model.global_bn))
    inputs = tf.keras.Input((None, None, 3), name="images")
    x = norm_relu(conv(inputs, 6, 3, 2, "stem_conv", style), "stem", "", style)
    h = tf.keras.layers.GlobalAveragePooling2D(name="pool")(x)
    encoder = tf.keras.Model(inputs, {"final_avg_pool": h}, name="encoder")
    head = heads.build_projection_head(config.model.proj_head_mode, 6, 5, 2, style.norm)
    return SimCLRModel(encoder, head, heads.build_supervised_head(6, num_classes) if num_classes else None)


def config_of(**values):
    # With momentum SGD the slot of the first step is the gradient itself, times the rate.
    values = {"dataset": "shapes", "train_batch_size": BATCH, "optimizer": "momentum", "weight_decay": 1e-3} | values
    return build_config({"learning_rate": 1.0, "warmup_epochs": 0, "temperature": 0.5} | values)


@functools.cache
def make_batch():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, BATCH)
    label[[1, 2, 9]] = -1  # no label: the parts of the mean over the labelled ones are not equal
    # Images of very different colours: between projections that are all alike no gradient is left but rounding.
    colours = rng.uniform(-2, 2, size=(1, BATCH, 1, 1, 3))
    views = (colours + rng.normal(size=(2, BATCH, SIZE, SIZE, 3))).astype(np.float32)
    return {"views": tuple(views), "label": label}


def condition(model):
    """Weights of ordinary size: behind heads that start near 0 every gradient is too small to compare."""
    for path, variable in model.named_variables().items():
        rng = np.random.default_rng(len(path))
        if path.endswith("kernel"):
            variable.assign(rng.normal(size=variable.shape) / np.sqrt(np.prod(variable.shape[:-1])))
        else:
            variable.assign(rng.uniform(0.4, 0.8, variable.shape))


@functools.cache
def prepared(strategy, config, norm, contrastive):
    """A state, its step as one function, and the state it starts from; what is traced once serves every batch."""
    with pytest.MonkeyPatch.context() as patch, strategy.scope():
        patch.setattr(build, "build_networks", functools.partial(networks, norm=norm))
        state = build.build_train_state(config, DURATIONS, num_classes=3, contrastive=contrastive)
        condition(state.model)

    @tf.function(autograph=False)
    def one_step(batch):
        return {k: strategy.reduce("MEAN", v, axis=None) for k, v in strategy.run(state.step, (batch,)).items()}

    return state, one_step, state_of(state)


def state_of(state):
    return {path: raw_variable(v).numpy() for path, v in state.named_state().items()}


def run_steps(strategy, config, norm, *, steps=1, batch=None, contrastive=True):
    """Metrics of the last step, and the state after it."""
    state, one_step, start = prepared(strategy, config, norm, contrastive)
    for path, variable in state.named_state().items():
        variable.assign(start[path])
    share = config.data.train_batch_size // strategy.num_replicas_in_sync
    data = tf.data.Dataset.from_tensor_slices(batch or make_batch()).batch(share, drop_remainder=True).repeat()
    iterator = iter(strategy.distribute_datasets_from_function(lambda context: data))
    for _ in range(steps):
        metrics = one_step(next(iterator))
    return {k: float(v) for k, v in metrics.items()}, state_of(state)


def worst(got, want):
    """Largest difference of a whole state, each tensor relative to its own largest value."""
    assert set(got) == set(want)
    return max(np.abs(got[k] - want[k]).max() / max(np.abs(want[k]).max(), 1e-5) for k in want)


def assert_same(got, want):
    assert got[0] == pytest.approx(want[0], rel=TOLERANCE, abs=1e-5)
    assert worst(got[1], want[1]) < TOLERANCE


@pytest.mark.parametrize(
    ("head", "sizes"),
    # Blocks of any size know no head: the sizes are tried with one of them, with the others one that leaves a rest.
    [("none", (5,)), ("linear", (5,)), ("nonlinear", (BATCH, BATCH // 2, BATCH // 8, 5))],
)
def test_gradients_are_those_of_the_whole_batch(head, sizes, mirrored):
    run = functools.partial(run_steps, norm=FixedMoments)
    want = run(ONE_DEVICE, config_of(proj_head_mode=head))
    of_encoder = [v for k, v in want[1].items() if k.startswith("optimizer/momentum/encoder")]
    assert of_encoder and all(np.abs(v).max() > 1e-3 for v in of_encoder)
    for m in sizes:
        assert_same(run(ONE_DEVICE, config_of(proj_head_mode=head, micro_batch_size=m)), want)
    # All with labels: a mean over the labelled ones of each replica is not the mean over all of them.
    batch = make_batch() | {"label": np.arange(BATCH) % 3}
    want = run(ONE_DEVICE, config_of(proj_head_mode=head), batch=batch)
    assert_same(run(mirrored(2), config_of(proj_head_mode=head, micro_batch_size=3), batch=batch), want)


@pytest.mark.python_alone  # the losses have tests of their own on both stacks
@pytest.mark.parametrize("loss", ["dcl", "debiased", "supcon"])
def test_other_losses_too(loss, mirrored):
    """The supervised one needs the labels of all micro-batches, and of all replicas, at once."""
    run = functools.partial(run_steps, norm=FixedMoments)
    batch = make_batch() | {"label": np.arange(BATCH) % 3}
    want = run(ONE_DEVICE, config_of(loss=loss), batch=batch)
    usual = run(ONE_DEVICE, config_of(), batch=batch)
    assert want[0]["train/contrast_loss"] != pytest.approx(usual[0]["train/contrast_loss"], rel=1e-3)
    assert_same(run(ONE_DEVICE, config_of(loss=loss, micro_batch_size=5), batch=batch), want)
    assert_same(run(mirrored(2), config_of(loss=loss, micro_batch_size=3), batch=batch), want)


def test_accumulating_small_batches_is_something_else():
    run = functools.partial(run_steps, ONE_DEVICE, norm=FixedMoments)
    key = "optimizer/momentum/encoder/stem_conv/kernel"
    want = run(config_of())[1][key]
    pieces = [tf.nest.map_structure(lambda x, i=i: x[i : i + 4], make_batch()) for i in range(0, BATCH, 4)]
    small = config_of(train_batch_size=4, learning_rate=BATCH / 4)  # the same rate
    accumulated = np.mean([run(small, batch=piece)[1][key] for piece in pieces], axis=0)
    assert np.abs(accumulated - want).max() > 0.1 * np.abs(want).max()


def test_batch_norm_gradients_are_those_of_one_tape_over_all_micro_batches(monkeypatch):
    """Real batch norm, against the definition: every micro-batch through the networks, one loss, one tape."""
    config = config_of(micro_batch_size=5, online_head="authors")
    got = run_steps(ONE_DEVICE, config, BatchNorm)
    monkeypatch.setattr(build, "build_networks", functools.partial(networks, norm=BatchNorm))
    state = build.build_train_state(config, DURATIONS, num_classes=3)
    model, batch = state.model, make_batch()
    condition(model)
    with tf.GradientTape() as tape:
        z, logits = [], []
        for start in range(0, BATCH, 5):
            h = model.encoder(np.concatenate([v[start : start + 5] for v in batch["views"]]), training=True)
            h = h["final_avg_pool"]
            z.append(tf.split(model.projection_head(h, training=True)["proj_head_output"], 2))
            logits.append(tf.split(model.supervised_head(tf.stop_gradient(h)), 2))
        z_a, z_b = (tf.concat(part, axis=0) for part in zip(*z, strict=True))
        both = tf.concat([tf.concat(part, axis=0) for part in zip(*logits, strict=True)], axis=0)
        contrast = nt_xent(z_a, z_b, temperature=0.5).loss
        supervised = cross_entropy(both, np.tile(batch["label"], 2))
        decay = 0.5e-3 * tf.add_n([tf.reduce_sum(tf.square(tf.convert_to_tensor(v))) for v in state.penalized])
        total = contrast + supervised + decay
    assert got[0]["train/contrast_loss"] == pytest.approx(float(contrast), rel=1e-5)
    assert got[0]["train/total_loss"] == pytest.approx(float(total), rel=1e-5)
    rate = BATCH / 256
    for variable, gradient in zip(state.trained, tape.gradient(total, state.trained), strict=True):
        path = next(k for k, v in model.named_variables().items() if v is variable)
        slot = got[1][f"optimizer/momentum/{path}"]
        np.testing.assert_allclose(slot, -rate * gradient, rtol=1e-3, atol=1e-4 * np.abs(slot).max())
    for path, variable in model.named_variables().items():
        if "moving" in path:
            np.testing.assert_allclose(got[1][path], raw_variable(variable).numpy(), rtol=1e-5)


@pytest.mark.parametrize("m,updates", [(16, 1), (8, 2), (5, 4)])
def test_moving_statistics_move_once_a_micro_batch(m, updates):
    """All images are alike, so every micro-batch moves the mean a tenth of the rest of the way."""
    image = np.random.default_rng(1).uniform(size=(1, SIZE, SIZE, 3)).astype(np.float32)
    batch = {"views": (np.repeat(image, BATCH, axis=0),) * 2, "label": np.zeros(BATCH, np.int64)}
    run = functools.partial(run_steps, ONE_DEVICE, norm=BatchNorm, batch=batch)
    key = "encoder/stem_norm/moving_mean"
    start = np.random.default_rng(len(key)).uniform(0.4, 0.8, 6)
    plain = run(config_of())[1][key]
    mean = start + (plain - start) / 0.1
    want = mean + 0.9**updates * (start - mean)
    np.testing.assert_allclose(run(config_of(micro_batch_size=m))[1][key], want, rtol=1e-5, atol=1e-6)


def test_one_micro_batch_with_batch_norm_is_the_plain_step():
    run = functools.partial(run_steps, ONE_DEVICE, norm=BatchNorm, steps=2)
    assert_same(run(config_of(micro_batch_size=BATCH, optimizer="lars")), run(config_of(optimizer="lars")))


def test_global_batch_norm_takes_each_micro_batch_of_all_replicas(mirrored):
    """Two replicas, micro-batches of 4: the same as one replica whose micro-batches of 8 are their unions."""
    run = functools.partial(run_steps, norm=BatchNorm, steps=3)
    order = np.arange(BATCH).reshape(2, 2, 4).transpose(1, 0, 2).ravel()
    batch = make_batch() | {"label": np.arange(BATCH) % 3}
    united = tf.nest.map_structure(lambda x: x[order], batch)
    want = run(ONE_DEVICE, config_of(micro_batch_size=8, optimizer="lars"), batch=united)
    assert_same(run(mirrored(2), config_of(micro_batch_size=4, optimizer="lars"), batch=batch), want)


def test_a_mirrored_strategy_of_one_device_with_local_batch_norm(mirrored):
    run = functools.partial(run_steps, norm=BatchNorm)
    config = config_of(micro_batch_size=8, global_bn=False)
    assert_same(run(mirrored(1), config), run(ONE_DEVICE, config))


def test_the_untrained_baseline_trains_the_head_alone():
    run = functools.partial(run_steps, ONE_DEVICE, norm=FixedMoments, contrastive=False)
    got, want = run(config_of(micro_batch_size=5)), run(config_of())
    assert "train/contrast_loss" not in got[0]
    assert_same(got, want)


def test_the_graph_does_not_grow_with_the_number_of_micro_batches(monkeypatch):
    monkeypatch.setattr(build, "build_networks", functools.partial(networks, norm=BatchNorm))

    def operations(m):
        state = build.build_train_state(config_of(micro_batch_size=m), DURATIONS, num_classes=3)
        batch = tf.nest.map_structure(tf.constant, make_batch())
        graph = tf.function(state.step).get_concrete_function(batch).graph
        return len(graph.as_graph_def(add_shapes=False).node) + sum(
            len(f.node_def) for f in graph.as_graph_def().library.function
        )

    assert operations(2) == operations(8)


@pytest.mark.parametrize(
    "values,message",
    [
        ({"micro_batch_size": -1}, "micro_batch_size"),
        ({"micro_batch_size": 17}, "train_batch_size=16"),
        ({"micro_batch_size": 4, "train_mode": "finetune"}, "must be 0 when fine-tuning"),
    ],
)
def test_sizes_that_cannot_work(values, message):
    with pytest.raises(InputError, match=message):
        config_of(**values)


def test_a_micro_batch_larger_than_a_replicas_batch_is_refused(mirrored):
    with pytest.raises(InputError, match=r"share of the batch, here 8\. Received: micro_batch_size=9"):
        check_step(config_of(micro_batch_size=9), mirrored(2))
    check_step(config_of(micro_batch_size=9), ONE_DEVICE)


def test_the_line_for_the_log():
    assert describe_micro_batches(8, 16).startswith("2 micro-batches of 8 images a step")
    assert describe_micro_batches(5, 16).startswith("3 micro-batches of 5 images and one of 1 a step")
