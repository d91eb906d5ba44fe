"""Which steps are traced, and that TensorBoard's files of them are there."""

from __future__ import annotations

import contextlib

import pytest
import tensorflow as tf

from tf_simclr.config import Durations, build_config
from tf_simclr.config.identity import recorded_flags
from tf_simclr.errors import InputError
from tf_simclr.train.interrupts import StopRequest
from tf_simclr.train.loop import run_loop
from tf_simclr.train.observers import Observer
from tf_simclr.train.profiling import STEP_NAME, StepProfiler
from tf_simclr.train.train_function import build_train_function


def steps_of(profiler, total, start=0, suit=100):
    """(steps that are done, steps of the call) of a loop that would like to take `suit` at once."""
    calls = []
    while start < total:
        calls.append((start, profiler.most_steps(start, min(suit, total - start))))
        start += calls[-1][1]
    return calls


def test_a_traced_step_has_a_call_of_its_own():
    assert steps_of(StepProfiler("", (4, 6)), 10) == [(0, 3), (3, 1), (4, 1), (5, 1), (6, 4)]
    assert steps_of(StepProfiler("", (1, 2)), 5) == [(0, 1), (1, 1), (2, 3)]
    assert steps_of(StepProfiler("", (4, 6)), 10, start=4) == [(4, 1), (5, 1), (6, 4)]
    assert steps_of(StepProfiler(), 10, suit=7) == [(0, 7), (7, 3)]


def looped(directory, steps, *, total=6, start=0, stop_at=None):
    said, stop = [], StopRequest()

    class Stopping(Observer):
        def on_progress(self, progress):
            stop.signal_name = "SIGTERM" if progress.step == stop_at else None

    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with contextlib.closing(StepProfiler(str(directory), steps, said.append)) as profiler:
        run_loop(
            train=build_train_function(strategy, lambda batch: {"train/total_loss": tf.cast(batch, tf.float32)}),
            iterator=iter(tf.data.Dataset.range(100)),
            durations=Durations(total, 0, 100, 100),
            start_step=start,
            batch_size=4,
            learning_rate=float,
            save=lambda step: None,
            observer=Stopping(),
            stop=stop,
            profiler=profiler,
        )
    return said


def require_trace(directory):
    """Fails without one file that TensorBoard's profiler finds, in which our steps have their name."""
    [trace] = directory.glob("plugins/profile/*/*.xplane.pb")
    assert STEP_NAME.encode() in trace.read_bytes()


def test_the_trace_holds_our_steps_by_name(tmp_path):
    said = looped(tmp_path, (3, 4))
    require_trace(tmp_path)
    assert said == [f"trace written to {tmp_path}: tensorboard --logdir={tmp_path} shows it (PROFILE)"]


def test_a_run_that_is_stopped_meanwhile_leaves_its_trace(tmp_path):
    assert len(looped(tmp_path, (2, 5), stop_at=3)) == 1
    require_trace(tmp_path)


def test_what_is_done_is_not_traced_and_that_is_said(tmp_path):
    said = looped(tmp_path, (2, 3), start=3)
    assert said == ["note: --profile_steps=2,3: step 3 is done, nothing is traced"]
    assert list(tmp_path.iterdir()) == []
    assert looped(tmp_path, None) == []


@pytest.mark.parametrize("text", ["10", "a,b", "10,20,30", "20,10", "0,5", "-1,3", "1.5,2", ",", "1,²"])
def test_what_are_not_two_steps_is_refused(text):
    with pytest.raises(InputError, match=r"^`profile_steps` must be the first and the last step, .*Received: .*$"):
        build_config({"profile_steps": text})


def test_steps_are_read_once_and_for_all():
    assert build_config({"profile_steps": " 10, 20"}).train.steps_to_profile == (10, 20)
    assert build_config({"profile_steps": "3,3"}).train.steps_to_profile == (3, 3)
    assert build_config({}).train.steps_to_profile is None
    # It is of one command: the run may be gone on with without it.
    assert "profile_steps" not in recorded_flags(build_config({"profile_steps": "3,3"}))
