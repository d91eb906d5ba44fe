from __future__ import annotations

import contextlib
import os
import signal

import pytest
import tensorflow as tf

from tf_simclr.config import Durations
from tf_simclr.train import loop as loop_module
from tf_simclr.train.interrupts import StopRequest
from tf_simclr.train.loop import DivergedError, run_loop
from tf_simclr.train.skip import SKIPPED
from tf_simclr.train.train_function import build_train_function


class Recorder:
    def __init__(self):
        self.progress, self.windows = [], []

    def on_progress(self, progress):
        self.progress.append(progress)

    def on_window(self, step, metrics):
        self.windows.append((step, metrics))


def one_device():
    return tf.distribute.OneDeviceStrategy("CPU:0")


def counting_step(batch):
    return {"train/total_loss": tf.cast(batch, tf.float32)}


def loop(
    total=10,
    every=4,
    start=0,
    step=counting_step,
    stop=None,
    per_epoch=8,
    on_save=None,
    online=0,
    on_due=None,
    list_not_finite=str,
    on_progress=None,
):
    strategy, saved, recorder = one_device(), [], Recorder()
    recorder.on_progress = on_progress or recorder.on_progress
    data = tf.data.Dataset.range(start, 10_000)

    def save(at):
        saved.append(at)
        if on_save:
            on_save(at)

    done = run_loop(
        train=build_train_function(strategy, step),
        iterator=iter(strategy.experimental_distribute_dataset(data)),
        durations=Durations(total, 0, every, per_epoch, online),
        start_step=start,
        batch_size=4,
        learning_rate=lambda s: 0.5 * s,
        save=save,
        observer=recorder,
        stop=stop if stop is not None else StopRequest(),
        list_not_finite=list_not_finite,
        on_due=on_due,
    )
    return done, saved, recorder


def test_exactly_the_scheduled_steps_whatever_the_interval():
    assert loop(total=10, every=4)[:2] == (10, [4, 8, 10])
    assert loop(total=8, every=4)[:2] == (8, [4, 8])
    assert loop(total=3, every=100)[:2] == (3, [3])


def test_a_resumed_loop_keeps_the_rhythm_of_the_uninterrupted_one():
    assert loop(total=10, every=4, start=6)[:2] == (10, [8, 10])


def test_the_first_call_traces_and_says_nothing_of_the_speed():
    clock = loop_module._Clock(batch_size=8)
    assert clock.add(90.0, 3) == 0.0 and clock.seconds_for(10) is None and clock.steps_per_call() == 1
    assert clock.add(2.0, 4) == 16.0 and clock.seconds_for(10) == 5.0
    # Four fifths of what was known, and a fifth of the latest.
    assert clock.add(4.0, 4) == 8.0 and clock.seconds_for(10) == pytest.approx(10 * (0.8 * 0.5 + 0.2 * 1.0))


def test_a_call_has_as_many_steps_as_fit_and_never_none():
    fast, slow = loop_module._Clock(batch_size=8), loop_module._Clock(batch_size=8)
    for clock, seconds in ((fast, 0.1), (slow, 10.0)):
        clock.add(1.0, 1)
        clock.add(seconds, 1)
    assert fast.steps_per_call() == 5 and slow.steps_per_call() == 1


@pytest.fixture
def long_calls(monkeypatch):
    """Calls as long as the next boundary allows, whatever the speed of the machine."""
    monkeypatch.setattr(loop_module._Clock, "steps_per_call", lambda clock: 1000)


@pytest.mark.parametrize(
    ("start", "online", "due"), [(0, 7, [7, 14, 20]), (8, 7, [14, 20]), (14, 7, [20]), (0, 10, [10, 20]), (0, 0, [])]
)
def test_evaluations_stop_calls_of_several_steps_exactly_where_they_are_due(long_calls, start, online, due):
    seen = []
    done, saved, recorder = loop(total=20, every=9, start=start, per_epoch=80, online=online, on_due=seen.append)
    assert (done, seen) == (20, due)
    stops = {9, 18, 20, *due}
    assert [progress.step for progress in recorder.progress] == sorted(step for step in stops if step > start)
    assert saved == [step for step in (9, 18, 20) if step > start]


