"""An update that is not finite leaves everything as it was, to the bit, on every replica, and is counted."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from tests.networks import small_networks
from tests.wiring.given import Given, in_small
from tests.wiring.runs import context_of
from tf_simclr.compat import raw_variable
from tf_simclr.config import Durations, build_config
from tf_simclr.errors import DivergedError
from tf_simclr.train import build
from tf_simclr.train import run as run_module
from tf_simclr.train.checkpoint_store import CheckpointStore
from tf_simclr.train.observers import Observer
from tf_simclr.train.skip import SKIPPED, TOTAL, SkippedUpdates

BATCH, SIZE = 12, 8
DURATIONS = Durations(train_steps=10, warmup_steps=0, checkpoint_steps=10, steps_per_epoch=10)
# These go on with a step whose update is left out.
COUNTERS = {"optimizer/iterations", "online_head/steps", "skipped_updates/count"}
COUNT = "skipped_updates/count"


def state_of(**values):
    flags = {"dataset": "shapes", "train_batch_size": BATCH, "image_size": SIZE, "warmup_epochs": 0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "build_networks", small_networks)
        return build.build_train_state(build_config(flags | {"temperature": 0.5} | values), DURATIONS, num_classes=3)


def batch_of(number, share=BATCH, views=2, factor=1.0):
    rng = np.random.default_rng(number)
    images = rng.uniform(-1, 1, size=(views, share, 1, 1, 3)) + rng.normal(size=(views, share, SIZE, SIZE, 3))
    images = tuple(tf.constant(view.astype(np.float32)) for view in images)
    return {"views": (images[0] * factor, *images[1:]), "label": tf.constant(rng.integers(0, 3, share))}


def runner(strategy, **values):
    """step(number, factor) -> metrics of a batch, of which the last replica's images are multiplied by the factor."""
    with strategy.scope():
        state = state_of(**values)
    replicas, views = strategy.num_replicas_in_sync, 1 if values.get("train_mode") == "finetune" else 2

    @tf.function
    def step(batch):
        per_replica = strategy.run(state.step, (batch,))
        return {k: strategy.reduce(tf.distribute.ReduceOp.MEAN, v, axis=None) for k, v in per_replica.items()}

    def replica(number, factor, context):
        place = int(context.replica_id_in_sync_group)
        share = batch_of(10 * number + place, BATCH // replicas, views, factor if place == replicas - 1 else 1.0)
        return share

    def take(number, factor=1.0):
        made = functools.partial(replica, number, tf.constant(factor))
        batch = strategy.experimental_distribute_values_from_function(made)
        return {name: float(value) for name, value in step(batch).items()}

    return state, take


def copies_of(strategy, state):
    """Path -> every replica's own value."""
    named = state.named_state().items()
    return {path: [v.numpy() for v in strategy.experimental_local_results(raw_variable(x))] for path, x in named}


def require_same(got, want, paths):
    assert len(list(paths)) > 10
    for path in paths:
        for one, other in zip(got[path], want[path], strict=True):
            np.testing.assert_array_equal(one, other, err_msg=path)


CASES = [
    (1, {"online_head": "authors"}),
    (4, {}),
    (2, {"micro_batch_size": 4, "precision": "bfloat16"}),
    (2, {"optimizer": "adam", "global_bn": False, "precision": "float16", "memory_size": 48}),
    (1, {"train_mode": "finetune", "optimizer": "momentum"}),
    (1, {"jit_compile": True, "micro_batch_size": 4, "precision": "bfloat16", "memory_size": 24}),
]


def strategy_of(replicas, mirrored):
    return tf.distribute.OneDeviceStrategy("CPU:0") if replicas == 1 else mirrored(replicas)


@pytest.mark.parametrize(("replicas", "values"), CASES, ids=str)
def test_a_step_with_a_loss_that_is_no_number_changes_counters_alone(replicas, values, mirrored):
    strategy = strategy_of(replicas, mirrored)
    state, take = runner(strategy, skip_nonfinite_steps=2, **values)
    assert take(1)[SKIPPED] == 0.0
    before = copies_of(strategy, state)
    metrics = take(2, np.nan)
    after = copies_of(strategy, state)
    assert metrics.pop(SKIPPED) == 1.0 and set(metrics.values()) == {0.0}
    require_same(after, before, [path for path in before if path not in COUNTERS and "loss_scale" not in path])
    assert [int(copy) for copy in after[COUNT]] == [1] * replicas
    assert {int(copy) for copy in after["optimizer/iterations"]} == {2}
    metrics = take(3)
    assert metrics.pop(SKIPPED) == 0.0 and np.isfinite(list(metrics.values())).all()
    moved = copies_of(strategy, state)
    still = [path for path, was in after.items() if path.endswith("kernel") and np.array_equal(moved[path], was)]
    assert still == [] and state.skipped.count() == 1


@pytest.mark.parametrize(("replicas", "values"), [(1, {"micro_batch_size": 4}), (3, {"global_bn": False})])
def test_without_such_a_step_the_flag_changes_nothing(replicas, values, mirrored):
    strategy = strategy_of(replicas, mirrored)
    found = []
    for limit in (0, 5):
        state, take = runner(strategy, skip_nonfinite_steps=limit, **values)
        metrics = [take(number) for number in (1, 2, 3)]
        found.append((copies_of(strategy, state), [{k: v for k, v in m.items() if k != SKIPPED} for m in metrics]))
    (want, want_metrics), (got, got_metrics) = found
    require_same(got, want, want)
    for got_step, want_step in zip(got_metrics, want_metrics, strict=True):
        assert got_step == pytest.approx(want_step, rel=1e-6)  # a sum of losses has no fixed order


def test_as_many_as_are_allowed_and_no_more():
    _, take = runner(tf.distribute.OneDeviceStrategy("CPU:0"), skip_nonfinite_steps=2)
    assert [take(1, np.nan)[SKIPPED], take(2, np.inf)[SKIPPED]] == [1.0, 1.0]
    assert np.isnan(take(3, np.nan)[SKIPPED])  # and the loop ends the run


def toy(updates, losses, limit=9):
    """(weight, slot, count) after each step of a network of one weight, which gets these updates."""
    weight, slot, counter = tf.Variable([1.0, 2.0]), tf.Variable(0.5), tf.Variable(0, dtype=tf.int64)
    skipped = SkippedUpdates(limit)

    def step(batch):
        weight.assign_add([0.0, 1.0] * batch["update"])
        slot.assign_add(1.0)
        counter.assign_add(1)
        return {"train/total_loss": batch["loss"]}

    guarded = tf.function(skipped.guarded(step, {"a/weight": weight, "b/slot": slot, "counter": counter}))
    for update, loss in zip(updates, losses, strict=True):
        guarded({"update": tf.constant(update), "loss": tf.constant(loss)})
        yield weight.numpy().tolist(), float(slot), skipped.count()
    assert int(counter) == len(updates)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_loss_or_what_was_written_decides(bad):
    assert list(toy([1.0, 1.0, bad, 1.0], [0.1, bad, 0.1, 0.1])) == [
        ([1.0, 3.0], 1.5, 0),
        ([1.0, 3.0], 1.5, 1),
        ([1.0, 3.0], 1.5, 2),
        ([1.0, 4.0], 2.5, 2),
    ]


def test_gradients_that_float16_lost_are_left_to_the_loss_scale():
    state, take = runner(tf.distribute.OneDeviceStrategy("CPU:0"), skip_nonfinite_steps=2, precision="float16")
    state.updater.named_state()["loss_scale/scale"].assign(2.0**127)
    kernel = raw_variable(state.named_state()["encoder/stem_conv/kernel"])
    before = kernel.numpy()
    metrics = take(1)
    assert metrics[SKIPPED] == 0.0 and np.isfinite(metrics["train/total_loss"])
    assert float(state.updater.named_state()["loss_scale/scale"]) == 2.0**126 and state.skipped.count() == 0
    np.testing.assert_array_equal(kernel, before)


# ---- A run ----


class Recorder(Observer):
    def __init__(self):
        self.progress, self.windows = [], []

    def on_progress(self, progress):
        self.progress.append(progress)

    def on_window(self, step, metrics):
        self.windows.append((step, metrics))


def trained(directory, bad, monkeypatch, *, steps=6, limit=2):
    """A run whose batches of these steps have images that are no numbers: its outcome, observer, and lines."""
    given = Given(train_steps=steps, skip_nonfinite_steps=limit, checkpoint_steps=3)

    def batches(config, source, strategy, start, *, host_only):
        def batch(number):
            spoilt = tf.reduce_any(tf.equal(number + 1, tf.constant([0, *bad], tf.int64)))
            factor = tf.where(spoilt, np.nan, 1.0)
            return {"views": tuple(view * factor for view in whole["views"]), "label": whole["label"]}

        whole = batch_of(0)
        return iter(tf.data.Dataset.range(start, 99).map(batch))

    monkeypatch.setattr(run_module, "build_train_iterator", batches)
    said, observer = [], Recorder()
    context = context_of(given)
    context = run_module.RunContext(context.strategy, context.workers, context.stop, said.append)
    with in_small():
        state = run_module.build_run_state(given.config, given.durations, given.data.train, given.strategy)
        outcome = run_module.train(state, given.data.train, context, directory=str(directory), observer=observer)
    return outcome, observer, [line for line in said if "left out" in line]


def test_a_run_says_what_it_left_out_and_keeps_the_count(tmp_path, monkeypatch):
    outcome, observer, said = trained(tmp_path, [2], monkeypatch, steps=3)
    assert said == [
        "note: by step 2 an update was left out, whose loss or gradient was not finite; 1 of the 2 that "
        "--skip_nonfinite_steps allows"
    ]
    assert outcome.finished and outcome.state.skipped.figures() == {TOTAL: 1.0}
    # Every mean is one over the steps that were taken.
    assert [(call.step, call.skipped, bool(call.metrics)) for call in observer.progress] == [
        (1, 0, True),
        (2, 1, False),
        (3, 0, True),
    ]
    losses = [call.metrics["train/total_loss"] for call in observer.progress if call.metrics]
    assert observer.windows[-1][1][TOTAL] == 1.0
    assert all(np.isfinite(value) for _, metrics in observer.windows for value in metrics.values())
    assert all(loss > 0 for loss in losses)
    # The same run, longer: the count goes on from its checkpoint.
    outcome, _, said = trained(tmp_path, [2, 5], monkeypatch)
    assert outcome.state.skipped.count() == 2 and "2 of the 2" in said[0]


def test_after_the_last_that_is_allowed_the_run_ends(tmp_path, monkeypatch):
    with pytest.raises(
        DivergedError,
        match=r"diverged by step 5: not finite: an update\. .*checkpoint is of step 3.*1 of --skip_nonfinite_st",
    ):
        trained(tmp_path, [2, 5], monkeypatch, limit=1)
    with pytest.raises(DivergedError, match=r"diverged by step 3: not finite: encoder") as caught:
        trained(tmp_path / "other", [2], monkeypatch, limit=0)
    assert "skip_nonfinite" not in str(caught.value)


def test_checkpoints_of_earlier_versions_have_no_count(tmp_path):
    variables = {"encoder/a": tf.Variable(3.0), COUNT: tf.Variable(0, dtype=tf.int64)}
    CheckpointStore(str(tmp_path), {"encoder/a": tf.Variable(1.0)}, 1).save(4)
    assert CheckpointStore(str(tmp_path), variables, 1, optional=[COUNT]).restore_latest(pytest.fail) == 4
    assert float(variables["encoder/a"]) == 1.0 and int(variables[COUNT]) == 0
