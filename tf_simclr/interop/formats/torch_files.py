"""State dicts of PyTorch, as .safetensors: no PyTorch is needed to write them."""

from __future__ import annotations

import os

import numpy as np

from tf_simclr import compat, optional
from tf_simclr.errors import InputError
from tf_simclr.files import write_whole
from tf_simclr.interop.formats.source import Source
from tf_simclr.nn.resnet import BASIC_DEPTHS
from tf_simclr.weights.torch_state import CLASSIFIER, torch_state

ENCODER_FILE, HEAD_FILE = "model.safetensors", "projection_head.safetensors"
POOL_NOTE = (
    "max pool: the network pads as TensorFlow does, on even maps after the last row and column alone. torchvision pads "
    "both sides. On maps of even height and width set model.maxpool = torch.nn.MaxPool2d(3, 2, 0, ceil_mode=True). "
    "Without it h of random weights differs by 0.004 to 0.1"
)
SHORTCUT_NOTE = (
    "shortcut: the first block of group 1 has a 1x1 convolution, and torchvision's ResNet-18 and 34 have none there. "
    "Set model.layer1[0].downsample to a 1x1 convolution and a batch norm before loading"
)
CIFAR_NOTE = (
    "stem: 3x3 without a pool. Set model.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False) and model.maxpool = "
    "torch.nn.Identity() before loading"
)
WIDTH_NOTE = "width: torchvision builds width 1 alone. For another, set `.data` of every tensor to that of the file"
NORMALIZE_NOTE = (
    "images: the network subtracts input_mean and divides by input_std of simclr.json itself. torchvision's does not: "
    "do it before"
)


def require_torch_names(source: Source) -> None:
    """Raises InputError where torchvision has no layers for the network."""
    if not source.has_torch_names:
        raise InputError(
            "`to` must not be torch for a network with selective kernels or squeeze-and-excitation, which "
            f"torchvision's ResNet does not have. Received: to=torch, sk_ratio={source.network.sk_ratio:g}, "
            f"se_ratio={source.network.se_ratio:g}. Pass --to=onnx, keras or saved_model"
        )


def write_torch(source: Source, directory: str) -> list[str]:
    """Writes what torchvision's ResNet loads, and beside it the projection head; returns notes for its reader."""
    state, head = states(source)
    write_safetensors(os.path.join(directory, ENCODER_FILE), state)
    notes = [*torch_notes(source), "example.py does all of this"]
    if head:
        write_safetensors(os.path.join(directory, HEAD_FILE), head)
        notes.append(f"{HEAD_FILE} has the projection head under lightly's names")
    return notes


def states(source: Source) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(what belongs to torchvision's ResNet, the projection head), each name -> value.

    A classifier that reads h is the `fc` of the first. One that reads the projection head has no place in either.
    """
    values = {path: compat.raw_variable(v).numpy() for path, v in source.model.named_variables().items()}
    reads_h = source.model.supervised_input == 0
    kept = {path: v for path, v in values.items() if reads_h or not path.startswith(CLASSIFIER)}
    head = {path: v for path, v in kept.items() if path.startswith("projection_head/")}
    return torch_state({path: v for path, v in kept.items() if path not in head}), torch_state(head)


def write_safetensors(path: str, state: dict[str, np.ndarray]) -> None:
    """Writes tensors into a .safetensors file, local or remote."""
    safetensors_numpy = optional.require_safetensors("safetensors.numpy")
    write_whole(path, safetensors_numpy.save(state, metadata={"format": "pt"}))


def torch_notes(source: Source) -> list[str]:
    """What torchvision's network must be given before it computes what ours does."""
    network = source.network
    notes = [NORMALIZE_NOTE] if network.input_normalization[0] else []
    if network.stem_for(source.card.image_size) == "cifar":
        notes.append(CIFAR_NOTE)
    elif network.pool_padding == "same":
        notes.append(POOL_NOTE)
    if network.resnet_depth in BASIC_DEPTHS and not network.identity_shortcut:
        notes.append(SHORTCUT_NOTE)
    if network.width_multiplier != 1:
        notes.append(WIDTH_NOTE)
    if source.model.supervised_head is not None and source.model.supervised_input != 0:
        notes.append("classifier: left out, since it reads the projection head, and torchvision's reads h")
    return notes