def test_a_checkpoint_is_written_before_the_evaluation_of_its_step(long_calls):
    events = []
    loop(
        total=6, every=3, online=2, on_save=lambda at: events.append(("save", at)), on_due=lambda at: events.append(at)
    )
    assert events == [2, ("save", 3), 4, ("save", 6), 6]


def test_windows_are_means_over_their_steps():
    _, _, recorder = loop(total=5, per_epoch=8)  # summaries every 2 steps
    assert [(step, metrics["train/total_loss"]) for step, metrics in recorder.windows] == [(2, 0.5), (4, 2.5), (5, 4.0)]
    assert recorder.windows[-1][1]["learning_rate"] == 2.0


def test_means_are_over_the_updates_that_were_not_left_out(long_calls):
    """Of the numbers 0 to 3 in one call, the odd ones are left out."""

    def step(batch):
        skips = tf.cast(batch % 2, tf.float32)
        return {"train/total_loss": tf.cast(batch, tf.float32) * (1.0 - skips), SKIPPED: skips}

    _, _, recorder = loop(total=4, per_epoch=16, step=step)
    assert [(progress.skipped, progress.metrics) for progress in recorder.progress] == [(2, {"train/total_loss": 1.0})]
    assert [metrics["train/total_loss"] for _, metrics in recorder.windows] == [1.0]


def test_progress_ends_at_the_last_step():
    _, _, recorder = loop(total=6)
    steps = [p.step for p in recorder.progress]
    assert steps == sorted(steps) and steps[-1] == recorder.progress[-1].total_steps == 6


def test_a_request_to_stop_saves_where_it_is():
    stop = StopRequest()
    with stop.watch():
        done, saved, _ = loop(total=100, every=4, stop=stop, on_save=lambda at: os.kill(os.getpid(), signal.SIGTERM))
    assert stop.signal_name == "SIGTERM"
    assert done == saved[-1] == 4
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_second_interrupt_does_not_wait():
    with pytest.raises(KeyboardInterrupt), StopRequest().watch():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_checkpoint():
    def step(batch):
        return {"train/total_loss": tf.where(batch >= 6, float("nan"), 1.0)}

    saved = []
    with pytest.raises(DivergedError, match=r"last checkpoint is of step 4.*smaller --learning_rate"):
        loop(total=10, every=4, step=step, on_save=saved.append)
    assert saved == [4]


@pytest.mark.parametrize(("bad_from", "kept"), [(8, [4]), (3, []), (10, [4, 8]), (11, [4, 8, 10])])
def test_variables_that_are_not_finite_are_never_saved(bad_from, kept):
    """Metrics are of before the update: the last one may spoil the variables while every metric is finite."""
    done = []

    def list_not_finite():
        return "encoder/kernel (1 of 2)" if done and done[-1] >= bad_from else ""

    def count(progress):
        done.append(progress.step)

    saved = []
    said = f"The last checkpoint is of step {kept[-1]}" if kept else "There is no checkpoint"
    expected = pytest.raises(DivergedError, match=rf"not finite: encoder/kernel \(1 of 2\)\. {said}")
    with expected if bad_from <= 10 else contextlib.nullcontext():
        loop(total=10, every=4, on_save=saved.append, list_not_finite=list_not_finite, on_progress=count)
    assert saved == kept


def test_a_request_to_stop_saves_nothing_that_is_not_finite():
    stop, saved = StopRequest(), []

    def ask_to_stop(progress):
        stop.signal_name = "SIGTERM"

    with pytest.raises(DivergedError, match="There is no checkpoint"):
        loop(total=99, stop=stop, on_save=saved.append, list_not_finite=lambda: "a (1 of 1)", on_progress=ask_to_stop)
    assert saved == []


def test_a_first_signal_waits_for_the_step_and_a_second_ctrl_c_does_not():
    with StopRequest().watch() as stop:
        assert not stop
        os.kill(os.getpid(), signal.SIGINT)
        assert stop and stop.signal_name == "SIGINT"
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal_name == "SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
