"""TensorFlow's converter to TensorFlow Lite, as a program of its own.

It holds several copies of the weights, which TensorFlow's allocators keep until a process ends. Beside networks that
are loaded they would take more than 2 GB.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tf_simclr.errors import InputError
from tf_simclr.interop.formats.apart import ended_by, run_apart
from tf_simclr.interop.formats.compared import INPUT

SIGNATURE = "serving_default"
# glibc keeps freed blocks below a threshold that it raises as it goes, up to 32 MiB. With a fixed one, the copies of
# large layers go back to the system at once: 0.1 GB less at ResNet-50.
_FREE_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144", "MALLOC_ARENA_MAX": "2"}


def convert_apart(saved_model: str, output: str, numbers: str, calibration: str) -> None:
    """Converts a SavedModel's signature serving_default in another process.

    Args:
        saved_model: directory.
        output: file to write.
        numbers: "float32", "float16" or "int8".
        calibration: a .npy file with images, float32 [n, height, width, 3], which int8 alone reads.

    Raises:
        InputError: the converter failed.
    """
    done = run_apart(__name__, [saved_model, output, numbers, calibration], environment=_FREE_AT_ONCE, hears=True)
    if done.returncode:
        said = ([line.strip() for line in done.stderr.splitlines() if line.strip()] or ["nothing"])[-1]
        raise InputError(
            f"`to` must be a format that this network can be converted to. Received: to=tflite, tflite_type={numbers}; "
            f"TensorFlow's converter ended by {ended_by(done)}, and said last: {said}. Pass another --to, or free "
            "memory if it was killed"
        )


def _convert(saved_model: str, output: str, numbers: str, calibration: str) -> None:
    import tensorflow as tf  # takes 0.7 GB, which the process that waits does without

    converter = tf.lite.TFLiteConverter.from_saved_model(saved_model, signature_keys=[SIGNATURE])
    if numbers != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if numbers == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if numbers == "int8":
        converter.representative_dataset = lambda: _one_by_one(np.load(calibration, mmap_mode="r"))
    Path(output).write_bytes(converter.convert())


def _one_by_one(images: np.ndarray) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    for image in images:
        yield SIGNATURE, {INPUT: np.array(image[None])}


if __name__ == "__main__":
    _convert(*sys.argv[1:])
