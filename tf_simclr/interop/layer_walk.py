"""A functional model taken apart: what each of its layers reads, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import tensorflow as tf

T = TypeVar("T")


def walk(model: tf.keras.Model, images: T, apply: Callable[[Any, list[T]], T]) -> dict[str, T]:
    """Goes through the layers of a functional model, each after those that it reads, and makes something of each.

    Args:
        model: with one input, and layers that are called once: an encoder or a head.
        images: what stands for the input.
        apply: (layer, what its inputs became) -> what its output becomes.

    Returns:
        what the outputs became, by endpoint; by the model's name where it has one output.
    """
    made: dict[int, T] = {}
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.InputLayer):
            made[id(layer.output)] = images
            continue
        read = layer.input if isinstance(layer.input, list) else [layer.input]
        made[id(layer.output)] = apply(layer, [made[id(tensor)] for tensor in read])
    outputs = model.output if isinstance(model.output, dict) else {model.name: model.output}
    return {endpoint: made[id(tensor)] for endpoint, tensor in outputs.items()}
