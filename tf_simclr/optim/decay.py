"""Which variables decay: decided by the layer a variable belongs to, never by its name (SimCLR, Section 2.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf


def kernels(layers: Iterable[tf.keras.layers.Layer]) -> list[Any]:
    """The trainable kernels of dense layers and convolutions: all that ever decays.

    Biases and the scales and offsets of batch norms have no kernel's role in their layer and never decay. A kernel
    comes once, however often its layer does.
    """
    found = []
    for layer in {id(layer): layer for layer in layers}.values():
        kernel = getattr(layer, "kernel", None)
        if kernel is not None:
            found += [v for v in layer.trainable_weights if v is kernel]
    return found


def all_but(variables: Iterable[Any]) -> Callable[[Any], bool]:
    """A predicate that is True for every variable except these, for an optimizer's exclusions."""
    kept = {id(v) for v in variables}
    return lambda variable: id(variable) not in kept


def l2_penalty(variables: Iterable[Any], weight_decay: float) -> tf.Tensor:
    """weight_decay * sum ||w||^2 / 2 over the variables, float32 scalar: its gradient is weight_decay * w."""
    terms = [tf.nn.l2_loss(tf.cast(tf.convert_to_tensor(v), tf.float32)) for v in variables]
    return weight_decay * tf.add_n(terms) if terms else tf.constant(0.0)
