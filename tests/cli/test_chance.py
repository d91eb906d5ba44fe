import math

import pytest

from tf_simclr.cli.chance import LOSS, ChanceWatch, chance_levels
from tf_simclr.cli.progress import ChanceLevels
from tf_simclr.config import LossConfig, build_config
from tf_simclr.losses.chance import chance_of
from tf_simclr.train.observers import Progress


def watched(losses, *, total=100, start=0, chance=3.0):
    """What a watch says of calls of one step with these losses, from step `start` + 1 on."""
    lines = []
    watch = ChanceWatch(chance, 0.3, lines.append)
    for step, loss in enumerate(losses, start=start + 1):
        watch.on_progress(Progress(step, total, 1.0, None, 0.1, {LOSS: loss}))
    return lines


def test_a_loss_at_chance_is_said_once_and_early():
    [line] = watched([3.0] * 100)
    assert "after 20 of 100 steps" in line and "3.000, not below chance (3.000)" in line and "0.3" in line
    assert "\n" not in line
    assert watched([3.0] * 19) == []


@pytest.mark.parametrize(
    ("losses", "warned"),
    [
        ([9.0] * 15 + [2.9] * 85, False),  # high at the start, below chance in time
        ([2.9] * 15 + [3.1] * 85, True),
        ([9.0] * 15 + [2.8, 3.1, 2.8, 3.1, 2.8] + [9.0] * 80, False),  # the mean counts, and nothing after it
        ([math.nan] * 100, True),
    ],
)
def test_the_mean_of_the_last_twentieth_decides(losses, warned):
    assert bool(watched(losses)) == warned


def test_a_run_that_goes_on_is_watched_from_there():
    assert len(watched([3.5] * 50, start=50)) == 1
    assert watched([2.5] * 50, start=50) == []


def test_calls_of_many_steps_weigh_by_their_steps():
    lines = []
    watch = ChanceWatch(3.0, 0.3, lines.append)
    for step, loss in ((10, 9.0), (16, 2.0), (20, 3.5), (30, 9.0)):
        watch.on_progress(Progress(step, 100, 1.0, None, 0.1, {LOSS: loss}))
    assert lines == []  # (6 * 2.0 + 4 * 3.5) / 10 = 2.6


def test_a_run_of_a_few_steps_is_not_watched():
    assert watched([9.0] * 99, total=99) == []
    assert len(watched([9.0] * 100)) == 1


def test_a_training_without_a_contrastive_loss_is_not_watched():
    lines = []
    watch = ChanceWatch(3.0, 0.3, lines.append)
    for step in range(1, 101):
        watch.on_progress(Progress(step, 100, 1.0, None, 0.1, {"train/supervised_loss": 9.0}))
    assert lines == []


def test_chance_of_each_loss():
    assert chance_of(LossConfig(), 8) == pytest.approx(math.log(15))
    assert chance_of(LossConfig(memory_size=32), 8) == pytest.approx(math.log(47))
    assert chance_of(LossConfig(loss="nt_logistic"), 8) == pytest.approx(2 * math.log(2))
    assert chance_of(LossConfig(loss="margin_triplet", margin=0.7), 8) == 0.7
    assert chance_of(LossConfig(loss="supcon"), 8) == pytest.approx(math.log(15))
    assert chance_of(LossConfig(loss="dcl"), 8) == pytest.approx(math.log(14))
    assert chance_of(LossConfig(loss="debiased"), 8) is None
    for name in ("nt_logistic", "margin_triplet"):
        assert chance_of(LossConfig(loss=name, semi_hard=True), 8) is None


def test_the_levels_of_a_training():
    pretraining, tuning = (
        build_config({"train_mode": mode, "train_batch_size": 8}) for mode in ("pretrain", "finetune")
    )
    assert chance_levels(pretraining, 0) == ChanceLevels(pytest.approx(math.log(15)), None)
    assert chance_levels(tuning, 10) == ChanceLevels(None, pytest.approx(math.log(10)))
