"""What TensorFlow Lite is made of and checked by. Written once, so that later processes hold no networks."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.interop.formats.calibration import calibration_images
from tf_simclr.interop.formats.compared import Answers, random_batches
from tf_simclr.interop.formats.served import Served
from tf_simclr.interop.formats.source import Source
from tf_simclr.interop.formats.tflite_file import ANSWERED, CALIBRATION, FILE, SAVED_MODEL, SIGNATURE

_COMPARED = 4


def write_tflite_parts(source: Source, directory: str) -> list[str]:
    """Writes a SavedModel of the outputs, batches of images with the outputs, and the images for int8.

    Returns:
        what is to be known of the file that will be made of them.

    Raises:
        InputError: there is nothing to calibrate by.
    """
    card, served = source.card, Served(source.model)
    batches: Iterable[np.ndarray] = random_batches(card.image_size)
    notes = [f"{FILE}: {source.tflite_type}; outputs {', '.join(served.names)}"]
    if source.tflite_type == "int8":
        calibration = calibration_images(source.calibration_dir or "", card.image_size, card.crop_of_evaluation)
        np.save(os.path.join(directory, CALIBRATION), calibration)
        batches = [calibration[:_COMPARED]]  # ranges of numbers hold for such images as they were learned from
        if source.network.sk_ratio:
            notes.append("warning: selective kernels lose much in int8, 0.37 of h in a trial. Take float16")
    tf.saved_model.save(served, os.path.join(directory, SAVED_MODEL), signatures={SIGNATURE: served.function})
    _save(served.answered(batches), os.path.join(directory, ANSWERED))
    return notes


def _save(answered: Iterable[tuple[np.ndarray, Answers]], path: str) -> None:
    arrays: dict[str, Any] = {}
    for number, (batch, answers) in enumerate(answered):
        arrays[f"{number}/"] = batch
        arrays |= {f"{number}/{name}": values for name, values in answers.items()}
    np.savez(path, **arrays)
