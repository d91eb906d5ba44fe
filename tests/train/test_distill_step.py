"""A student's step on replicas and in micro-batches, the teacher that it leaves alone, and the average beside it."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from tests.train.test_micro_batch import FixedMoments, condition, networks
from tf_simclr.compat import raw_variable
from tf_simclr.config import Durations, build_config
from tf_simclr.losses.distillation import label_cross_entropy, soft_cross_entropy
from tf_simclr.nn.normalization import BatchNorm
from tf_simclr.train import build
from tf_simclr.train.average import WeightAverage
from tf_simclr.train.teacher import Teacher

BATCH, SIZE, CLASSES, STEPS = 12, 8, 3, 2
DURATIONS = Durations(train_steps=10, warmup_steps=0, checkpoint_steps=10, steps_per_epoch=10)
ONE_DEVICE = tf.distribute.OneDeviceStrategy("CPU:0")
TOLERANCE = 1e-4


def config_of(**values):
    flags = {"dataset": "shapes", "train_mode": "distill", "teacher": "T", "train_batch_size": BATCH}
    numbers = {"optimizer": "momentum", "learning_rate": 2.0, "warmup_epochs": 0, "weight_decay": 1e-3}
    return build_config(flags | numbers | {"distill_alpha": 0.5, "distill_temperature": 2.0, "ema_decay": 0.5} | values)


def batch_of(labels=True):
    rng = np.random.default_rng(0)
    colours = rng.uniform(-2, 2, size=(BATCH, 1, 1, 3))
    images = (colours + rng.normal(size=(BATCH, SIZE, SIZE, 3))).astype(np.float32)
    label = rng.integers(0, CLASSES, BATCH)
    # Not as many labelled images in each share of the batch.
    label[[0, 1, 2, 7]] = -1
    return {"views": (images,), "label": label if labels else np.full(BATCH, -1)}


def teacher_of(config, norm=BatchNorm):
    """With weights of ordinary size, and statistics that are not those of the student's batches."""
    tf.keras.utils.set_random_seed(5)
    model = networks(config, CLASSES, norm)
    condition(model)
    head = model.named_variables()["supervised_head/dense/kernel"]
    head.assign(np.random.default_rng(9).normal(size=head.shape))
    return Teacher(model, CLASSES, (), "digest", "T")


def state_of(state):
    return {path: raw_variable(v).numpy() for path, v in state.named_state().items()}


@functools.cache
def taken(strategy, config, norm=BatchNorm, labels=True):
    """Metrics of each of some steps, the state after each, and the teacher's values before and after."""
    with pytest.MonkeyPatch.context() as patch, strategy.scope():
        patch.setattr(build, "build_networks", functools.partial(networks, norm=norm))
        teacher = teacher_of(config)
        state = build.build_train_state(config, DURATIONS, CLASSES, teacher=teacher.logits)
        condition(state.model)
        if state.average is not None:
            state.average.begin()

    @tf.function(autograph=False)
    def one_step(batch):
        return {k: strategy.reduce("MEAN", v, axis=None) for k, v in strategy.run(state.step, (batch,)).items()}

    share = BATCH // strategy.num_replicas_in_sync
    data = tf.data.Dataset.from_tensor_slices(batch_of(labels)).batch(share, drop_remainder=True).repeat()
    iterator = iter(strategy.distribute_datasets_from_function(lambda context: data))
    of_teacher = {path: raw_variable(v).numpy() for path, v in teacher.model.named_variables().items()}
    metrics, states = [], [state_of(state)]
    for _ in range(STEPS):
        metrics.append({k: float(v) for k, v in one_step(next(iterator)).items()})
        states.append(state_of(state))
    after = {path: raw_variable(v).numpy() for path, v in teacher.model.named_variables().items()}
    return metrics, states, (of_teacher, after), state


def assert_same(got, want):
    for step, wanted in zip(got[0], want[0], strict=True):
        # An accuracy over the labelled images of each share is not that over all of them.
        names = set(wanted) - {"train/supervised_acc"}
        assert {k: step[k] for k in names} == pytest.approx({k: wanted[k] for k in names}, rel=TOLERANCE, abs=1e-5)
    before, after = got[2]
    assert all(np.array_equal(before[path], after[path]) for path in before), "the teacher changed"
    own, other = got[1][-1], want[1][-1]
    assert set(own) == set(other)
    worst = max(np.abs(own[k] - other[k]).max() / max(np.abs(other[k]).max(), 1e-3) for k in other)
    assert worst < TOLERANCE


