"""ONNX, checked by onnxruntime."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import tensorflow as tf

from tf_simclr import optional
from tf_simclr.interop.formats.compared import (
    INPUT,
    difference_note,
    largest_differences,
    random_batches,
    require_same,
)
from tf_simclr.interop.formats.onnx_graph import OPSET, onnx_model
from tf_simclr.interop.formats.served import Served
from tf_simclr.interop.formats.source import Source

FILE, DATA_FILE = "model.onnx", "model.onnx.data"
# A file of ONNX is one message of protobuf, which has at most 2 GiB.
MOST_BYTES = 2**31 - 2**24


def write_onnx(source: Source, directory: str) -> list[str]:
    """Writes model.onnx: `inputs` [batch, height, width, 3] -> final_avg_pool, proj_head_output, logits_sup.

    The weights of networks above 2 GiB lie in model.onnx.data beside it.

    Returns:
        how far onnxruntime's outputs are from ours, or that it was not there to compare.

    Raises:
        InputError: a layer has no translation, or the outputs are further than 1e-4 from ours.
    """
    served = Served(source.model)
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, FILE)
        _save(onnx_model(source.model), path)
        note = _checked(served, path, source.card.image_size)
        names = sorted(os.listdir(scratch))
        for name in names:
            tf.io.gfile.copy(os.path.join(scratch, name), os.path.join(directory, name))
    return [f"{' and '.join(names)}: opset {OPSET}; outputs {', '.join(served.names)}", note]


def _save(model: Any, path: str) -> None:
    onnx = optional.require_onnx()
    if sum(len(constant.raw_data) for constant in model.graph.initializer) > MOST_BYTES:
        onnx.save_model(model, path, save_as_external_data=True, location=DATA_FILE)
    else:
        onnx.save_model(model, path)
    onnx.checker.check_model(path)


def _checked(served: Served, path: str, image_size: int) -> str:
    runtime = optional.onnxruntime()
    if runtime is None:
        return "not compared with the networks: onnxruntime is not installed (the extra `onnx`)"
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = list(served.names)
    differences = largest_differences(
        served.answered(random_batches(image_size)),
        lambda images: dict(zip(names, session.run(names, {INPUT: images}), strict=True)),
    )
    require_same(differences, "onnx", "onnxruntime")
    return difference_note(differences, "onnxruntime")
