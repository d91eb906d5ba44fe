"""TensorFlow Lite in float32, float16 or int8, checked by its interpreter. This needs no TensorFlow in this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tf_simclr import optional
from tf_simclr.config import CARD_FILE
from tf_simclr.files import read_json, to_json, write_whole
from tf_simclr.interop.formats.compared import (
    INPUT,
    Answers,
    Run,
    difference_note,
    largest_differences,
    require_same,
)
from tf_simclr.interop.formats.tflite_converter import SIGNATURE, convert_apart
from tf_simclr.interop.new_directory import whole_directory

FILE = "model.tflite"
# What tflite_parts.py writes.
SAVED_MODEL, ANSWERED, CALIBRATION = "saved_model", "answered.npz", "calibration.npy"
# Shares of the largest value above which a person is warned.
_WARN_ABOVE = {"float16": 5e-3, "int8": 5e-2}


def write_tflite(parts: str, directory: str, numbers: str) -> list[str]:
    """Writes model.tflite: `inputs` float32 [batch, height, width, 3] -> the outputs of the signature serving_default.

    Args:
        parts: directory of `write_tflite_parts`, with the other files of an export.
        directory: new or empty. A reader never sees half of it, and after an error nothing is left.
        numbers: "float32", "float16" or "int8".

    Returns:
        how far the interpreter's outputs are from ours.

    Raises:
        InputError: a float32 network computes something else; the converter failed.
    """
    path = os.path.join(parts, FILE)
    convert_apart(os.path.join(parts, SAVED_MODEL), path, numbers, os.path.join(parts, CALIBRATION))
    notes = _checked(path, os.path.join(parts, ANSWERED), numbers)
    card = read_json(os.path.join(parts, CARD_FILE)) or {}
    card["export"]["notes"] += notes
    with whole_directory(directory) as partial:
        for name in sorted(name for name in os.listdir(parts) if name.endswith((".py", ".tflite"))):
            write_whole(os.path.join(partial, name), Path(parts, name).read_bytes())
        write_whole(os.path.join(partial, CARD_FILE), (to_json(card, indent=2, sort_keys=False) + "\n").encode())
    return notes


def _checked(path: str, answered: str, numbers: str) -> list[str]:
    """How far the interpreter's outputs are from ours, and whether that is much."""
    differences = largest_differences(_read(answered), _runner(path))
    if numbers == "float32":
        require_same(differences, "tflite", "the interpreter")
    images = " on images of --calibration_dir" if numbers == "int8" else ""
    notes = [difference_note(differences, f"the interpreter{images}")]
    if max(differences.values()) > _WARN_ABOVE.get(numbers, np.inf):
        notes.append(f"warning: {numbers} changes the outputs much. Evaluate before use, or take float16")
    return notes


def _read(answered: str) -> Iterator[tuple[np.ndarray, Answers]]:
    with np.load(answered) as arrays:
        for number in sorted({name.partition("/")[0] for name in arrays.files}):
            of_batch = {name.partition("/")[2]: arrays[name] for name in arrays.files if name.startswith(f"{number}/")}
            yield of_batch.pop(""), of_batch


def _runner(path: str) -> Run:
    interpreter = optional.require_litert().Interpreter(model_path=path)
    runner: Any = interpreter.get_signature_runner(SIGNATURE)
    return lambda images: runner(**{INPUT: images})
