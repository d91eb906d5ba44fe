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

    # AutoGraph would translate the source of all that a step calls: a third of the time to the first step.
    @tf.function(autograph=False)
    def train(iterator: Any, num_steps: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        def add_step(done: tf.Tensor, totals: tf.Tensor, waited: tf.Tensor) -> tuple[tf.Tensor, ...]:
            batch, seconds = timed_batch(iterator, after=totals)
            metrics = one_step(batch)
            names[:] = metrics
            return done + 1, totals + tf.stack([tf.cast(one, tf.float32) for one in metrics.values()]), waited + seconds

        # The step stands only in the loop: a first one before it would be traced and optimised a second time. How many
        # metrics there are is known when the loop has been traced; until then one zero stands for all of them.
        scalar = tf.TensorShape([])
        _, totals, waited = tf.while_loop(
            lambda done, *_: done < num_steps,
            add_step,
            (tf.zeros_like(num_steps), tf.zeros([1]), tf.zeros([], tf.float64)),
            shape_invariants=(scalar, tf.TensorShape([None]), scalar),
        )
        means = tf.unstack(totals / tf.cast(num_steps, tf.float32), num=len(names))
        return dict(zip(names, means, strict=True)), waited

    return train