# Four take a minute on the second stack, and are there what two are.
@pytest.mark.parametrize("replicas", [2, pytest.param(4, marks=pytest.mark.python_alone)])
def test_replicas_are_one_with_the_whole_batch(replicas, mirrored):
    assert_same(taken(mirrored(replicas), config_of()), taken(ONE_DEVICE, config_of()))


@pytest.mark.parametrize(("replicas", "micro"), [(1, 5), (2, 3)])
def test_micro_batches_add_up_to_the_batch(replicas, micro, mirrored):
    strategy = ONE_DEVICE if replicas == 1 else mirrored(replicas)
    want = taken(ONE_DEVICE, config_of(), FixedMoments)
    assert_same(taken(strategy, config_of(micro_batch_size=micro), FixedMoments), want)


def test_the_first_step_has_the_losses_of_the_formula():
    """Of the logits that teacher and student have for the same view."""
    config, batch = config_of(), batch_of()
    metrics, (start, *_), _, state = taken(ONE_DEVICE, config, FixedMoments)
    later = state_of(state)
    try:
        for path, variable in state.named_state().items():
            variable.assign(start[path])
        student = state.model.endpoints(batch["views"][0], training=False)["logits_sup"]
    finally:
        for path, variable in state.named_state().items():
            variable.assign(later[path])
    teacher = teacher_of(config).logits(batch["views"][0])
    distilled = float(soft_cross_entropy(student, teacher, temperature=2.0))
    supervised = float(label_cross_entropy(student, batch["label"]))
    first = metrics[0]
    assert first["train/distill_loss"] == pytest.approx(distilled, rel=1e-5)
    assert first["train/supervised_loss"] == pytest.approx(supervised, rel=1e-5)
    total = 0.5 * distilled + 0.5 * supervised + first["train/weight_decay"]
    assert first["train/weight_decay"] > 1e-3 and first["train/total_loss"] == pytest.approx(total, rel=1e-5)
    same = np.mean(np.argmax(student, axis=1) == np.argmax(teacher, axis=1))
    assert first["train/teacher_agreement"] == pytest.approx(same)


def test_without_the_labels_weight_no_label_counts():
    with_labels, without = (taken(ONE_DEVICE, config_of(distill_alpha=1.0), labels=labels) for labels in (True, False))
    assert "train/supervised_loss" not in with_labels[0][0] and with_labels[0] == without[0]
    assert all(np.array_equal(with_labels[1][-1][path], value) for path, value in without[1][-1].items())


def test_the_average_is_that_of_its_formula_and_changes_nothing():
    """Of weights and moving statistics, from the first values on; the training is the same to the bit."""
    _, states, _, _ = taken(ONE_DEVICE, config_of())
    averaged = [path for path in states[0] if path.startswith("average/")]
    own = [path.removeprefix("average/") for path in averaged]
    assert {"encoder/stem_conv/kernel", "encoder/stem_norm/moving_mean", "supervised_head/dense/bias"} <= set(own)
    expected = {path: states[0][path] for path in own}
    for number, values in enumerate(states[1:], start=1):
        decay = min(0.5, (1 + number) / (10 + number))
        expected = {path: decay * expected[path] + (1 - decay) * values[path] for path in own}
        for path in own:
            np.testing.assert_allclose(values[f"average/{path}"], expected[path], rtol=1e-5, atol=1e-7)
    _, without, _, _ = taken(ONE_DEVICE, config_of(ema_decay=0.0))
    assert set(without[-1]) == set(states[-1]) - set(averaged)
    assert all(np.array_equal(without[-1][path], states[-1][path]) for path in without[-1])


@pytest.mark.parametrize("values", [{"train_mode": "finetune", "teacher": None}, {"skip_nonfinite_steps": 3}], ids=str)
def test_every_training_and_every_guard_keeps_the_average(values):
    """A step that is left out leaves the average as it was."""
    metrics, states, _, _ = taken(ONE_DEVICE, config_of(**values))
    path = "average/encoder/stem_conv/kernel"
    assert not np.array_equal(states[0][path], states[-1][path]) and np.isfinite(metrics[-1]["train/total_loss"])


def test_the_average_takes_the_place_of_the_weights_for_a_while():
    variable, steps = tf.Variable([1.0, 2.0]), tf.Variable(0)
    average = WeightAverage(0.9, {"v": variable, "count": steps}, steps)
    variable.assign([5.0, 6.0])
    with average.in_place():
        np.testing.assert_array_equal(variable, [1.0, 2.0])
    with pytest.raises(RuntimeError), average.in_place():
        raise RuntimeError
    np.testing.assert_array_equal(variable, [5.0, 6.0])
    average.begin()
    assert list(average.named_state()) == ["average/v"]
    np.testing.assert_array_equal(average.named_state()["average/v"], [5.0, 6.0])
