"""A step on 1, 2, 3 and 4 replicas is the step of one replica with the whole batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from tests.networks import small_networks
from tf_simclr.compat import raw_variable
from tf_simclr.config import Durations, LossConfig, build_config
from tf_simclr.losses.margin_triplet import margin_triplet
from tf_simclr.losses.nt_logistic import nt_logistic
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.train import build
from tf_simclr.train.step import contrastive_loss
from tf_simclr.train.train_function import build_train_function

BATCH, SIZE = 12, 8
DURATIONS = Durations(train_steps=10, warmup_steps=1, checkpoint_steps=10, steps_per_epoch=10)
TOLERANCE = 1e-4


def make_batch():
    rng = np.random.default_rng(0)
    views = rng.uniform(size=(2, BATCH, SIZE, SIZE, 3)).astype(np.float32)
    return {"views": tuple(views), "label": rng.integers(0, 3, BATCH)}


def three_steps(strategy, config, monkeypatch):
    """Losses of three steps and the state after them."""
    monkeypatch.setattr(build, "build_networks", small_networks)
    with strategy.scope():
        state = build.build_train_state(config, DURATIONS, num_classes=3)
    replicas = strategy.num_replicas_in_sync
    data = _per_replica(tf.data.Dataset.from_tensors(make_batch()).repeat(), replicas, BATCH // replicas)
    iterator = iter(strategy.distribute_datasets_from_function(lambda context: data))
    train = build_train_function(strategy, state.step)
    losses = [{k: float(v) for k, v in train(iterator, tf.constant(1))[0].items()} for _ in range(3)]
    return losses, {path: raw_variable(v).numpy() for path, v in state.named_state().items()}


@pytest.fixture(scope="module")
def run() -> Callable:
    """Three steps on some replicas (0: one device without a strategy of several); each run is made once a module."""
    made = {}

    def losses_and_state(replicas, mirrored=None, **values):
        key = (replicas, *sorted(values.items()))
        if key not in made:
            strategy = mirrored(replicas) if replicas else tf.distribute.OneDeviceStrategy("CPU:0")
            with pytest.MonkeyPatch.context() as patch:
                made[key] = three_steps(strategy, config_of(**values), patch)
        return made[key]

    return losses_and_state


def _per_replica(data, replicas, share):
    """Cuts every global batch into the replicas' shares, one after the other."""

    def cut(batch):
        views = tuple(tf.reshape(v, [replicas, share, SIZE, SIZE, 3]) for v in batch["views"])
        return tf.data.Dataset.from_tensor_slices(
            {"views": views, "label": tf.reshape(batch["label"], [replicas, share])}
        )

    return data.flat_map(cut)


def config_of(**values):
    values = {"dataset": "shapes", "train_batch_size": BATCH, "learning_rate": 20.0, "temperature": 0.5} | values
    return build_config(values)


def worst(got, want):
    """Largest difference of a whole state, each tensor relative to its own largest value."""
    return max(np.abs(got[k] - want[k]).max() / max(np.abs(want[k]).max(), 1e-3) for k in want)


# Each number of replicas and each head, not each of both: a head is on every replica what it is on one.
@pytest.mark.parametrize(("replicas", "head"), [(2, "none"), (3, "linear"), (4, "nonlinear")])
def test_replicas_are_one_with_the_whole_batch(replicas, head, mirrored, run):
    values = {"proj_head_mode": head, "weight_decay": 1e-3}
    want_losses, want = run(1, mirrored, **values)
    losses, state = run(replicas, mirrored, **values)
    for got_step, want_step in zip(losses, want_losses, strict=True):
        assert got_step == pytest.approx(want_step, rel=TOLERANCE, abs=1e-5)
    assert worst(state, want) < TOLERANCE


def test_local_batch_norm_is_not_the_same(mirrored, run):
    """So that the test above can fail."""
    _, want = run(1, mirrored, global_bn=False)
    _, state = run(2, mirrored, global_bn=False)
    assert worst(state, want) > 10 * TOLERANCE


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "lamb"])
def test_other_optimizers_agree_too(optimizer, mirrored, run):
    values = {"optimizer": optimizer, "learning_rate": 0.5 if optimizer == "momentum" else 0.01}
    _, want = run(1, mirrored, **values)
    _, state = run(2, mirrored, **values)
    # Adam and LAMB divide by the root of tiny second moments, which magnifies rounding: up to 3e-3 was seen.
    assert worst(state, want) < (TOLERANCE if optimizer == "momentum" else 100 * TOLERANCE)


def without_labels(config, num_classes):
    model = small_networks(config, 3)
    return SimCLRModel(model.encoder, model.projection_head)


