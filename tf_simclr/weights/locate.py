"""Which file a path of foreign weights means: a file, the prefix of a checkpoint, or a directory that holds one."""

from __future__ import annotations

import os
import re

from tf_simclr.errors import InputError
from tf_simclr.file_systems import file_system_of

SAVED_MODEL = "saved_model.pb"
SAVED_MODEL_VALUES = os.path.join("variables", "variables")
_HUB_MODULE = "tfhub_module.pb"
_PART = re.compile(r"(.+)\.(index|meta|data-\d+-of-\d+)")
SAFETENSORS = ".safetensors"
PYTORCH = (SAFETENSORS, ".pth", ".pt", ".ckpt", ".bin", ".tar")
_KERAS = (".keras", ".h5", ".hdf5")


def is_single_file(path: str) -> bool:
    """Whether a path is a file of tensors, and not a prefix of TensorFlow's checkpoints or a directory."""
    return file_system_of(path).exists(path)


def require_no_keras(path: str) -> None:
    """Raises InputError for a file of Keras.

    Keras Applications' ResNet50 has offsets in its convolutions, the stride of a group in another convolution, and
    1.001e-5 for 1e-5 in its batch norms.
    """
    if path.endswith(_KERAS):
        raise InputError(
            "`checkpoint` must be a TensorFlow checkpoint, a SavedModel, or a file of PyTorch. Received: "
            f"{path}, a file of Keras. Keras Applications' ResNets are other networks: take torchvision's. Of a "
            "network of this program pass the run or its SavedModel"
        )


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
    disk = file_system_of(path)
    if os.path.basename(path) == SAVED_MODEL and disk.exists(path):
        path = os.path.dirname(path) or "."
    if not disk.is_folder(path):
        part = _PART.fullmatch(path)
        prefix = part[1] if part is not None else path
        if disk.exists(prefix + ".index"):
            return prefix
        return path if disk.exists(path) else None
    names = sorted(name.rstrip("/") for name in disk.names(path))  # object stores add slashes to folders
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
    if "saved_model" in names and disk.exists(os.path.join(path, "saved_model", SAVED_MODEL)):
        return os.path.join(path, "saved_model", SAVED_MODEL_VALUES)
    files = [name for name in names if name.endswith(PYTORCH)]
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
