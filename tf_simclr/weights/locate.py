"""Which file a path of foreign weights means: a file, the prefix of a checkpoint, or a directory that holds one."""

from __future__ import annotations

import os
import re

import tensorflow as tf

from tf_simclr.errors import InputError
from tf_simclr.weights.tables import pytorch
from tf_simclr.weights.tensors import names_below

SAVED_MODEL = "saved_model.pb"
SAVED_MODEL_VALUES = os.path.join("variables", "variables")
_HUB_MODULE = "tfhub_module.pb"
_PART = re.compile(r"(.+)\.(index|data-\d+-of-\d+)")
SAFETENSORS = ".safetensors"


def is_single_file(path: str) -> bool:
    """Whether a path is a file of tensors, and not a prefix of TensorFlow's checkpoints or a directory."""
    return tf.io.gfile.exists(path) and not tf.io.gfile.isdir(path)


def find(path: str) -> str | None:
    """The file or prefix behind a path.

    Args:
        path: a file of tensors; a prefix, an .index or a .data file of a TensorFlow checkpoint; a SavedModel; or a
            directory with one of these.

    Returns:
        None where there is none.

    Raises:
        InputError: a folder of TensorFlow Hub's first format, or one with several files to choose from.
    """
    if not tf.io.gfile.isdir(path):
        part = _PART.fullmatch(path)
        prefix = part[1] if part is not None else path
        if tf.io.gfile.exists(prefix + ".index"):
            return prefix
        return path if tf.io.gfile.exists(path) else None
    names = list(names_below(path))
    if _HUB_MODULE in names:
        raise InputError(
            "`checkpoint` must hold variables under the names of the authors' code, and a module of TensorFlow Hub's "
            f"first format has others. Received: {path}. Take the model.ckpt files that were released beside it"
        )
    if SAVED_MODEL in names:
        return os.path.join(path, SAVED_MODEL_VALUES)
    prefixes = [name.removesuffix(".index") for name in names if name.endswith(".index")]
    if prefixes:
        return os.path.join(path, max(prefixes, key=_step))
    if "saved_model" in names and tf.io.gfile.exists(os.path.join(path, "saved_model", SAVED_MODEL)):
        return os.path.join(path, "saved_model", SAVED_MODEL_VALUES)
    files = [name for name in names if name.endswith(pytorch.SUFFIXES)]
    if len(files) > 1:
        raise InputError(
            f"`checkpoint` must name one file. Received: {path}, which holds {', '.join(files[:5])}. Add the name"
        )
    return os.path.join(path, files[0]) if files else None


def _step(prefix: str) -> int:
    """The number at the end of a checkpoint's name; -1 without one."""
    found = re.search(r"(\d+)$", prefix)
    return int(found[1]) if found is not None else -1


def step_of(place: str) -> int:
    """The training step that the name of a checkpoint says; 0 where it says none."""
    return max(0, _step(os.path.basename(place)))
