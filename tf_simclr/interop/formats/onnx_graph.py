"""An ONNX graph of our networks, written layer by layer. Nothing is traced, so that it takes little time and memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr import compat, optional
from tf_simclr.interop.formats.compared import INPUT
from tf_simclr.interop.formats.onnx_layers import Placed, add_layer
from tf_simclr.interop.formats.served import OUTPUTS
from tf_simclr.interop.layer_walk import walk
from tf_simclr.nn.model import SimCLRModel

OPSET = 17
# The first that has opset 17; later ones are closed to older readers.
_IR_VERSION = 8
DIMENSIONS = ("batch", "height", "width")
_TO_CHANNELS_FIRST = (0, 3, 1, 2)


class OnnxGraph:
    """Nodes and constants, in the order in which they are computed.

    Attributes:
        nodes: of onnx.
        constants: tensors of onnx. Weights have the paths of our checkpoints.
    """

    def __init__(self) -> None:
        self._onnx = optional.require_onnx()
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Adds an operator with one output; returns the output's name, which is the node's."""
        self.nodes.append(self._onnx.helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def halves(self, of: str, name: str) -> list[str]:
        """Adds a split of [b, 2 c, ...] into its first and last c channels; returns their names."""
        outputs = [f"{name}/first", f"{name}/second"]
        self.nodes.append(self._onnx.helper.make_node("Split", [of], outputs, name=name, axis=1))
        return outputs

    def constant(self, name: str, value: Any, dtype: type = np.float32) -> str:
        """Adds a constant; returns its name."""
        array = np.ascontiguousarray(value, dtype)
        self.constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name


def onnx_model(model: SimCLRModel) -> Any:
    """The networks as an ONNX model: `inputs` [batch, height, width, 3] -> h, z and logits.

    Args:
        model: the networks, float32. Outputs of parts that are None are left out.

    Returns:
        an onnx.ModelProto of opset 17.

    Raises:
        InputError: onnx is missing, or a layer is of a kind that has no translation.
    """
    graph, helper = OnnxGraph(), optional.require_onnx().helper
    images = graph.node("Transpose", [INPUT], "channels_first", perm=_TO_CHANNELS_FIRST)
    found = _add_part(graph, model.encoder, images)
    widths = {OUTPUTS[0]: model.encoder.output[OUTPUTS[0]].shape[-1]}
    if model.projection_head is not None:
        found |= _add_part(graph, model.projection_head, found[OUTPUTS[0]])
        widths[OUTPUTS[1]] = model.projection_head.output[OUTPUTS[1]].shape[-1]
    if model.supervised_head is not None:
        logits = _add_part(graph, model.supervised_head, model.supervised_features(found))
        found[OUTPUTS[2]] = next(iter(logits.values()))
        widths[OUTPUTS[2]] = model.supervised_head.output.shape[-1]
    for name in widths:
        graph.node("Identity", [found[name]], name)
    float32 = optional.require_onnx().TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info(INPUT, float32, [*DIMENSIONS, 3])]
    outputs = [helper.make_tensor_value_info(name, float32, [DIMENSIONS[0], width]) for name, width in widths.items()]
    return helper.make_model(
        helper.make_graph(graph.nodes, "simclr", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="tf_simclr",
    )


def _add_part(graph: OnnxGraph, part: tf.keras.Model, of: str) -> dict[str, str]:
    """Adds the layers of a functional model that reads tensor `of`; returns endpoint -> name of its tensor."""

    def add(layer: Any, inputs: list[str]) -> str:
        weights = {compat.leaf_name(v): compat.raw_variable(v).numpy() for v in layer.weights}
        return add_layer(Placed(graph, layer, weights, inputs, f"{part.name}/{layer.name}"))

    return walk(part, of, add)
