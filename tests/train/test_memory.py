"""The memory bank: MoCo's algorithm line by line, on replicas, in micro-batches, and in runs that are stopped."""

from __future__ import annotations

import functools
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.losses.test_memory_negatives import naive
from tests.networks import small_networks_everywhere
from tests.train.test_micro_batch import FixedMoments, condition, networks, worst
from tf_simclr.cli.main import main
from tf_simclr.compat import raw_variable
from tf_simclr.config import Durations, build_config
from tf_simclr.errors import InputError
from tf_simclr.nn.normalization import BatchNorm
from tf_simclr.train import build
from tf_simclr.train.checkpoints import read_values, shapes_in

BATCH, SIZE, STEPS, MEMORY, DECAY, TAU = 8, 8, 4, 48, 0.75, 0.5
DURATIONS = Durations(train_steps=10, warmup_steps=0, checkpoint_steps=10, steps_per_epoch=10)
TOLERANCE = 1e-4
ONE_DEVICE = tf.distribute.OneDeviceStrategy("CPU:0")
KEYS = {f"memory/{part}" for part in ("queue", "filled", "encoder/stem_conv/kernel", "encoder/stem_norm/moving_mean")}


def config_of(**values):
    flags = {"dataset": "shapes", "train_batch_size": BATCH, "optimizer": "momentum", "weight_decay": 1e-3}
    numbers = {"learning_rate": 1.0, "warmup_epochs": 0, "temperature": TAU}
    return build_config(flags | numbers | {"memory_size": MEMORY, "memory_decay": DECAY} | values)


def batches():
    """Images of another batch in every step, of very different colours."""
    rng = np.random.default_rng(0)
    colours = rng.uniform(-2, 2, size=(STEPS, 1, BATCH, 1, 1, 3))
    views = (colours + rng.normal(size=(STEPS, 2, BATCH, SIZE, SIZE, 3))).astype(np.float32)
    label = np.arange(BATCH) % 3
    return [{"views": tuple(pair), "label": label} for pair in views]


def state_of(state):
    return {path: raw_variable(v).numpy() for path, v in state.named_state().items()}


@functools.cache
def taken(strategy, config, norm=BatchNorm):
    """Metrics of each step, the state before all and after each, and every replica's queue at the end."""
    with pytest.MonkeyPatch.context() as patch, strategy.scope():
        patch.setattr(build, "build_networks", functools.partial(networks, norm=norm))
        state = build.build_train_state(config, DURATIONS, num_classes=3)
        condition(state.model)
        if state.memory is not None:
            state.memory.begin()

    @tf.function(autograph=False)
    def one_step(batch):
        return {k: strategy.reduce("MEAN", v, axis=None) for k, v in strategy.run(state.step, (batch,)).items()}

    share = BATCH // strategy.num_replicas_in_sync
    steps = {"views": tuple(np.concatenate(v) for v in zip(*(b["views"] for b in batches()), strict=True))}
    steps["label"] = np.concatenate([b["label"] for b in batches()])
    data = tf.data.Dataset.from_tensor_slices(steps).batch(share, drop_remainder=True)
    iterator = iter(strategy.distribute_datasets_from_function(lambda context: data))
    metrics, states = [], [state_of(state)]
    for _ in range(STEPS):
        metrics.append({k: float(v) for k, v in one_step(next(iterator)).items()})
        states.append(state_of(state))
    copies = []
    if state.memory is not None:
        queue = raw_variable(state.named_state()["memory/queue"])
        copies = [copy.numpy() for copy in strategy.experimental_local_results(queue)]
    return metrics, states, copies


