"""A moving average of a network beside its training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from tf_simclr import compat
from tf_simclr.train.step import Metrics, Step


def moved_averages(
    averages: Mapping[str, Any], values: Mapping[str, Any], decay: float | tf.Tensor
) -> dict[str, tf.Tensor]:
    """Moving averages after one more step, decay * average + (1 - decay) * value, by path; nothing is written."""
    return {
        path: decay * tf.convert_to_tensor(average) + (1.0 - decay) * tf.convert_to_tensor(values[path])
        for path, average in averages.items()
    }


class WeightAverage:
    """Averages all weights and moving statistics of a network over the steps of a run.

    After step n, with d = min(decay, (1 + n) / (10 + n)),

        average <- d * average + (1 - d) * value

    so that the first steps, whose weights are still far from those of the end, do not stay in it for long. The batch
    norms' moving statistics are averaged in the same way: they belong to the weights of their time. Nothing of the
    training depends on the average.

    Call it inside the strategy's scope.

    Args:
        decay: in (0, 1).
        variables: path -> variable of the network.
        steps: the count of steps done, after a step.
    """

    def __init__(self, decay: float, variables: Mapping[str, Any], steps: Any):
        self._decay, self._steps = decay, steps
        raw = {path: compat.raw_variable(v) for path, v in variables.items()}
        self._variables = {path: v for path, v in raw.items() if v.dtype.is_floating}
        self._averages = {
            path: tf.Variable(
                v.read_value(),
                trainable=False,
                name="average",
                # The replicas' values are equal: each computes the same average.
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            for path, v in self._variables.items()
        }

    def named_state(self) -> dict[str, Any]:
        """Path -> variable of what a resumed run needs."""
        return {f"average/{path}": average for path, average in self._averages.items()}

    def begin(self) -> None:
        """Begins anew, with the values that the network has now."""
        for path, average in self._averages.items():
            average.assign(self._variables[path].read_value())

    def averaging(self, step: Step) -> Step:
        """The step, and an update of the average after it."""

        def step_and_average(batch: dict[str, Any]) -> Metrics:
            metrics = step(batch)
            done = tf.cast(tf.convert_to_tensor(self._steps), tf.float32)
            decay = tf.minimum(self._decay, (1.0 + done) / (10.0 + done))
            for path, value in moved_averages(self._averages, self._variables, decay).items():
                self._averages[path].assign(value)
            return metrics

        return step_and_average

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """In here the network has the averaged values; call it between steps, on all workers."""
        before = {path: tf.identity(v.read_value()) for path, v in self._variables.items()}
        try:
            for path, average in self._averages.items():
                self._variables[path].assign(average.read_value())
            yield
        finally:
            for path, value in before.items():
                self._variables[path].assign(value)
