"""Writes TensorFlow Lite by programs of their own, one after the other: two at once would take 2.5 GB for a ResNet-50.

This process imports no TensorFlow. One program reads the networks and writes what the next ones need. The other is
TensorFlow's converter.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile

from tf_simclr import errors, optional
from tf_simclr.config import ConvertConfig
from tf_simclr.errors import InputError
from tf_simclr.files import read_json, to_json
from tf_simclr.interop.formats.apart import ended_by, run_apart
from tf_simclr.interop.formats.calibration_files import calibration_files
from tf_simclr.interop.formats.tflite_file import write_tflite

_READER = "tf_simclr.cli.convert_parts"


def convert_out(config: ConvertConfig) -> tuple[tuple[str, ...], int]:
    """As `convert_out.convert_out`, for --to=tflite."""
    assert config.output
    optional.require_litert()
    if config.calibration_dir is not None:
        calibration_files(config.calibration_dir)
    with tempfile.TemporaryDirectory(prefix="tf_simclr_") as scratch:
        parts = os.path.join(scratch, "parts")
        lines, step = _read_apart(dataclasses.replace(config, output=parts), os.path.join(scratch, "answer.json"))
        return (*lines, *write_tflite(parts, config.output, config.tflite_type)), step


def _read_apart(config: ConvertConfig, answer: str) -> tuple[tuple[str, ...], int]:
    """Has another program write the parts of the file into `config.output`; returns what it has to say."""
    done = run_apart(_READER, [to_json(dataclasses.asdict(config)), answer])
    found = read_json(answer)
    if found is None:
        raise InputError(
            f"`checkpoint` must be of networks that can be read here. Received: {config.checkpoint}; the process that "
            f"read them ended by {ended_by(done)}. Free memory if it was killed"
        )
    if "error" in found:
        raise getattr(errors, found["error"], InputError)(found["message"])
    return tuple(found["lines"]), found["step"]
