"""The training loop: calls of a few steps each, checkpoints and summaries exactly where they are due."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tf_simclr.config import Durations
from tf_simclr.errors import DivergedError
from tf_simclr.train.interrupts import StopRequest
from tf_simclr.train.step import Step

SECONDS_PER_CALL = 0.5
SUMMARIES_PER_EPOCH = 4


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a call of the training function.

    Attributes:
        step: steps done.
        total_steps: steps in all.
        images_per_second: images (not views) per second in the last call; 0 for the call that also traced the graph.
        seconds_left: estimate from the speed so far; None before there is one.
        learning_rate: of the last step.
        metrics: means over the last call, by summary tag.
    """

    step: int
    total_steps: int
    images_per_second: float
    seconds_left: float | None
    learning_rate: float
    metrics: dict[str, float]


class Observer:
    """What a loop reports to; both methods are called between steps, and do nothing here."""

    def on_progress(self, progress: Progress) -> None:
        """After every call of the training function."""

    def on_window(self, step: int, metrics: dict[str, float]) -> None:
        """At the end of a summary window, with means over it."""


class Observers(Observer):
    """Several observers as one."""

    def __init__(self, *observers: Observer):
        self._observers = observers

    def on_progress(self, progress: Progress) -> None:
        """Passed on to each."""
        for observer in self._observers:
            observer.on_progress(progress)

    def on_window(self, step: int, metrics: dict[str, float]) -> None:
        """Passed on to each."""
        for observer in self._observers:
            observer.on_window(step, metrics)


def build_train_function(
    strategy: tf.distribute.Strategy, step: Step
) -> Callable[[Any, tf.Tensor], dict[str, tf.Tensor]]:
    """A compiled function (iterator, number of steps) -> metrics, averaged over replicas and steps."""

    def one_step(iterator: Any) -> dict[str, tf.Tensor]:
        per_replica = strategy.run(step, args=(next(iterator),))
        return {k: strategy.reduce(tf.distribute.ReduceOp.MEAN, v, axis=None) for k, v in per_replica.items()}

    names: list[str] = []

    # AutoGraph would translate the source of everything that a step calls, which is a third of the time to the first step.
    @tf.function(autograph=False)
    def train(iterator: Any, num_steps: tf.Tensor) -> dict[str, tf.Tensor]:
        def add_step(done: tf.Tensor, totals: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            metrics = one_step(iterator)
            names[:] = metrics
            return done + 1, totals + tf.stack([tf.cast(value, tf.float32) for value in metrics.values()])

        # The step stands only in the loop: a first one before it would be traced and optimised a second time. How many
        # metrics there are is known when the loop has been traced; until then one zero stands for all of them.
        _, totals = tf.while_loop(
            lambda done, _: done < num_steps,
            add_step,
            (tf.zeros_like(num_steps), tf.zeros([1])),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape([None])),
        )
        return dict(zip(names, tf.unstack(totals / tf.cast(num_steps, tf.float32), num=len(names)), strict=True))

    return train


