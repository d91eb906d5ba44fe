"""Networks in the formats of other programs: one table of writers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_simclr import optional
from tf_simclr.files import write_whole
from tf_simclr.interop.formats.kaggle_files import write_kaggle
from tf_simclr.interop.formats.keras_files import (
    require_keras_3,
    write_hugging_face,
    write_keras,
    write_saved_model,
)
from tf_simclr.interop.formats.onnx_file import write_onnx
from tf_simclr.interop.formats.source import Source
from tf_simclr.interop.formats.tflite_parts import write_tflite_parts
from tf_simclr.interop.formats.torch_example import torch_example
from tf_simclr.interop.formats.torch_files import require_torch_names, write_torch
from tf_simclr.interop.new_directory import require_new, whole_directory

EXAMPLE_FILE = "example.py"
_EXAMPLES = Path(__file__).parent / "examples"


@dataclass(frozen=True)
class Format:
    """A way out.

    Attributes:
        write: writes the networks into a directory, and returns notes for a person.
        require: raises InputError where a package is missing.
        fits: raises InputError where the networks have no place in the format.
        example_of: key of the format whose example reads it; empty for its own.
        example: (text of examples/NAME.py, the networks) -> the example for these networks.
    """

    write: Callable[[Source, str], list[str]]
    require: Callable[[], Any] = lambda: None
    fits: Callable[[Source], None] = lambda source: None
    example_of: str = ""
    example: Callable[[str, Source], str] = lambda text, source: text


FORMATS = {
    "saved_model": Format(write_saved_model),
    "keras": Format(write_keras),
    "tflite": Format(write_tflite_parts),  # `write_tflite` makes the file of them, in a process without TensorFlow
    "onnx": Format(write_onnx, optional.require_onnx),
    "torch": Format(write_torch, optional.require_safetensors, require_torch_names, example=torch_example),
    "kaggle": Format(write_kaggle, example_of="saved_model"),
    "huggingface": Format(write_hugging_face, require_keras_3),
}


def require_possible(to: str, directory: str) -> None:
    """Raises InputError where a package is missing, or the directory is not new: before the networks are read."""
    require_new(directory)
    FORMATS[to].require()


def write_format(to: str, source: Source, directory: str) -> list[str]:
    """Writes networks for other programs: the files of the format, simclr.json and example.py.

    Args:
        to: a key of FORMATS.
        source: the networks, and what is asked of the export.
        directory: new or empty. A reader never sees half of it, and after an error nothing is left.

    Returns:
        notes for a person: measured differences, and what the reading program must know. simclr.json has them too.

    Raises:
        InputError: a package is missing, the networks have no place in the format, the directory is not new, or what
            was written computes something else.
    """
    chosen = FORMATS[to]
    require_possible(to, directory)
    chosen.fits(source)
    with whole_directory(directory) as partial:
        notes = chosen.write(source, partial)
        source.card.write(source.model, partial, export={"format": to, "notes": notes})
        example = chosen.example((_EXAMPLES / f"{chosen.example_of or to}.py").read_text(encoding="utf-8"), source)
        side = source.card.image_size
        example = example.replace("224, 224", f"{side}, {side}")
        write_whole(os.path.join(partial, EXAMPLE_FILE), example.encode())
    return notes
