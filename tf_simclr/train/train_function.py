"""The compiled function that takes some steps: a loop inside the graph, on every device of a strategy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_simclr.train.step import Step

TrainFunction = Callable[[Any, tf.Tensor], tuple[dict[str, tf.Tensor], tf.Tensor]]


def build_train_function(strategy: tf.distribute.Strategy, step: Step) -> TrainFunction:
    """A compiled function (iterator, number of steps) -> metrics, and how long the host waited for batches.

    The metrics are averaged over replicas and steps; the wait is a sum over the steps, float64 seconds. It is measured
    in the graph by two readings of the clock, which nothing else waits for.
    """

    def one_step(batch: Any) -> dict[str, tf.Tensor]:
        per_replica = strategy.run(step, args=(batch,))
        return {k: strategy.reduce(tf.distribute.ReduceOp.MEAN, v, axis=None) for k, v in per_replica.items()}

    def timed_batch(iterator: Any, after: tf.Tensor) -> tuple[Any, tf.Tensor]:
        with tf.control_dependencies([after]):
            asked = tf.timestamp()
        with tf.control_dependencies([asked]):
            batch = next(iterator)
        with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
            return batch, tf.timestamp() - asked

    names: list[str] = []

    @tf.function
    def train(iterator: Any, num_steps: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        # The step stands only in the loop: a first one before it would be traced and optimised a second time. How many
        # metrics there are is known when the loop has been traced; until then one zero stands for all of them.
        totals, waited = tf.zeros([1]), tf.zeros([], tf.float64)
        for _ in tf.range(num_steps):
            tf.autograph.experimental.set_loop_options(shape_invariants=[(totals, tf.TensorShape([None]))])
            batch, seconds = timed_batch(iterator, after=totals)
            metrics = one_step(batch)
            names[:] = metrics
            totals += tf.stack([tf.cast(value, tf.float32) for value in metrics.values()])
            waited += seconds
        means = tf.unstack(totals / tf.cast(num_steps, tf.float32), num=len(names))
        return dict(zip(names, means, strict=True)), waited

    return train
