"""LAMB, Adam with the trust ratio of LARS (You et al. 2020, Algorithm 2): from Keras 3, or from TensorFlow Addons.

Keras's Lamb knows neither the paper's weight decay, which is part of what the trust ratio scales, nor variables without
a trust ratio, and TensorFlow Addons' knows both. Ours on Keras 3 adds them, so that both stacks compute the same.
A run on Keras 2 takes TensorFlow Addons', as its older checkpoints did.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_simclr import compat
from tf_simclr.optim.lars import trust_ratio

BETAS = (0.9, 0.999)
EPSILON = 1e-6


def lamb_update(
    parameter: tf.Tensor,
    gradient: tf.Tensor,
    first: tf.Tensor,
    second: tf.Tensor,
    *,
    step: tf.Tensor,
    learning_rate: tf.Tensor | float,
    weight_decay: float = 0.0,
    adapt: bool = True,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """One LAMB update, without state.

    Args:
        parameter: w, any shape, float.
        gradient: of the loss, shape of w.
        first: moving mean m of the gradient, shape of w.
        second: moving mean v of its square, shape of w.
        step: number of this update, from 1, float scalar.
        learning_rate: of this step, >= 0.
        weight_decay: u' = u + weight_decay * w; 0 for excluded parameters.
        adapt: False for excluded parameters: a trust ratio of 1 and not ||w|| / ||u'||.

    Returns:
        (w', m', v').
    """
    new_first = BETAS[0] * first + (1 - BETAS[0]) * gradient
    new_second = BETAS[1] * second + (1 - BETAS[1]) * tf.square(gradient)
    mean = new_first / (1 - BETAS[0] ** step)
    spread = tf.sqrt(new_second / (1 - BETAS[1] ** step))
    update = mean / (spread + EPSILON) + weight_decay * parameter
    trust: tf.Tensor | float = trust_ratio(tf.norm(parameter), tf.norm(update), 1.0) if adapt else 1.0
    return parameter - learning_rate * trust * update, new_first, new_second


# Keras 2 has no Lamb, and its Adam keeps the same two moments.
_KerasLamb: Any = tf.keras.optimizers.Lamb if compat.KERAS_3 else tf.keras.optimizers.Adam


class ExcludingLamb(_KerasLamb):
    """Keras's Lamb with the paper's weight decay, and with exclusions.

    Args:
        learning_rate: float or schedule.
        weight_decay: of variables that are not excluded.
        is_excluded: variable -> whether it is neither decayed nor adapted; asked once, when the slots are made.
        name: name of the optimizer.
    """

    def __init__(self, learning_rate: Any, weight_decay: float, is_excluded: Callable[[Any], bool], name: str = "Lamb"):
        super().__init__(learning_rate=learning_rate, beta_1=BETAS[0], beta_2=BETAS[1], epsilon=EPSILON, name=name)
        # Not `weight_decay`: Keras would apply an attribute of that name decoupled, once more.
        self.lamb_weight_decay = weight_decay
        self.is_excluded = is_excluded
        self._excluded: list[bool] = []

    def build(self, variables: Any) -> None:
        """Creates the slots and decides for every variable whether it is decayed and adapted."""
        super().build(variables)
        self._excluded = [self.is_excluded(v) for v in variables]

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: Any = None) -> None:
        """Keras's hook: one variable's update."""
        index = compat.variable_index(self, variable)
        learning_rate = self.learning_rate if learning_rate is None else learning_rate
        slots = (self._momentums[index], self._velocities[index])
        updated = lamb_update(
            tf.convert_to_tensor(variable),
            tf.cast(gradient, variable.dtype),
            *(tf.convert_to_tensor(slot) for slot in slots),
            step=tf.cast(self.iterations + 1, variable.dtype),
            learning_rate=tf.cast(learning_rate, variable.dtype),
            weight_decay=0.0 if self._excluded[index] else self.lamb_weight_decay,
            adapt=not self._excluded[index],
        )
        for target, value in zip((variable, *slots), updated, strict=True):
            target.assign(value)

    def get_config(self) -> dict[str, Any]:
        """Raises TypeError: a predicate cannot be serialised."""
        raise TypeError("ExcludingLamb cannot be serialised: its exclusions are a predicate over live variables")


def build_lamb(
    learning_rate: Any, weight_decay: float, variables: list[Any], is_excluded: Callable[[Any], bool]
) -> tf.keras.optimizers.Optimizer:
    """The stack's LAMB; its slots are still to be made.

    Args:
        learning_rate: float or schedule.
        weight_decay: added to the update before the trust ratio.
        variables: that it will update.
        is_excluded: variable -> whether it is neither decayed nor adapted.

    Raises:
        InputError: on Keras 2 without TensorFlow Addons.
    """
    if compat.KERAS_3:
        return ExcludingLamb(learning_rate, weight_decay, is_excluded)
    # Addons ask for patterns of names; a replica's copy of a variable has a suffix.
    names = [v.name for v in variables]
    assert len(set(names)) == len(names), "two variables of one name cannot be distinguished by patterns"
    patterns = [rf"^{re.escape(v.name)}(/replica_\d+)?$" for v in variables if is_excluded(v)]
    return compat.addons().optimizers.LAMB(
        learning_rate,
        beta_1=BETAS[0],
        beta_2=BETAS[1],
        epsilon=EPSILON,
        weight_decay=weight_decay,
        exclude_from_weight_decay=patterns,
    )
