"""The training loop: calls of a few steps each, checkpoints and summaries exactly where they are due."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import tensorflow as tf

from tf_simclr.config import Durations
from tf_simclr.errors import DivergedError, StoppedError
from tf_simclr.train.interrupts import StopRequest
from tf_simclr.train.observers import Observer, Progress
from tf_simclr.train.profiling import StepProfiler
from tf_simclr.train.skip import SKIPPED
from tf_simclr.train.timing import CHECKPOINTS, EVALUATION, INPUT, STEPS, InputWait, TimeAccount
from tf_simclr.train.train_function import TrainFunction

SECONDS_PER_CALL = 0.5
SUMMARIES_PER_EPOCH = 4


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
    train: TrainFunction,
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
    account: TimeAccount | None = None,
    runs_ahead: bool = False,
    profiler: StepProfiler | None = None,
    around_tracing: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    figures: Callable[[], dict[str, float]] = dict,
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
        account: receives the seconds of steps, of waiting for images, of `save` and of `on_due`; None for nobody.
        runs_ahead: whether the devices still compute when a batch is waited for; see `timing.runs_ahead`.
        profiler: traces some of the steps; None for none. Who made it closes it.
        around_tracing: a context for the first call, which traces the graph and may take long. StoppedError in it ends
            the loop where it began.
        figures: what belongs into a summary beside the metrics and the learning rate, by tag.

    Returns:
        the number of steps done.

    Raises:
        DivergedError: the loss or a variable is not finite any more; the checkpoint before stays as it is.
    """
    step, saved, total = start_step, start_step, durations.train_steps
    account, profiler = account or TimeAccount(), profiler or StepProfiler()

    def save_finite() -> None:
        with account.spent_on(CHECKPOINTS):
            bad = list_not_finite()
            if bad:
                raise _diverged(step, saved, bad)
            save(step)

    window, clock, wait = _Window(), _Clock(batch_size), InputWait(runs_ahead)
    summary_every = max(1, durations.steps_per_epoch // SUMMARIES_PER_EPOCH)
    profiler.begin(step)
    while step < total:
        boundary = _next_boundary(step, total, durations.checkpoint_steps, summary_every, durations.online_eval_steps)
        steps = profiler.most_steps(step, min(clock.steps_per_call(), boundary - step))
        steps = plan_call(bool(stop), steps)
        if not steps:
            break
        try:
            with around_tracing() if step == start_step else contextlib.nullcontext(), profiler.around(step):
                call = _call(train, iterator, steps, account.clock)
        except StoppedError:
            break  # the variables may be a step further than `step`: nothing is saved
        speed = clock.add(call.seconds, steps)
        timed = _account_for(account, call, wait, steps, traced=not speed)
        step += steps
        _check_finite(call.metrics, step, saved)
        window.add(call.metrics, steps - call.skipped)
        rate = float(learning_rate(step - 1))
        left = clock.seconds_for(total - step)
        observer.on_progress(Progress(step, total, speed, left, rate, call.metrics, *timed, call.skipped))
        if step % summary_every == 0 or step == total:
            observer.on_window(step, window.take() | {"learning_rate": rate} | figures())
        if step % durations.checkpoint_steps == 0 or step == total:
            save_finite()
            saved = step
        if on_due is not None and durations.online_eval_is_due(step):
            with account.spent_on(EVALUATION):
                on_due(step)
    if step > saved:
        save_finite()
    return step


class _Call(NamedTuple):
    """What a call of the training function returned, how long it took, and how long the host waited for batches.

    Updates that were left out count in `skipped`, and nowhere in the means of the metrics.
    """

    metrics: dict[str, float]
    skipped: int
    seconds: float
    waited: float


def _call(train: TrainFunction, iterator: Any, steps: int, clock: Callable[[], float]) -> _Call:
    began = clock()
    metrics, waited = train(iterator, tf.constant(steps, tf.int32))
    values = {name: float(value) for name, value in metrics.items()}  # here the host waits for the devices
    seconds = clock() - began
    share = values.pop(SKIPPED, 0.0)
    if math.isnan(share):  # the metrics are of before the update, and may all be finite
        return _Call(values | {"an update": share}, 0, seconds, float(waited))
    skipped = round(share * steps)
    if skipped:  # they have zeros for metrics
        values = {name: value * steps / (steps - skipped) for name, value in values.items()} if skipped < steps else {}
    return _Call(values, skipped, seconds, float(waited))


def _account_for(
    account: TimeAccount, call: _Call, wait: InputWait, steps: int, *, traced: bool
) -> tuple[float, float]:
    """Claims the time of a call; returns its seconds and those without images, zeros where it also traced the graph."""
    if traced:  # what is not waiting is tracing, and counts as the run's start
        account.add(INPUT, min(call.waited, call.seconds))
        return 0.0, 0.0
    waited = wait.of_call(call.seconds, steps, call.waited)
    account.add(INPUT, waited)
    account.add(STEPS, call.seconds - waited)
    return call.seconds, waited


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