def normalised(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


class Network:
    """The networks of a state, to be asked for projections without any of the code under test."""

    def __init__(self, norm):
        self.model = networks(config_of(), 0, norm)

    def project(self, values, batch, prefix=""):
        """Of both views, [2n, d], with these values; batch norms normalise by the batch."""
        for path, variable in self.model.named_variables().items():
            variable.assign(values[prefix + path])
        h = self.model.encoder(np.concatenate(batch["views"]), training=True)["final_avg_pool"]
        return self.model.projection_head(h, training=True)["proj_head_output"].numpy()


def test_queue_copy_and_loss_are_those_of_a_literal_simulation():
    """MoCo's Algorithm 1 with a Python list: the oldest batch leaves when the fourth comes."""
    metrics, states, _ = taken(ONE_DEVICE, config_of())
    network, queue = Network(BatchNorm), []
    paths = list(network.model.named_variables())
    copy = {path: states[0][path].astype(np.float64) for path in paths}
    for number, batch in enumerate(batches()):
        before, later = states[number], states[number + 1]
        z = network.project(before, batch)
        loss, accuracy, entropy = naive(np.split(z, 2), np.array(queue).reshape(-1, z.shape[1]), TAU)
        assert metrics[number]["train/contrast_loss"] == pytest.approx(loss, rel=TOLERANCE)
        assert metrics[number]["train/contrast_acc"] == pytest.approx(accuracy)
        assert metrics[number]["train/contrast_entropy"] == pytest.approx(entropy, rel=TOLERANCE)
        keys = normalised(network.project(copy, batch))
        copy = {path: DECAY * copy[path] + (1 - DECAY) * later[path] for path in paths}
        queue = [*keys, *queue][:MEMORY]
        assert later["memory/filled"] == len(queue) == min(MEMORY, 2 * BATCH * (number + 1))
        np.testing.assert_allclose(later["memory/queue"][: len(queue)], queue, atol=2e-5)
        assert not np.any(later["memory/queue"][len(queue) :])
        for path in paths:
            np.testing.assert_allclose(later[f"memory/{path}"], copy[path], rtol=1e-4, atol=1e-6)
    # The simulation could not tell a copy that follows at once, were the weights to stay as they are.
    assert worst({p: states[-1][p] for p in paths}, copy) > 100 * TOLERANCE


def test_the_first_step_is_one_without_a_memory_and_the_next_ones_are_not():
    with_memory, without = taken(ONE_DEVICE, config_of()), taken(ONE_DEVICE, config_of(memory_size=0))
    own = without[1][1]
    assert set(with_memory[1][1]) - set(own) > KEYS and set(own) < set(with_memory[1][1])
    assert worst({path: with_memory[1][1][path] for path in own}, own) < 1e-5
    assert with_memory[0][0] == pytest.approx(without[0][0], rel=1e-5, abs=1e-6)
    assert with_memory[0][1]["train/contrast_loss"] > without[0][1]["train/contrast_loss"] + 0.1


def assert_same(got, want):
    for step, wanted in zip(got[0], want[0], strict=True):
        assert step == pytest.approx(wanted, rel=TOLERANCE, abs=1e-5)
    assert worst(got[1][-1], want[1][-1]) < 10 * TOLERANCE
    assert all(np.array_equal(copy, got[2][0]) for copy in got[2])


# Four take a minute on the second stack, and are there what two are.
@pytest.mark.parametrize("replicas", [2, pytest.param(4, marks=pytest.mark.python_alone)])
def test_replicas_have_the_queue_of_the_whole_batch(replicas, mirrored):
    got = taken(mirrored(replicas), config_of())
    assert len(got[2]) == replicas
    assert_same(got, taken(ONE_DEVICE, config_of()))


@pytest.mark.parametrize(("replicas", "micro"), [(1, 3), (2, 3)])
def test_micro_batches_fill_the_queue_of_the_whole_batch(replicas, micro, mirrored):
    strategy = ONE_DEVICE if replicas == 1 else mirrored(replicas)
    assert_same(
        taken(strategy, config_of(micro_batch_size=micro), FixedMoments), taken(ONE_DEVICE, config_of(), FixedMoments)
    )


def test_projections_may_stay_as_long_as_they_are():
    _, states, _ = taken(ONE_DEVICE, config_of(hidden_norm=False), FixedMoments)
    want = Network(FixedMoments).project(states[-2], batches()[-1], "memory/")
    np.testing.assert_allclose(states[-1]["memory/queue"][: 2 * BATCH], want, rtol=1e-4, atol=1e-5)
    assert not np.allclose(np.linalg.norm(want, axis=1), 1, atol=0.1)


def test_xla_gives_the_same():
    assert_same(taken(ONE_DEVICE, config_of(jit_compile=True)), taken(ONE_DEVICE, config_of()))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_low_precision_remembers_float32(precision):
    network = {"image_size": 16, "resnet_depth": 10, "width_multiplier": 0.0625}
    config = build_config({**config_of().to_flags(), **network, "precision": precision})
    state = build.build_train_state(config, DURATIONS, num_classes=0)
    layer = state.memory._copy.encoder.get_layer("stem_conv")
    assert layer.compute_dtype == precision
    queue = state.named_state()["memory/queue"]
    assert queue.dtype == tf.float32 and queue.shape == (MEMORY, 128)
    views = np.random.default_rng(0).uniform(size=(2, BATCH, 16, 16, 3)).astype(np.float32)
    metrics = state.step({"views": tuple(map(tf.constant, views)), "label": tf.zeros([BATCH], tf.int64)})
    assert np.isfinite(float(metrics["train/total_loss"]))
    np.testing.assert_allclose(np.linalg.norm(queue[: 2 * BATCH], axis=1), 1, atol=1e-5)


# ---- A run ----

RUN = (
    *("--dataset=shapes", "--train_split=train[:48]", "--image_size=16", "--train_batch_size=16", "--warmup_epochs=0"),
    *("--optimizer=momentum", "--learning_rate=2", "--train_steps=4", "--checkpoint_steps=2", "--draw_views=False"),
    *("--mode=train", "--memory_size=64", "--memory_decay=0.9"),
)


def test_a_run_that_was_stopped_goes_on_to_the_bit(tmp_path, capsys):
    whole = tmp_path / "whole"
    with small_networks_everywhere():
        assert main(["train", f"--model_dir={whole}", *RUN]) == 0
        said = capsys.readouterr().out
        assert "memory: 64 more negatives, the projections of the last 2 batches by a copy" in said
        assert "at chance: ln(2 x 16 - 1 + 64) = 4.554 with a full memory" in said
        parted = shutil.copytree(whole, tmp_path / "parted")
        for file in parted.glob("ckpt-4.*"):
            file.unlink()
        assert main(["train", f"--model_dir={parted}", *RUN]) == 0
        assert "resuming from step 2" in capsys.readouterr().out
        assert main(["train", f"--model_dir={parted}", *RUN, "--memory_size=96"]) == 2
    assert "--memory_size was 64, is 96" in capsys.readouterr().err
    want, got = (read_values(str(d / "ckpt-4"), shapes_in(str(d / "ckpt-4"))) for d in (whole, parted))
    assert set(want) == set(got) and set(want) > KEYS and want["memory/filled"] == 64
    assert [path for path in want if not np.array_equal(want[path], got[path])] == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"memory_size": 8, "train_batch_size": 16},
            r"`memory_size` must be a multiple of the 32 projections of a batch, .* memory_size=8, train_batch_size=16"
            r", which is a queue smaller than the batch\. Pass --memory_size=32",
        ),
        ({"memory_size": 80, "train_batch_size": 16}, r"splits a batch\. Pass --memory_size=64, or 0"),
        ({"memory_size": 2**25}, "`memory_size` must be"),
        ({"memory_size": -1}, "`memory_size` must be"),
        ({"memory_size": 1024, "loss": "dcl"}, "adds negatives to nt_xent alone.*loss=dcl"),
        ({"memory_size": 1024, "train_mode": "finetune"}, "`memory_size` must be 0 when fine-tuning or distilling"),
        ({"memory_decay": 1.0}, r"`memory_decay` must be in \[0, 1\)"),
        ({"memory_decay": -0.1}, "`memory_decay` must be"),
    ],
)
def test_what_cannot_work_is_one_line(values, message):
    with pytest.raises(InputError, match=message) as caught:
        build_config({"dataset": "shapes"} | values)
    assert "\n" not in str(caught.value)
