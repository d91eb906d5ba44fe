"""Mixed precision: the layers' dtype policy, and updates by gradients that float16 could have lost."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_simclr import compat
from tf_simclr.ops import collectives

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
INITIAL_SCALE = 2.0**15
LARGEST_SCALE = 2.0**24
GROWTH_STEPS = 2000


def are_finite_everywhere(tensors: list[tf.Tensor]) -> tf.Tensor:
    """Whether every value of every tensor is finite on all replicas: the same bool scalar on each of them."""
    here = tf.reduce_all([tf.reduce_all(tf.math.is_finite(t)) for t in tensors])
    context = collectives.replica_context()
    if context is None:
        return here
    failures = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(tf.logical_not(here), tf.float32))
    return tf.equal(failures, 0.0)


class Updater:
    """Updates the trained variables by gradients of a replica's loss.

    With `dynamic_scale` the loss is multiplied before differentiation, so that small gradients do not vanish in
    float16, and the gradients are divided by the same number. A step with a gradient that is not finite leaves
    variables and slots as they are and halves the scale; after GROWTH_STEPS good ones in a row it doubles. The
    optimizer's iterations count such a step all the same: the learning rate follows the steps of the run.

    Keras's LossScaleOptimizer is not used: its state has other names on Keras 2 and 3, and it skips by a tf.cond, in
    which a replica cannot communicate.

    Args:
        optimizer: built on `variables`.
        variables: what is trained.
        dynamic_scale: for float16; otherwise the scale is kept, unused, so that a run's state is the same under every
            precision.

    Source: Micikevicius et al. 2018, Section 3.2.
    """

    def __init__(self, optimizer: tf.keras.optimizers.Optimizer, variables: list[Any], dynamic_scale: bool = False):
        self.optimizer = optimizer
        self.variables = variables
        self.dynamic_scale = dynamic_scale
        self._scale = tf.Variable(INITIAL_SCALE, trainable=False, dtype=tf.float32, name="loss_scale")
        self._good_steps = tf.Variable(0, trainable=False, dtype=tf.int64, name="loss_scale_good_steps")

    def named_state(self) -> dict[str, Any]:
        """Path -> variable, beside the optimizer's own."""
        return {"loss_scale/scale": self._scale, "loss_scale/good_steps": self._good_steps}

    def scaled(self, loss: tf.Tensor) -> tf.Tensor:
        """The scalar to differentiate, from a replica's loss.

        The optimizer SUMS the replicas' gradients, and a replica's loss is a mean over its own share only; so the sum
        is the gradient of the global mean exactly when each share is divided by the number of shares.
        """
        share = loss / collectives.replica_count()
        return share * self._scale if self.dynamic_scale else share

    def apply(self, gradients: list[tf.Tensor]) -> None:
        """Updates the variables, in their order, by gradients of what `scaled` returned."""
        if not self.variables:  # beside an untrained encoder the online head is all that is trained
            return
        if not self.dynamic_scale:
            self.optimizer.apply_gradients(zip(gradients, self.variables, strict=True))
            return
        unscale = 1.0 / tf.convert_to_tensor(self._scale)
        gradients = [g * unscale for g in gradients]
        finite = are_finite_everywhere(gradients)
        slots = [slot for values in compat.optimizer_slots(self.optimizer).values() for slot in values]
        state = [compat.raw_variable(v) for v in (*self.variables, *slots)]
        before = [tf.identity(v) for v in state]
        self.optimizer.apply_gradients(zip(gradients, self.variables, strict=True))
        for variable, value in zip(state, before, strict=True):
            variable.assign(tf.where(finite, tf.convert_to_tensor(variable), value))
        self._adjust(finite)

    def _adjust(self, finite: tf.Tensor) -> None:
        """Moves the scale; every replica moves its own copy by the same amount."""
        scale, good = tf.convert_to_tensor(self._scale), tf.convert_to_tensor(self._good_steps) + 1
        grown = tf.minimum(tf.where(good < GROWTH_STEPS, scale, 2.0 * scale), LARGEST_SCALE)
        self._scale.assign(tf.where(finite, grown, tf.maximum(0.5 * scale, 1.0)))
        self._good_steps.assign(tf.where(tf.logical_and(finite, good < GROWTH_STEPS), good, tf.zeros_like(good)))
