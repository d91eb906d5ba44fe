"""What the workers of a run agree on: collectives only match when every worker does the same steps."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tf_simclr.train.device_choice import Worker


class Workers:
    """The processes of a run, as seen by one of them. Alone, it agrees with itself at no cost.

    Every method must be called by all workers, in the same order.

    Args:
        worker: this process's place.
        strategy: of the run, connected to the others.
    """

    def __init__(self, worker: Worker, strategy: tf.distribute.Strategy):
        self.me = worker
        self._local_replicas = strategy.num_replicas_in_sync // worker.count

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
        def total(values: tf.Tensor) -> tf.Tensor:
            per_replica = strategy.run(tf.identity, args=(values,))
            return strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None)

        self._total = total

    def _sums(self, values: Sequence[int]) -> list[int]:
        """The sum of each value over the workers."""
        if self.me.count == 1:
            return list(values)
        sums = self._total(tf.constant(values, tf.int64)).numpy()
        return [int(x) // self._local_replicas for x in sums]  # every replica of a worker contributed its values

    def from_chief(self, value: int) -> int:
        """The chief's value, on every worker."""
        return self._sums([value if self.me.chief else 0])[0]

    def plan_call(self, stopping: bool, steps: int) -> int:
        """The steps of the next call: as many as suit the chief, whose clock is not the others'; 0 stops.

        Args:
            stopping: whether this worker was asked to stop; one is enough to stop them all, at the same step.
            steps: that suit this worker.
        """
        stops, chosen = self._sums([int(stopping), steps if self.me.chief else 0])
        return 0 if stops else chosen

    def wait_for_all(self) -> None:
        """Returns when every worker has come here: one that leaves early would count as dead."""
        self._sums([0])
