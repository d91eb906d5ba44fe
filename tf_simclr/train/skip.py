"""Leaving an update out whose loss or gradient is not finite, on all replicas alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tf_simclr import compat
from tf_simclr.ops.collectives import write_own_copies
from tf_simclr.train.precision import are_finite_everywhere
from tf_simclr.train.step import Metrics, Step

# Of the metrics of a step: 1 where its update was left out, NaN where it should have been and could not, else 0.
SKIPPED = "train/skipped"
TOTAL = "train/skipped_steps"
# It must move with a step that is left out: float16 gets back into its range by it.
_LOSS_SCALE = "loss_scale/"


class SkippedUpdates:
    """Leaves up to `limit` updates of a run out, and counts them.

    An update is left out when a metric of its step, or a value that it wrote, is not finite on any replica: a loss or a
    gradient that is not finite always ends there. Everything then is as it was before the step, to the bit: weights,
    optimizer slots, batch-norm statistics, and what the online head keeps. Only counters go on. The step counts, so
    that the learning rate follows the run, and the next step takes the next batch. Once `limit` updates were left out,
    the next such step is taken as it is, and ends the run.

    The price is a copy of all these values while a step runs, as with float16's loss scale.

    float16 has its own way with gradients that left its range, the loss scale, which leaves an update out by itself.
    Such updates have a finite loss and are not counted here.

    Args:
        limit: how many updates may be left out in a run; 0 changes nothing of the step.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self._count = tf.Variable(0, trainable=False, dtype=tf.int64, name="skipped_updates")

    def named_state(self) -> dict[str, Any]:
        """Path -> variable; kept whatever the limit, so that a run's state is always the same."""
        return {"skipped_updates/count": self._count}

    def count(self) -> int:
        """How many updates of the run were left out so far."""
        return int(self._count.numpy())

    def figures(self) -> dict[str, float]:
        """The count under its summary tag; empty where no update may be left out, and none was."""
        count = self.count()
        return {TOTAL: float(count)} if count or self.limit else {}

    def guarded(self, step: Step, state: Mapping[str, Any]) -> Step:
        """The step that leaves its update out where it must.

        Args:
            step: as made by `build_pretrain_step` and its like.
            state: path -> variable, all of a run.

        Returns:
            step(batch) -> metrics, and SKIPPED among them; where that is 1, the other metrics are 0.
        """
        raw = {path: compat.raw_variable(v) for path, v in state.items() if not path.startswith(_LOSS_SCALE)}
        variables = [variable for variable in raw.values() if variable.dtype.is_floating]

        def guarded_step(batch: dict[str, Any]) -> Metrics:
            before = [tf.identity(variable) for variable in variables]
            metrics = step(batch)
            after = [tf.convert_to_tensor(variable) for variable in variables]
            finite = are_finite_everywhere([*metrics.values(), *after])
            count = tf.convert_to_tensor(self._count)
            skips = tf.logical_and(tf.logical_not(finite), count < self.limit)
            write_own_copies(variables, [tf.where(skips, old, new) for old, new in zip(before, after, strict=True)])
            self._count.assign(count + tf.cast(skips, tf.int64))
            shown = {name: tf.where(skips, tf.zeros_like(value), value) for name, value in metrics.items()}
            return shown | {SKIPPED: tf.where(tf.logical_or(finite, skips), tf.cast(skips, tf.float32), float("nan"))}

        return guarded_step
