"""TensorFlow Lite in float32, float16 or int8, checked by its interpreter."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr import optional
from tf_simclr.interop.formats.calibration import calibration_images
from tf_simclr.interop.formats.served import (
    INPUT,
    Run,
    Served,
    difference_note,
    largest_differences,
    random_batches,
    require_same,
)
from tf_simclr.interop.formats.source import Source
from tf_simclr.interop.formats.tflite_converter import SIGNATURE, convert_apart

FILE = "model.tflite"
# Shares of the largest value above which a person is warned.
_WARN_ABOVE = {"float16": 5e-3, "int8": 5e-2}
_COMPARED = 4


def write_tflite(source: Source, directory: str) -> list[str]:
    """Writes model.tflite: `inputs` float32 [batch, height, width, 3] -> the outputs of the signature serving_default.

    Returns:
        how far the interpreter's outputs are from ours.

    Raises:
        InputError: a float32 network computes something else; there is nothing to calibrate by; the converter failed.
    """
    card, served = source.card, Served(source.model)
    calibration = np.zeros([0])
    if source.tflite_type == "int8":
        calibration = calibration_images(source.calibration_dir or "", card.image_size, card.crop_of_evaluation)
    with tempfile.TemporaryDirectory() as scratch:
        path = _converted(served, source.tflite_type, calibration, scratch)
        notes = _checked(source, served, path, calibration)
        tf.io.gfile.copy(path, os.path.join(directory, FILE))
    return [f"{FILE}: {source.tflite_type}; outputs {', '.join(served.names)}", *notes]


def _converted(served: Served, numbers: str, calibration: np.ndarray, scratch: str) -> str:
    """Writes the file into a directory; returns its path."""
    saved_model, path, images = (os.path.join(scratch, name) for name in ("saved_model", FILE, "images.npy"))
    tf.saved_model.save(served, saved_model, signatures={SIGNATURE: served.function})
    np.save(images, calibration)
    convert_apart(saved_model, path, numbers, images)
    return path


def _checked(source: Source, served: Served, path: str, calibration: np.ndarray) -> list[str]:
    """How far the interpreter's outputs are from ours, and whether that is much."""
    # Ranges of numbers hold for such images as they were learned from.
    batches = [calibration[:_COMPARED]] if len(calibration) else random_batches(source.card.image_size)
    differences = largest_differences(served, _runner(path), batches)
    if source.tflite_type == "float32":
        require_same(differences, "tflite", "the interpreter")
    images = f" on {len(calibration[:_COMPARED])} images of --calibration_dir" if len(calibration) else ""
    notes = [difference_note(differences, f"the interpreter{images}")]
    if max(differences.values()) > _WARN_ABOVE.get(source.tflite_type, np.inf):
        notes.append(f"warning: {source.tflite_type} changes the outputs much. Evaluate before use, or take float16")
    if source.tflite_type == "int8" and source.network.sk_ratio:
        notes.append("warning: selective kernels lose much in int8, 0.37 of h in a trial. Take float16")
    return notes


def _runner(path: str) -> Run:
    interpreter = optional.require_litert().Interpreter(model_path=path)
    runner: Any = interpreter.get_signature_runner(SIGNATURE)
    return lambda images: runner(**{INPUT: images})
