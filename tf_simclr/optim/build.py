"""The optimizer of a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from tf_simclr import compat
from tf_simclr.config import OPTIMIZERS, OptimizerConfig
from tf_simclr.errors import require_choice
from tf_simclr.optim.decay import all_but
from tf_simclr.optim.lamb import build_lamb
from tf_simclr.optim.lars import LARSOptimizer
from tf_simclr.optim.schedules import WarmupCosine


def build_optimizer(
    config: OptimizerConfig, schedule: WarmupCosine, trainable: list[Any], decayed: Iterable[Any]
) -> tf.keras.optimizers.Optimizer:
    """An optimizer whose slots exist already: created lazily inside a tf.function they fail on several replicas.

    Args:
        config: kind, momentum, weight decay.
        schedule: learning rate by step.
        trainable: the variables it will update.
        decayed: those among them that LARS and LAMB decay and adapt; momentum and adam decay through the loss instead.

    Returns:
        a built Keras optimizer.

    Raises:
        InputError: an unknown kind, or lamb on Keras 2 without TensorFlow Addons.
    """
    kind = config.optimizer
    require_choice("optimizer", kind, OPTIMIZERS)
    optimizer: tf.keras.optimizers.Optimizer
    if kind == "lars":
        optimizer = LARSOptimizer(
            schedule,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            exclude_from_weight_decay=all_but(decayed),
        )
    elif kind == "lamb":
        optimizer = build_lamb(schedule, config.weight_decay, trainable, all_but(decayed))
    elif kind == "momentum":
        optimizer = tf.keras.optimizers.SGD(schedule, momentum=config.momentum, nesterov=True)
    else:
        optimizer = tf.keras.optimizers.Adam(schedule)
    compat.build_slots(optimizer, trainable)
    return optimizer
