"""Layers as operators of ONNX, whose maps have channels first: one table of Keras's layers and ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tf_simclr.errors import InputError
from tf_simclr.nn.blocks import MeanOfHalvesSum, SelectHalves
from tf_simclr.nn.normalization import BatchNorm

if TYPE_CHECKING:
    from tf_simclr.interop.formats.onnx_graph import OnnxGraph

layers = tf.keras.layers

_ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid"}


@dataclass(frozen=True)
class Placed:
    """A layer at its place in a graph.

    Attributes:
        graph: that gets its operators.
        layer: of Keras, or one of ours.
        weights: of the layer, by the last part of their names.
        inputs: names of the tensors that it reads.
        name: of its operators and constants, or the beginning of their names.
    """

    graph: OnnxGraph
    layer: Any
    weights: Mapping[str, np.ndarray]
    inputs: Sequence[str]
    name: str

    def node(self, kind: str, inputs: Sequence[str], part: str = "", **attributes: Any) -> str:
        """Adds an operator; returns the name of its output."""
        return self.graph.node(kind, inputs, self.name + part, **attributes)

    def constant(self, leaf: str, value: Any, dtype: type = np.float32) -> str:
        """Adds a constant; returns its name."""
        return self.graph.constant(f"{self.name}/{leaf}", value, dtype)

    def halves(self, of: str, part: str) -> list[str]:
        """Adds a split of the channels; returns the names of the halves."""
        return self.graph.halves(of, self.name + part)


def _conv(at: Placed) -> str:
    layer = at.layer
    kernel = at.constant("kernel", at.weights["kernel"].transpose(3, 2, 0, 1))  # [outputs, inputs, height, width]
    bias = [at.constant("bias", at.weights["bias"])] if "bias" in at.weights else []
    window = _window(layer, layer.kernel_size, layer.dilation_rate)
    x = at.node("Conv", [*at.inputs, kernel, *bias], dilations=layer.dilation_rate, group=layer.groups, **window)
    return _activated(at, x)


def _dense(at: Placed) -> str:
    parts = [at.constant(leaf, at.weights[leaf]) for leaf in ("kernel", "bias") if leaf in at.weights]
    return _activated(at, at.node("Gemm", [*at.inputs, *parts]))


def _batch_norm(at: Placed) -> str:
    mean = at.weights["moving_mean"]
    # In the order in which ONNX takes them; without a scale or an offset they are 1 and 0.
    parts = {"gamma": np.ones_like(mean), "beta": np.zeros_like(mean), "moving_mean": mean, "moving_variance": mean}
    names = [at.constant(leaf, value) for leaf, value in (parts | dict(at.weights)).items()]
    return at.node("BatchNormalization", [*at.inputs, *names], epsilon=at.layer.epsilon)


def _rescaling(at: Placed) -> str:
    scale, offset = (np.reshape(value, [-1, 1, 1]) for value in (at.layer.scale, at.layer.offset))
    scaled = at.node("Mul", [*at.inputs, at.constant("scale", scale)], "/scaled")
    return at.node("Add", [scaled, at.constant("offset", offset)])


def _zero_padding(at: Placed) -> str:
    (top, bottom), (left, right) = at.layer.padding
    pads = at.constant("pads", [0, 0, top, left, 0, 0, bottom, right], np.int64)
    return at.node("Pad", [*at.inputs, pads])


def _pool(kind: str) -> Callable[[Placed], str]:
    # What ONNX pads counts in no mean, as in TensorFlow.
    return lambda at: at.node(
        kind, at.inputs, kernel_shape=at.layer.pool_size, **_window(at.layer, at.layer.pool_size, (1, 1))
    )


def _global_average(at: Placed) -> str:
    if at.layer.keepdims:
        return at.node("GlobalAveragePool", at.inputs)
    return at.node("Flatten", [at.node("GlobalAveragePool", at.inputs, "/mean")], axis=1)


def _mean_of_halves_sum(at: Placed) -> str:
    means = at.node("GlobalAveragePool", at.inputs, "/mean")
    return at.node("Add", at.halves(means, "/halves"))


def _select_halves(at: Placed) -> str:
    maps, logits = at.inputs
    first, second = at.halves(maps, "/halves")
    weight = at.node("Sigmoid", [at.node("Sub", at.halves(logits, "/logits"), "/difference")], "/weight")
    # w first + (1 - w) second = second + w (first - second)
    distance = at.node("Sub", [first, second], "/distance")
    return at.node("Add", [second, at.node("Mul", [weight, distance], "/share")])


def _window(layer: Any, size: Sequence[int], dilations: Sequence[int]) -> dict[str, Any]:
    """Strides and padding of a convolution or a pool."""
    if layer.padding == "valid":
        return {"strides": layer.strides}
    if tuple(layer.strides) != (1, 1):
        return {"strides": layer.strides, "auto_pad": "SAME_UPPER"}  # depends on the size of the maps
    total = [dilation * (side - 1) for side, dilation in zip(size, dilations, strict=True)]
    before = [sides // 2 for sides in total]
    after = [sides - first for sides, first in zip(total, before, strict=True)]
    return {"strides": layer.strides, "pads": [*before, *after]}


def _activated(at: Placed, x: str) -> str:
    """Adds the layer's activation of a tensor."""
    function = tf.keras.activations.serialize(at.layer.activation)
    if function == "linear":
        return x
    if function not in _ACTIVATIONS:
        raise _untranslated(f"activation {function} of {at.layer.name}")
    return at.node(_ACTIVATIONS[function], [x], "/activated" if x == at.name else "")


def _untranslated(what: str) -> InputError:
    return InputError(
        f"`to` must not be onnx for a network with layers that have no translation. Received: {what}. Pass "
        "--to=saved_model, or add the layer to tf_simclr/interop/formats/onnx_layers.py"
    )


# By exact type: a subclass may compute something else.
_LAYERS: dict[type, Callable[[Placed], str]] = {
    layers.Conv2D: _conv,
    layers.Dense: _dense,
    BatchNorm: _batch_norm,
    layers.Rescaling: _rescaling,
    layers.ZeroPadding2D: _zero_padding,
    layers.MaxPooling2D: _pool("MaxPool"),
    layers.AveragePooling2D: _pool("AveragePool"),
    layers.GlobalAveragePooling2D: _global_average,
    layers.Activation: lambda at: _activated(at, at.inputs[0]),
    layers.Add: lambda at: at.node("Add", at.inputs),
    layers.Multiply: lambda at: at.node("Mul", at.inputs),
    MeanOfHalvesSum: _mean_of_halves_sum,
    SelectHalves: _select_halves,
}


def add_layer(at: Placed) -> str:
    """Adds what a layer computes in inference; returns the name of its output.

    Raises:
        InputError: there is no translation.
    """
    if type(at.layer) not in _LAYERS:
        raise _untranslated(f"{type(at.layer).__name__} {at.layer.name}")
    return _LAYERS[type(at.layer)](at)
