"""TensorFlow Lite in float32, float16 or int8, checked by its interpreter."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr import optional
from tf_simclr.errors import InputError
from tf_simclr.files import write_whole
from tf_simclr.interop.formats.calibration import calibration_images
from tf_simclr.interop.formats.served import (
    INPUT,
    SIGNATURE,
    Run,
    Served,
    difference_note,
    largest_differences,
    random_batches,
    require_same,
)
from tf_simclr.interop.formats.source import Source

FILE = "model.tflite"
# Shares of the largest value above which a person is warned.
_WARN_ABOVE = {"float16": 5e-3, "int8": 5e-2}
_COMPARED = 4


def write_tflite(source: Source, directory: str) -> list[str]:
    """Writes model.tflite: `inputs` float32 [batch, height, width, 3] -> the outputs of the signature serving_default.

    Returns:
        how far the interpreter's outputs are from ours.

    Raises:
        InputError: a float32 network computes something else; there is nothing to calibrate by.
    """
    card, served = source.card, Served(source.model)
    calibration = np.zeros([0])
    if source.tflite_type == "int8":
        calibration = calibration_images(source.calibration_dir or "", card.image_size, card.crop_of_evaluation)
    content = _converted(served, source.tflite_type, calibration)
    notes = [f"{FILE}: {source.tflite_type}; outputs {', '.join(served.names)}"]
    # Ranges of numbers hold for such images as they were learned from.
    batches = [calibration[:_COMPARED]] if len(calibration) else random_batches(card.image_size)
    differences = largest_differences(served, _runner(content), batches)
    if source.tflite_type == "float32":
        require_same(differences, "tflite", "the interpreter")
    images = f" on {len(calibration[:_COMPARED])} images of --calibration_dir" if len(calibration) else ""
    notes.append(difference_note(differences, f"the interpreter{images}"))
    if max(differences.values()) > _WARN_ABOVE.get(source.tflite_type, np.inf):
        notes.append(f"warning: {source.tflite_type} changes the outputs much. Evaluate before use, or take float16")
    if source.tflite_type == "int8" and source.network.sk_ratio:
        notes.append("warning: selective kernels lose much in int8, 0.37 of h in a trial. Take float16")
    write_whole(os.path.join(directory, FILE), content)
    return notes


def _converted(served: Served, numbers: str, calibration: np.ndarray) -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        tf.saved_model.save(served, scratch, signatures={SIGNATURE: served.function})
        converter = tf.lite.TFLiteConverter.from_saved_model(scratch, signature_keys=[SIGNATURE])
        if numbers != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if numbers == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if numbers == "int8":
            converter.representative_dataset = lambda: _one_by_one(calibration)
        return converter.convert()


def _one_by_one(images: np.ndarray) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    for image in images:
        yield SIGNATURE, {INPUT: image[None]}


def _runner(content: bytes) -> Run:
    interpreter = _interpreter()(model_content=content)
    runner: Any = interpreter.get_signature_runner(SIGNATURE)
    return lambda images: runner(**{INPUT: images})


def _interpreter() -> Any:
    """The interpreter of ai-edge-litert, or TensorFlow's own, which later versions will not have."""
    litert = optional.litert_interpreter()
    if litert is not None:
        return litert.Interpreter
    if not hasattr(tf.lite, "Interpreter"):
        raise InputError(
            "TensorFlow Lite files are checked by the package ai-edge-litert. Received: a TensorFlow without an "
            "interpreter. Install it: pip install ai-edge-litert, or the extra `litert` of this package"
        )
    return tf.lite.Interpreter


def require_interpreter() -> None:
    """Raises InputError where there is none."""
    _interpreter()
