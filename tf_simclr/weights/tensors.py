"""Files of named tensors: what they hold is listed at once, and read one by one. No graph or pickled code is run."""

from __future__ import annotations

import glob
import os
import pickle  # nosec B403
import re
import tempfile
import warnings
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from tf_simclr import optional
from tf_simclr.config.paths import is_remote
from tf_simclr.errors import InputError
from tf_simclr.weights.network import Shape
from tf_simclr.weights.tables import pytorch

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_ATTRIBUTE = "VARIABLE_VALUE"
# Children of an object that Keras and TensorFlow add: other names of what its attributes hold.
_OTHER_NAMES = frozenset(
    {
        *("variables", "trainable_variables", "non_trainable_variables", "trainable_variables_list"),
        *("keras_api", "regularization_losses", "losses", "signatures"),
    }
)
# What PyTorch says of bytes that are no pickled objects at all.
_NO_PICKLE = "Unsupported operand"
# What PyTorch says of a class or function that a file wants to have called.
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
_SHOWN = 8
_OTHER_STARTS = ("layer-", "layer_with_weights-")


class TensorFile(Protocol):
    """A file of named tensors.

    Attributes:
        place: of the file, for messages.
        shapes: of its tensors, by the file's own names.
    """

    place: str
    shapes: Mapping[str, Shape]

    def read(self, name: str) -> np.ndarray:
        """A tensor, as it is stored."""


class TensorFlowFile:
    """The values of a TensorFlow checkpoint or SavedModel, by the keys they are stored under."""

    def __init__(self, place: str):
        self.place = place
        self._link, prefix = _as_a_name(place)
        self._reader = tf.train.load_checkpoint(prefix)
        self.shapes: Mapping[str, Shape] = {
            key: tuple(shape) for key, shape in self._reader.get_variable_to_shape_map().items()
        }

    def read(self, name: str) -> np.ndarray:
        """A tensor, as it is stored."""
        try:
            return self._reader.get_tensor(name)
        except (tf.errors.OpError, IndexError, RuntimeError) as error:  # the last two: Python's for two C++ statuses
            raise unreadable(self.place, error) from error

    def attribute_paths(self, root: str) -> dict[str, str]:
        """Path of attributes below the attribute `root` of the saved object -> key of the variable there.

        The keys of a SavedModel are no paths: they say which list a variable was found in first. The stored graph of
        objects has the attributes' names in either case. Of several paths the shortest counts.
        """
        graph = trackable_object_graph_pb2.TrackableObjectGraph()
        graph.ParseFromString(self._reader.get_tensor(OBJECT_GRAPH))
        found: dict[str, str] = {}
        start = next((child.node_id for child in graph.nodes[0].children if child.local_name == root), None)
        if start is None:
            return found
        waiting, seen = deque([("", start)]), {start}
        while waiting:
            path, number = waiting.popleft()
            node = graph.nodes[number]
            for attribute in node.attributes:
                if attribute.name == _ATTRIBUTE:
                    found[path] = attribute.checkpoint_key
            for child in node.children:
                name = child.local_name
                if child.node_id in seen or name in _OTHER_NAMES or name.startswith(_OTHER_STARTS):
                    continue
                seen.add(child.node_id)
                waiting.append((f"{path}/{name}" if path else name, child.node_id))
        return found


class SafetensorsFile:
    """A .safetensors file."""

    def __init__(self, place: str):
        safetensors = optional.require_safetensors()
        self.place = place
        self._copy, local = _local(place)
        try:
            self._file = safetensors.safe_open(local, framework="numpy")
            self.shapes: Mapping[str, Shape] = {
                name: tuple(self._file.get_slice(name).get_shape())
                for name in self._file.keys()  # noqa: SIM118
            }
        except (safetensors.SafetensorError, OSError, ValueError) as error:
            raise unreadable(place, error) from error

    def read(self, name: str) -> np.ndarray:
        """A tensor, as it is stored."""
        try:
            return np.asarray(self._file.get_tensor(name))
        except (TypeError, AttributeError) as error:  # NumPy has no such type
            raise InputError(
                f"`checkpoint` must hold numbers that NumPy knows. Received: {self.place}, where {name} is of another "
                f"type ({' '.join(str(error).split())}). Store it as float32"
            ) from error


