"""Where the time of a run goes: waiting for images, steps, checkpoints, evaluation; and how much memory it took."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator

import tensorflow as tf

STEPS, INPUT, CHECKPOINTS, EVALUATION = "steps", "input", "checkpoints", "evaluation"
REST = "rest"
_NAMES = {
    STEPS: "in steps",
    INPUT: "waiting for input",
    CHECKPOINTS: "in checkpoints",
    EVALUATION: "in evaluation",
    REST: "in the rest (start, tracing, export)",
}


class TimeAccount:
    """Adds up what a run spends its time on. What nobody claims is the rest.

    Args:
        clock: seconds since some moment; the account begins when it is made.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self.clock = clock
        self._began = clock()
        self._seconds = {part: 0.0 for part in _NAMES if part != REST}

    def add(self, part: str, seconds: float) -> None:
        """Claims seconds for STEPS, INPUT, CHECKPOINTS or EVALUATION."""
        self._seconds[part] += seconds

    @contextlib.contextmanager
    def spent_on(self, part: str) -> Iterator[None]:
        """Claims the time inside for a part, also where it ends with an error."""
        began = self.clock()
        try:
            yield
        finally:
            self.add(part, self.clock() - began)

    def seconds(self) -> float:
        """Since the account began."""
        return self.clock() - self._began

    def shares(self) -> dict[str, float]:
        """Part -> share of the time until now, in [0, 1]; they add up to 1."""
        whole = max(self.seconds(), sum(self._seconds.values()))
        if not whole:
            return {**self._seconds, REST: 1.0}
        shares = {part: seconds / whole for part, seconds in self._seconds.items()}
        return {**shares, REST: 1.0 - sum(shares.values())}

    def describe(self) -> str:
        """The shares in one line, in whole percent; parts without any time are left out."""
        return ", ".join(f"{share:.0%} {_NAMES[part]}" for part, share in self.shares().items() if share > 0)


def peak_memory() -> int | None:
    """The most bytes of the host's memory that this process has had at a time; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def describe_memory() -> str:
    """The peak of the host's memory in words, to end a line with; empty where it is not known."""
    peak = peak_memory()
    return "" if peak is None else f"; at most {peak / 2**20:,.0f} MiB of the host's memory"


def runs_ahead(strategy: tf.distribute.Strategy) -> bool:
    """Whether the host goes on while the devices still compute: on every device except a CPU."""
    kinds = {tf.DeviceSpec.from_string(device).device_type for device in strategy.extended.worker_devices}
    return kinds != {"CPU"}


class InputWait:
    """How long the devices had no images to work on.

    On a CPU that is the time that the host waited for batches. A GPU or TPU still works on earlier steps meanwhile: the
    host hands them out without waiting for their end. There a call of n steps costs n times what the device needs for
    one, and what the call took beyond that is the wait. A call of one step, at whose end the host waits for the
    result, says how much one needs.

    Args:
        runs_ahead: see `runs_ahead`.
    """

    def __init__(self, runs_ahead: bool):
        self._runs_ahead, self._seconds_per_step = runs_ahead, math.inf

    def of_call(self, seconds: float, steps: int, waited: float) -> float:
        """Seconds that the devices waited in a call.

        Args:
            seconds: that the call took, until its metrics were read.
            steps: of the call.
            waited: seconds of it in which the host waited for batches.
        """
        if not self._runs_ahead:
            return min(waited, seconds)
        if steps == 1:
            self._seconds_per_step = min(self._seconds_per_step, max(seconds - waited, 0.0))
        return min(waited, max(seconds - steps * self._seconds_per_step, 0.0))