@pytest.mark.parametrize("values", [{}, {"micro_batch_size": 5}, {"optimizer": "adam", "learning_rate": 0.01}], ids=str)
def test_the_online_head_never_reaches_the_encoder(values, run, monkeypatch):
    """It moves alike with either head and with none, to the last bit."""
    _, standardised = run(0, **values)
    _, authors = run(0, online_head="authors", **values)
    monkeypatch.setattr(build, "build_networks", without_labels)
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        state = build.build_train_state(config_of(**values), DURATIONS, num_classes=0)
    train = build_train_function(strategy, state.step)
    iterator = iter(tf.data.Dataset.from_tensors(make_batch()).repeat())
    for _ in range(3):
        train(iterator, tf.constant(1))
    none = {path: raw_variable(v).numpy() for path, v in state.named_state().items()}
    encoder = [path for path in none if path.startswith(("encoder", "projection_head"))]
    assert len(encoder) > 10
    for other in (standardised, authors):
        assert [path for path in encoder if not np.array_equal(other[path], none[path])] == []
    head = "supervised_head/dense/kernel"
    assert not np.array_equal(standardised[head], authors[head])


def test_the_online_head_learns_from_images_as_evaluation_sees_them(monkeypatch):
    """Where the batch has some; the encoder does not notice, and its statistics stay."""
    states = {}
    for plain in (0, 4):
        monkeypatch.setattr(build, "build_networks", small_networks)
        state = build.build_train_state(config_of(warmup_epochs=0), DURATIONS, num_classes=3)
        batch = tf.nest.map_structure(tf.constant, make_batch())
        if plain:
            batch["plain"] = batch["views"][0][:plain]
        for _ in range(2):
            state.step(batch)
        states[plain] = {path: raw_variable(v).numpy() for path, v in state.named_state().items()}
    moved = {path for path in states[0] if not np.array_equal(states[0][path], states[4][path])}
    assert {"online_head/mean", "supervised_head/dense/kernel"} <= moved
    assert all(path.startswith(("online_head", "supervised_head")) for path in moved)


def test_the_untrained_baseline_trains_the_head_alone(monkeypatch):
    monkeypatch.setattr(build, "build_networks", small_networks)
    state = build.build_train_state(config_of(warmup_epochs=0), DURATIONS, num_classes=3, contrastive=False)
    before = {path: raw_variable(v).numpy() for path, v in state.model.named_variables().items()}
    state.optimizer.iterations.assign(1)  # the rate of step 0 of a warm-up is 0
    metrics = state.step({k: tf.nest.map_structure(tf.constant, v) for k, v in make_batch().items()})
    assert "train/contrast_loss" not in metrics
    moved = {
        p for p, v in state.model.named_variables().items() if not np.array_equal(before[p], raw_variable(v).numpy())
    }
    statistics = {p for p in before if p.startswith("encoder") and "moving" in p}
    assert moved == statistics | {"supervised_head/dense/kernel", "supervised_head/dense/bias"}


def test_total_loss_is_the_sum_of_its_parts(run):
    losses, _ = run(0, weight_decay=0.1)
    for step in losses:
        parts = ("train/contrast_loss", "train/supervised_loss", "train/weight_decay")
        assert step["train/total_loss"] == pytest.approx(sum(step[part] for part in parts), rel=1e-5)


def test_the_loss_follows_the_temperature(run):
    (hot, *_), _ = run(0)
    (cold, *_), _ = run(0, temperature=0.1)
    assert cold["train/contrast_loss"] != pytest.approx(hot["train/contrast_loss"], rel=1e-2)


@pytest.mark.python_alone  # the losses have tests of their own on both stacks
@pytest.mark.parametrize(
    "values",
    [
        {"loss": "nt_logistic"},
        {"loss": "margin_triplet", "semi_hard": True},
        {"loss": "supcon"},
    ],
)
def test_another_loss_is_taken_on_one_replica_and_on_two(values, mirrored, run):
    (usual, *_), _ = run(0)
    want_losses, want = run(0, **values)
    losses, state = run(2, mirrored, **values)
    for got_step, want_step in zip(losses, want_losses, strict=True):
        assert got_step == pytest.approx(want_step, rel=TOLERANCE, abs=1e-5)
    assert worst(state, want) < TOLERANCE
    # The first step has the same projections whatever the loss.
    for tag in ("train/contrast_acc", "train/contrast_entropy"):
        assert want_losses[0][tag] == pytest.approx(usual[tag], rel=1e-5)
    assert want_losses[0]["train/contrast_loss"] != pytest.approx(usual["train/contrast_loss"], rel=1e-2)


def test_the_numbers_of_a_loss_reach_it():
    z_a, z_b = (tf.constant(z) for z in np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float32))
    for loss, function in (("nt_logistic", nt_logistic), ("margin_triplet", margin_triplet)):
        numbers = {"temperature": 0.3, "hidden_norm": False, "margin": 3.0, "semi_hard": True}
        got = contrastive_loss(z_a, z_b, LossConfig(loss=loss, **numbers))
        np.testing.assert_array_equal(got, function(z_a, z_b, **numbers))
        for name, usual in (("temperature", 0.1), ("hidden_norm", True), ("margin", 0.4), ("semi_hard", False)):
            other = contrastive_loss(z_a, z_b, LossConfig(loss=loss, **numbers | {name: usual}))
            assert not np.array_equal(other, got), f"{loss} does not depend on {name}"