class _Window:
    """Means of metrics over the steps since the last summary."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._steps = 0

    def add(self, metrics: dict[str, float], steps: int) -> None:
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value * steps
        self._steps += steps

    def take(self) -> dict[str, float]:
        means = {name: value / self._steps for name, value in self._sums.items()}
        self._sums, self._steps = {}, 0
        return means


class _Clock:
    """Speed, time left, and how many steps fit into one call."""

    def __init__(self, batch_size: int):
        self._batch_size = batch_size
        self._seconds_per_step: float | None = None
        self._calls = 0

    def steps_per_call(self) -> int:
        """Steps that take about SECONDS_PER_CALL; one while the speed is unknown."""
        return max(1, int(SECONDS_PER_CALL / self._seconds_per_step)) if self._seconds_per_step else 1

    def add(self, seconds: float, steps: int) -> float:
        """Records a call; returns images a second."""
        self._calls += 1
        if self._calls == 1:  # most of it was tracing
            return 0.0
        latest = seconds / steps
        smooth = 0.8 if self._seconds_per_step else 0.0
        self._seconds_per_step = smooth * (self._seconds_per_step or 0.0) + (1 - smooth) * latest
        return self._batch_size / latest

    def seconds_for(self, steps: int) -> float | None:
        return self._seconds_per_step * steps if self._seconds_per_step else None


def _alone(stopping: bool, steps: int) -> int:
    return 0 if stopping else steps


def _next_boundary(step: int, total: int, *intervals: int) -> int:
    """The first multiple of an interval after `step`, at most `total`; an interval of 0 has none."""
    return min([total, *((step // every + 1) * every for every in intervals if every)])


def run_loop(
    *,
    train: Callable[[Any, tf.Tensor], dict[str, tf.Tensor]],
    iterator: Any,
    durations: Durations,
    start_step: int,
    batch_size: int,
    learning_rate: Callable[[int], Any],
    save: Callable[[int], object],
    observer: Observer,
    stop: StopRequest,
    list_not_finite: Callable[[], str] = str,
    plan_call: Callable[[bool, int], int] = _alone,
    on_due: Callable[[int], None] | None = None,
) -> int:
    """Trains from `start_step` to exactly `durations.train_steps`, or until somebody asks to stop.

    Args:
        train: as made by `build_train_function`.
        iterator: over batches, standing at start_step.
        durations: how long, and how often to save.
        start_step: steps already done.
        batch_size: global, for the speed shown.
        learning_rate: step -> rate, for the log.
        save: writes a checkpoint of a step; called every checkpoint_steps, at the end and when asked to stop.
        observer: receives progress and summaries.
        stop: asked between calls.
        list_not_finite: names what must not be saved, since its values are not finite; empty where all are. The
            metrics of a step are those before its update, so that they say nothing of the last one.
        plan_call: (whether to stop, steps that suit this process) -> steps of the next call, 0 to stop; several workers
            agree here, since their calls must be of the same steps.
        on_due: called with the step where `durations.online_eval_is_due`, after its checkpoint where there is one; on
            all workers at the same steps. None for nothing.

    Returns:
        the number of steps done.

    Raises:
        DivergedError: the loss or a variable is not finite any more; the checkpoint before stays as it is.
    """
    step, saved, total = start_step, start_step, durations.train_steps

    def save_finite() -> None:
        bad = list_not_finite()
        if bad:
            raise _diverged(step, saved, bad)
        save(step)

    window, clock = _Window(), _Clock(batch_size)
    summary_every = max(1, durations.steps_per_epoch // SUMMARIES_PER_EPOCH)
    while step < total:
        boundary = _next_boundary(step, total, durations.checkpoint_steps, summary_every, durations.online_eval_steps)
        steps = plan_call(bool(stop), min(clock.steps_per_call(), boundary - step))
        if not steps:
            break
        began = time.perf_counter()
        metrics = {k: float(v) for k, v in train(iterator, tf.constant(steps, tf.int32)).items()}
        speed = clock.add(time.perf_counter() - began, steps)
        step += steps
        _check_finite(metrics, step, saved)
        window.add(metrics, steps)
        rate = float(learning_rate(step - 1))
        observer.on_progress(Progress(step, total, speed, clock.seconds_for(total - step), rate, metrics))
        if step % summary_every == 0 or step == total:
            observer.on_window(step, window.take() | {"learning_rate": rate})
        if step % durations.checkpoint_steps == 0 or step == total:
            save_finite()
            saved = step
        if on_due is not None and durations.online_eval_is_due(step):
            on_due(step)
    if step > saved:
        save_finite()
    return step


def _check_finite(metrics: dict[str, float], step: int, saved: int) -> None:
    bad = [name for name, value in metrics.items() if not math.isfinite(value)]
    if bad:
        raise _diverged(step, saved, ", ".join(bad))


def _diverged(step: int, saved: int, bad: str) -> DivergedError:
    kept = f"The last checkpoint is of step {saved}" if saved else "There is no checkpoint"
    return DivergedError(
        f"training diverged by step {step}: not finite: {bad}. {kept}. Train again in a new --model_dir, or with "
        "--overwrite, with a smaller --learning_rate, a longer --warmup_epochs or a larger --temperature"
    )
