"""ONNX, by tf2onnx, checked by onnxruntime."""

from __future__ import annotations

import os
from typing import Any

from tf_simclr import optional
from tf_simclr.files import write_whole
from tf_simclr.interop.formats.served import (
    INPUT,
    Served,
    difference_note,
    largest_differences,
    random_batches,
    require_same,
)
from tf_simclr.interop.formats.source import Source
from tf_simclr.interop.saved_model import IMAGES

FILE = "model.onnx"
OPSET = 17
_DIMENSIONS = ("batch", "height", "width")


def write_onnx(source: Source, directory: str) -> list[str]:
    """Writes model.onnx: `inputs` [batch, height, width, 3] -> final_avg_pool, proj_head_output, logits_sup.

    Returns:
        how far onnxruntime's outputs are from ours, or that it was not there to compare.

    Raises:
        InputError: they are further than 1e-4.
    """
    served = Served(source.model)
    content = _converted(served).SerializeToString()
    note = _checked(served, content, source.card.image_size)
    write_whole(os.path.join(directory, FILE), content)
    return [f"{FILE}: opset {OPSET}; outputs {', '.join(served.names)}", note]


def _converted(served: Served) -> Any:
    tf2onnx = optional.require_tf2onnx()
    graph, _ = tf2onnx.convert.from_function(served.function, input_signature=[IMAGES], opset=OPSET)
    # tf2onnx calls outputs Identity, in the order in which TensorFlow flattens a dictionary.
    for output, name in zip(graph.graph.output, sorted(served.names), strict=True):
        _rename(graph.graph, output.name, name)
    images = graph.graph.input[0]
    _rename(graph.graph, images.name, INPUT)
    for value in (images, *graph.graph.output):
        for dimension, name in zip(value.type.tensor_type.shape.dim, _DIMENSIONS, strict=False):
            if not dimension.dim_value:
                dimension.dim_param = name
    return graph


def _rename(graph: Any, old: str, new: str) -> None:
    """Gives a tensor another name everywhere in a graph."""
    for value in (*graph.input, *graph.output):
        if value.name == old:
            value.name = new
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new


def _checked(served: Served, content: bytes, image_size: int) -> str:
    runtime = optional.onnxruntime()
    if runtime is None:
        return "not compared with the networks: onnxruntime is not installed (the extra `onnx`)"
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = list(served.names)
    differences = largest_differences(
        served,
        lambda images: dict(zip(names, session.run(names, {INPUT: images}), strict=True)),
        random_batches(image_size),
    )
    require_same(differences, "onnx", "onnxruntime")
    return difference_note(differences, "onnxruntime")
