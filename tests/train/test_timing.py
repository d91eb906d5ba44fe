"""Where the time went: what is claimed, what is left, and how long the devices had no images."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.config import Durations
from tf_simclr.train.interrupts import StopRequest
from tf_simclr.train.loop import run_loop
from tf_simclr.train.observers import Observer
from tf_simclr.train.timing import (
    EVALUATION,
    INPUT,
    STEPS,
    InputWait,
    TimeAccount,
    describe_memory,
    peak_memory,
    runs_ahead,
)
from tf_simclr.train.train_function import build_train_function


class Clock:
    """Goes on only where somebody says so."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_shares_are_of_the_whole_time_and_what_nobody_claims_is_the_rest():
    clock = Clock()
    account = TimeAccount(clock)
    account.add(STEPS, 6.0)
    account.add(INPUT, 1.0)
    with pytest.raises(KeyError), account.spent_on(EVALUATION):
        clock.now += 2.0
        raise KeyError
    clock.now += 8.0
    assert account.seconds() == 10.0
    assert account.shares() == pytest.approx(
        {"steps": 0.6, "input": 0.1, "checkpoints": 0.0, "evaluation": 0.2, "rest": 0.1}
    )
    assert account.describe() == (
        "60% in steps, 10% waiting for input, 20% in evaluation, 10% in the rest (start, tracing, export)"
    )


def test_an_account_without_time_is_all_rest():
    assert TimeAccount(Clock()).shares()["rest"] == 1.0


def test_on_a_cpu_the_host_s_wait_is_the_devices():
    assert InputWait(runs_ahead=False).of_call(10.0, 5, 4.0) == 4.0


def simulated(batch, step, steps):
    """(seconds, host's wait, device's wait) of a call: batches come every `batch` seconds, a step takes `step`.

    The host hands out a step as soon as its batch is there, and waits for the last one's end.
    """
    ready = batch * np.arange(1, steps + 1)
    free, idle = 0.0, 0.0
    for time in ready:
        idle += max(time - free, 0.0)
        free = max(time, free) + step
    return free, float(ready[-1]), idle


@pytest.mark.parametrize("batch", [0.1, 0.9, 1.0, 1.5, 4.0])
def test_a_device_that_computes_while_the_host_waits_is_not_waiting(batch):
    wait = InputWait(runs_ahead=True)
    seconds, waited, idle = simulated(batch, 1.0, 1)
    assert wait.of_call(seconds, 1, waited) == pytest.approx(idle)
    seconds, waited, idle = simulated(batch, 1.0, 20)
    assert waited == pytest.approx(20 * batch)  # which says nothing of the device
    assert wait.of_call(seconds, 20, waited) == pytest.approx(idle)


def test_as_long_as_nobody_knows_what_a_step_takes_a_device_is_not_said_to_wait():
    assert InputWait(runs_ahead=True).of_call(10.0, 5, 9.0) == 0.0


def test_only_cpus_compute_before_the_host_goes_on(mirrored):
    assert not runs_ahead(mirrored(2))
    assert not runs_ahead(tf.distribute.OneDeviceStrategy("CPU:0"))
    assert runs_ahead(tf.distribute.OneDeviceStrategy("GPU:0"))


@pytest.mark.parametrize("replicas", [1, 2])
def test_the_wait_for_a_batch_is_measured_inside_the_graph(replicas, mirrored):
    """The batch of step 3 comes when this test says so; the call shows that it waited, and the loop claims it."""
    asked, go = threading.Event(), threading.Event()

    def batch(number):
        if number == 3 * replicas:
            asked.set()
            assert go.wait(60)
        return np.float32(number)

    data = tf.data.Dataset.range(100).map(lambda number: tf.numpy_function(batch, [number], tf.float32))
    data = data.map(lambda value: tf.ensure_shape(value, []))
    strategy = tf.distribute.OneDeviceStrategy("CPU:0") if replicas == 1 else mirrored(replicas)
    iterator = iter(data) if replicas == 1 else iter(strategy.distribute_datasets_from_function(lambda context: data))
    train = build_train_function(strategy, lambda value: {"train/total_loss": value})
    for _ in range(2):
        train(iterator, tf.constant(1))
    seconds = []
    thread = threading.Thread(target=lambda: seconds.append(float(train(iterator, tf.constant(3))[1])))
    before = tf.timestamp()
    thread.start()
    assert asked.wait(60)
    reached = tf.timestamp()
    # The clock is read until it has gone on: nobody sleeps.
    while float(tf.timestamp() - reached) < 0.2:
        pass
    go.set()
    thread.join(60)
    assert 0.19 < seconds[0] < float(tf.timestamp() - before)


def test_the_loop_claims_what_it_does():
    clock = Clock()
    account = TimeAccount(clock)

    def train(iterator, steps):
        clock.now += 10.0 * int(steps)
        return {"train/total_loss": tf.constant(1.0)}, tf.constant(4.0 * int(steps))

    def spend(seconds):
        clock.now += seconds

    seen = []

    class Times(Observer):
        def on_progress(self, progress):
            seen.append((progress.step, progress.seconds, progress.input_seconds))

    run_loop(
        train=train,
        iterator=None,
        durations=Durations(4, 0, 2, 100, online_eval_steps=4),
        start_step=0,
        batch_size=4,
        learning_rate=float,
        save=lambda step: spend(3.0),
        observer=Times(),
        stop=StopRequest(),
        on_due=lambda step: spend(5.0),
        account=account,
    )
    # Of the first call 6 seconds are tracing: the rest.
    assert account.shares() == pytest.approx(
        {"steps": 18 / 51, "input": 16 / 51, "checkpoints": 6 / 51, "evaluation": 5 / 51, "rest": 6 / 51}
    )
    assert seen == [(1, 0.0, 0.0), (2, 10.0, 4.0), (3, 10.0, 4.0), (4, 10.0, 4.0)]


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="this system does not say its peak in /proc")
def test_the_peak_of_memory_is_that_of_the_system():
    """Also after the memory is free again."""
    block = np.ones(2**25)  # 256 MiB
    del block
    peak = int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
    assert peak_memory() == pytest.approx(peak, rel=0.02)
    assert re.fullmatch(r"; at most [\d,]+ MiB of the host's memory", describe_memory())
