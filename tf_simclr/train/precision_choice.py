"""--precision=auto: a few steps of float32 and of bfloat16 on this machine, and the choice between them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import tensorflow as tf

from tf_simclr.config import Durations, ExperimentConfig
from tf_simclr.data.source import ImageSource
from tf_simclr.train.input import build_train_iterator
from tf_simclr.train.run import build_run_state
from tf_simclr.train.step import Logits

CANDIDATES = ("float32", "bfloat16")
ROUNDS, MOST_SECONDS = 5, 60.0
# bfloat16 must be worth it: float32 is the reference, and two timings differ by some percent by chance.
LEAST_GAIN = 1.1


def with_precision(config: ExperimentConfig, precision: str) -> ExperimentConfig:
    """The config with another --precision."""
    return replace(config, runtime=replace(config.runtime, precision=precision))


def time_candidates(
    config: ExperimentConfig,
    durations: Durations,
    source: ImageSource,
    strategy: tf.distribute.Strategy,
    teacher: Logits | None = None,
) -> dict[str, list[float]]:
    """Seconds of some training steps in each candidate, on the first batch of the run; nothing of it stays.

    With several workers all must call this: their replicas step together.

    Args:
        config: the experiment, whatever its precision.
        durations: its lengths in steps.
        source: training split.
        strategy: devices.
        teacher: of a distillation, as in `build_train_state`.
    """
    batch = next(build_train_iterator(with_precision(config, CANDIDATES[0]), source, strategy, 0))

    def step_in(precision: str) -> Callable[[], object]:
        state = build_run_state(with_precision(config, precision), durations, source, strategy, teacher=teacher)

        @tf.function(autograph=False)
        def step(batch: object) -> tf.Tensor:
            per_replica = strategy.run(state.step, args=(batch,))["train/total_loss"]
            return strategy.reduce(tf.distribute.ReduceOp.MEAN, per_replica, axis=None)

        return lambda: float(step(batch))  # the number is there when the devices are done

    return time_in_turn({precision: step_in(precision) for precision in CANDIDATES})


def time_in_turn(
    steps: Mapping[str, Callable[[], object]], clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each step, called one after the other ROUNDS times, or until MOST_SECONDS have passed.

    A first call of each, which traces, is not counted. In turn, because a machine is busier now than then.
    """
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    began = clock()
    while len(next(iter(seconds.values()))) < ROUNDS and clock() - began < MOST_SECONDS:
        for name, step in steps.items():
            start = clock()
            step()
            seconds[name].append(clock() - start)
    return seconds


def choose_precision(seconds: Mapping[str, Sequence[float]]) -> tuple[str, str]:
    """The precision of a run from the seconds of steps in each, and a line that says why.

    bfloat16 is taken where its median step is at least LEAST_GAIN times as fast as that of float32.
    """
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    gain = medians["float32"] / medians["bfloat16"]
    chosen = "bfloat16" if gain >= LEAST_GAIN else "float32"
    return chosen, (
        f"precision: {chosen}, because a step took {medians['float32']:.3g} s in float32 and "
        f"{medians['bfloat16']:.3g} s in bfloat16 (median of {len(seconds['float32'])} in turn); bfloat16 is taken "
        f"where it is {LEAST_GAIN:g} times as fast or more"
    )