class TorchFile:
    """A file of torch.save that holds tensors, numbers and texts alone: a state dict, or a trainer's checkpoint.

    Attributes:
        beside: entries with other values of the same tensors, which are not read.
    """

    def __init__(self, place: str):
        torch = optional.require_torch()
        self.place = place
        self._copy, local = _local(place)
        try:
            values = _torch_values(torch, local)
        except pickle.UnpicklingError as error:
            if _NO_PICKLE in str(error):
                raise unreadable(place, ValueError("torch.save did not write it")) from error
            kind = _GLOBAL.search(str(error))
            shown = f" ({kind[1]})" if kind is not None else ""
            raise InputError(
                f"`checkpoint` must hold tensors alone. Received: {place}, with pickled objects of other kinds{shown}, "
                "of which none was loaded and nothing was run. Save the state dict alone: "
                "torch.save(model.state_dict(), path)"
            ) from error
        except (RuntimeError, EOFError, OSError, ValueError, KeyError, UnicodeDecodeError, AttributeError) as error:
            raise unreadable(place, error) from error
        self._tensors = _state_in(values, torch.Tensor)
        if not self._tensors:
            raise InputError(
                f"`checkpoint` must hold the tensors of a model by name. Received: {place}, without any"
                f"{_entries(values)}. Save the state dict: torch.save(model.state_dict(), path)"
            )
        self.shapes: Mapping[str, Shape] = {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}
        # Such as a moving average under "state_dict_ema".
        self.beside = tuple(str(name) for name, value in values.items() if self._has_names_of(value))

    def _has_names_of(self, value: Any) -> bool:
        """Whether an entry has other values of the tensors that are read."""
        one, tensor = next(iter(self._tensors.items()))
        return isinstance(value, dict) and value.keys() >= self._tensors.keys() and value[one] is not tensor

    def read(self, name: str) -> np.ndarray:
        """A tensor; what NumPy has no type for, as bfloat16, in float32."""
        tensor = self._tensors[name].detach().cpu()
        return (tensor if not tensor.is_floating_point() else tensor.float()).contiguous().numpy()


def _torch_values(torch: Any, path: str) -> Any:
    """What a file of torch.save holds, without running anything in it, mapped into memory where the format allows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it refuses it says that it is unusual
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            return torch.load(path, map_location="cpu", weights_only=True)


def _state_in(values: Any, tensor: type) -> dict[str, Any]:
    """The tensors of a model by name: the dictionary itself, or the first of the places where trainers keep them."""
    if not isinstance(values, dict):
        return {}
    state = {name: value for name, value in values.items() if isinstance(name, str) and isinstance(value, tensor)}
    if state:
        return state
    inner = (_state_in(values.get(name), tensor) for name in pytorch.STATES)
    return next((found for found in inner if found), {})


def _entries(values: Any) -> str:
    """What a file holds where no model was found, in words."""
    names = [name for name in values if isinstance(name, str)] if isinstance(values, dict) else []
    return f" where one is looked for; it has {', '.join(names[:_SHOWN])}" if names else ""


def unreadable(place: str, error: Exception) -> InputError:
    """The error of a file that is damaged or of no known kind."""
    # Of several sentences the first says what; the others of some programs ask for reports.
    reason = " ".join(str(error).split()).split(". ")[0].rstrip(".")[:200] or type(error).__name__
    return InputError(
        f"`checkpoint` must be a whole file of weights. Received: {place}, which cannot be read: {reason}. Copy it "
        "again, or take another one"
    )


def _local(place: str) -> tuple[Any, str]:
    """The file on a local disk: (what keeps a copy there while it is needed, its path)."""
    if not is_remote(place):
        return None, place
    scratch = tempfile.TemporaryDirectory(prefix="tf_simclr_")
    path = os.path.join(scratch.name, os.path.basename(place))
    tf.io.gfile.copy(place, path)
    return scratch, path


def _as_a_name(prefix: str) -> tuple[Any, str]:
    """A prefix that TensorFlow does not take for a pattern: (what keeps a link while it is needed, the prefix)."""
    if not glob.has_magic(prefix) or is_remote(prefix):
        return None, prefix
    directory, name = os.path.split(os.path.abspath(prefix))
    scratch = tempfile.TemporaryDirectory(prefix="tf_simclr_")
    link = os.path.join(scratch.name, "directory")
    os.symlink(directory, link, target_is_directory=True)
    return scratch, os.path.join(link, name)
