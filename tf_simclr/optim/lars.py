"""LARS, layer-wise adaptive rate scaling (You et al. 2017), as SimCLR uses it (Section 2.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tf_simclr import compat

EETA_DEFAULT = 0.001

Exclusion = Sequence[str] | Callable[[Any], bool] | None


def trust_ratio(parameter_norm: tf.Tensor, update_norm: tf.Tensor, eeta: float) -> tf.Tensor:
    """eeta * ||w|| / ||g||, and 1 where either norm is 0 (scalars, float32)."""
    usable = tf.logical_and(parameter_norm > 0, update_norm > 0)
    return tf.where(usable, eeta * parameter_norm / tf.where(usable, update_norm, 1.0), 1.0)


def lars_update(
    parameter: tf.Tensor,
    gradient: tf.Tensor,
    velocity: tf.Tensor,
    *,
    learning_rate: tf.Tensor | float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    eeta: float = EETA_DEFAULT,
    adapt: bool = True,
    nesterov: bool = False,
    classic_momentum: bool = True,
) -> tuple[tf.Tensor, tf.Tensor]:
    """One LARS update, without state.

    Classic momentum puts learning rate and trust ratio into the velocity: v' = m v + lr trust g', w' = w - v'. Popular
    momentum applies them after it: v' = m v + g', w' = w - lr trust v'.

    Args:
        parameter: w, any shape, float.
        gradient: of the loss, shape of w.
        velocity: v, shape of w.
        learning_rate: of this step, >= 0.
        momentum: m in [0, 1].
        weight_decay: g' = g + weight_decay * w; 0 for excluded parameters.
        eeta: trust coefficient.
        adapt: False for excluded parameters: a trust ratio of 1.
        nesterov: look one momentum step ahead.
        classic_momentum: False selects popular momentum.

    Returns:
        (w', v').
    """
    decayed = gradient + weight_decay * parameter

    def trust_of(update: tf.Tensor) -> tf.Tensor | float:
        return trust_ratio(tf.norm(parameter), tf.norm(update), eeta) if adapt else 1.0

    if classic_momentum:
        scaled = learning_rate * trust_of(decayed) * decayed
        new_velocity = momentum * velocity + scaled
        step = momentum * new_velocity + scaled if nesterov else new_velocity
    else:
        new_velocity = momentum * velocity + decayed
        update = momentum * new_velocity + decayed if nesterov else new_velocity
        step = learning_rate * trust_of(update) * update
    return parameter - step, new_velocity


def _is_excluded(exclusion: Exclusion, variable: Any) -> bool:
    if exclusion is None:
        return False
    if callable(exclusion):
        return bool(exclusion(variable))
    path = compat.variable_path(variable)
    return any(re.search(pattern, path) for pattern in exclusion)


@tf.keras.utils.register_keras_serializable(package="tf_simclr")
class LARSOptimizer(compat.SlottedOptimizer):
    """LARS for Keras models, with the arguments of the authors' optimizer.

    Args:
        learning_rate: float or schedule.
        momentum: in [0, 1].
        use_nesterov: Nesterov momentum.
        weight_decay: added to the gradient, coupled, before the trust ratio.
        exclude_from_weight_decay: list of regular expressions searched in a variable's full path, or a predicate
            variable -> bool, which is safer: Keras 3 calls a batch norm's scale only "gamma".
        exclude_from_layer_adaptation: the same for the trust ratio; None takes `exclude_from_weight_decay`.
        classic_momentum: False applies learning rate and trust ratio after the momentum.
        eeta: trust coefficient.
        name: name of the optimizer.
    """

    def __init__(
        self,
        learning_rate: Any,
        momentum: float = 0.9,
        use_nesterov: bool = False,
        weight_decay: float = 0.0,
        exclude_from_weight_decay: Exclusion = None,
        exclude_from_layer_adaptation: Exclusion = None,
        classic_momentum: bool = True,
        eeta: float = EETA_DEFAULT,
        name: str = "LARSOptimizer",
    ):
        super().__init__(learning_rate, name, slot_name="velocity")
        self.momentum = momentum
        self.use_nesterov = use_nesterov
        # Not `weight_decay`: both Keras base classes would apply an attribute of that name decoupled, once more.
        self.lars_weight_decay = weight_decay
        self.exclude_from_weight_decay = exclude_from_weight_decay
        self.exclude_from_layer_adaptation = (
            exclude_from_weight_decay if exclude_from_layer_adaptation is None else exclude_from_layer_adaptation
        )
        self.classic_momentum = classic_momentum
        self.eeta = eeta
        self._decays: list[float] = []
        self._adapts: list[bool] = []

    def build(self, variables: Any) -> None:
        """Creates the velocities and decides for every variable whether it is decayed and adapted."""
        super().build(variables)
        if not self._decays:
            self._decays = [
                0.0 if _is_excluded(self.exclude_from_weight_decay, v) else self.lars_weight_decay for v in variables
            ]
            self._adapts = [not _is_excluded(self.exclude_from_layer_adaptation, v) for v in variables]

    def update_variable(
        self, gradient: tf.Tensor, variable: Any, slot: Any, index: int, learning_rate: tf.Tensor
    ) -> None:
        """Applies `lars_update` in place."""
        parameter, velocity = lars_update(
            tf.convert_to_tensor(variable),
            gradient,
            tf.convert_to_tensor(slot),
            learning_rate=learning_rate,
            momentum=self.momentum,
            weight_decay=self._decays[index],
            eeta=self.eeta,
            adapt=self._adapts[index],
            nesterov=self.use_nesterov,
            classic_momentum=self.classic_momentum,
        )
        slot.assign(velocity)
        variable.assign(parameter)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; predicates cannot be serialised and raise TypeError."""
        for exclusion in (self.exclude_from_weight_decay, self.exclude_from_layer_adaptation):
            if callable(exclusion):
                raise TypeError("LARSOptimizer with a predicate cannot be serialised: pass name patterns instead")
        return {
            "learning_rate": compat.learning_rate_config(self),
            "momentum": self.momentum,
            "use_nesterov": self.use_nesterov,
            "weight_decay": self.lars_weight_decay,
            "exclude_from_weight_decay": self.exclude_from_weight_decay,
            "exclude_from_layer_adaptation": self.exclude_from_layer_adaptation,
            "classic_momentum": self.classic_momentum,
            "eeta": self.eeta,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> LARSOptimizer:
        """The optimizer of a config made by `get_config`; `config` is left as it is."""
        del custom_objects  # part of Keras's interface; our schedule is registered
        values = dict(config)
        if isinstance(values["learning_rate"], dict):
            values["learning_rate"] = tf.keras.optimizers.schedules.deserialize(values["learning_rate"])
        return cls(**values)
