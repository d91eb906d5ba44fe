"""A trace of some steps, for TensorBoard's profiler."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import tensorflow as tf

STEP_NAME = "train_step"


class StepProfiler:
    """Traces the steps from `first` to `last`, both included and counted from 1, each under its number.

    While it traces, every call of the training function has one step, so that the trace shows where each begins.

    Args:
        directory: in which TensorBoard finds the trace, below plugins/profile.
        steps: first and last step; None for no trace.
        say: receives a line when the trace is written, or when all of its steps were already done.
    """

    def __init__(
        self, directory: str = "", steps: tuple[int, int] | None = None, say: Callable[[str], None] = lambda line: None
    ):
        self._directory, self._say = directory, say
        self._first, self._last = steps or (0, 0)
        self._active = False

    def begin(self, done: int) -> None:
        """Says so where a run that goes on has already done all that was to be traced."""
        if 0 < self._last <= done:
            self._say(f"note: --profile_steps={self._first},{self._last}: step {done} is done, nothing is traced")

    def most_steps(self, done: int, steps: int) -> int:
        """How many of the next `steps` one call may take, after the steps that are done."""
        if done >= self._last:
            return steps
        return min(steps, self._first - 1 - done) if done < self._first - 1 else 1

    @contextlib.contextmanager
    def around(self, done: int) -> Iterator[None]:
        """Surrounds the call after the steps that are done; it is traced where its step is one of those chosen."""
        step = done + 1
        if not self._first <= step <= self._last:
            yield
            return
        if not self._active:
            tf.profiler.experimental.start(self._directory)
            self._active = True
        with tf.profiler.experimental.Trace(STEP_NAME, step_num=step, _r=1):
            yield
        if step == self._last:
            self.close()

    def close(self) -> None:
        """Writes the trace where one was begun; call it also when the run ends early."""
        if self._active:
            self._active = False
            tf.profiler.experimental.stop()
            self._say(f"trace written to {self._directory}: tensorboard --logdir={self._directory} shows it (PROFILE)")
