"""What the workers of a run agree on: collectives only match when every worker does the same steps."""

from __future__ import annotations

import os
from collections.abc import Sequence

import tensorflow as tf

from tf_simclr.train.device_choice import Worker


class Workers:
    """The processes of a run, as seen by one of them. Alone, it agrees with itself at no cost.

    Every method must be called by all workers, in the same order.

    Args:
        worker: this process's place.
        strategy: of the run, connected to the others.
        scratch: directory below which a worker that is not the chief writes what only the chief keeps; None on the
            chief.
    """

    def __init__(self, worker: Worker, strategy: tf.distribute.Strategy, scratch: str | None = None):
        assert worker.chief == (scratch is None), "only the chief writes into the run's directory"
        self._me, self._scratch = worker, scratch
        self._local_replicas = strategy.num_replicas_in_sync // worker.count

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
        def total(values: tf.Tensor) -> tf.Tensor:
            per_replica = strategy.run(tf.identity, args=(values,))
            return strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None)

        self._total = total

    @property
    def chief(self) -> bool:
        """Whether this process writes what stays, and prints."""
        return self._me.chief

    @property
    def alone(self) -> bool:
        """Whether this process is the only one."""
        return self._me.count == 1

    def own_directory(self, directory: str) -> str:
        """Where this process writes what the chief writes into `directory`."""
        if self._scratch is None:
            return directory
        return os.path.join(self._scratch, os.path.basename(os.path.normpath(directory)))

    def _sums(self, values: Sequence[int]) -> list[int]:
        """The sum of each value over the workers."""
        if self._me.count == 1:
            return list(values)
        sums = self._total(tf.constant(values, tf.int64)).numpy()
        return [int(x) // self._local_replicas for x in sums]  # every replica of a worker contributed its values

    def from_chief(self, value: int) -> int:
        """The chief's value, on every worker."""
        return self._sums([value if self._me.chief else 0])[0]

    def gather(self, text: str) -> list[str]:
        """The text of each worker, in their order, on every worker."""
        own, count = text.encode(), self._me.count
        lengths = self._sums([len(own) if index == self._me.index else 0 for index in range(count)])
        before = sum(lengths[: self._me.index])
        after = sum(lengths) - before - len(own)
        content = bytes(self._sums([0] * before + list(own) + [0] * after))
        ends = [sum(lengths[: index + 1]) for index in range(count)]
        return [content[end - length : end].decode() for end, length in zip(ends, lengths, strict=True)]

    def plan_call(self, stopping: bool, steps: int) -> int:
        """The steps of the next call: as many as suit the chief, whose clock is not the others'; 0 stops.

        Args:
            stopping: whether this worker was asked to stop; one is enough to stop them all, at the same step.
            steps: that suit this worker.
        """
        stops, chosen = self._sums([int(stopping), steps if self._me.chief else 0])
        return 0 if stops else chosen

    def wait_for_all(self) -> None:
        """Returns when every worker has come here: one that leaves early would count as dead."""
        self._sums([0])
