"""Our variables as a state dict of PyTorch: the table of the way in, read backwards."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tf_simclr.weights.tables import pytorch

CLASSIFIER = "supervised_head/dense"


def torch_state(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Names and lays out variables as torchvision's ResNet does, and those of a projection head as lightly does.

    A classifier is `fc`. `num_batches_tracked`, which only counts steps of training, is left out.

    Args:
        values: path of ours, as "encoder/stem_conv/kernel" -> value. Selective kernels and squeeze-and-excitation
            have no names in torchvision.

    Returns:
        name -> value, [outputs, inputs, height, width] or [outputs, inputs]; every bit stays as it is.

    Raises:
        KeyError: a path that torchvision and lightly have no name for.
    """
    layers: dict[str, str] = {}
    for theirs, ours in {**pytorch.encoder_layers(), **pytorch.PROJECTION_HEAD}.items():
        layers.setdefault(ours, theirs)  # the first of several names is torchvision's
    leaves = {ours: theirs for table in (pytorch.LEAVES, pytorch.LEAVES_OF_NORM) for theirs, ours in table.items()}
    state = {}
    for path, value in values.items():
        layer, _, leaf = path.rpartition("/")
        state[f"{layers[layer]}.{leaves[leaf]}"] = _in_their_order(value)
    return state


def _in_their_order(value: np.ndarray) -> np.ndarray:
    if value.ndim == 4:  # [height, width, inputs, outputs]
        value = value.transpose(3, 2, 0, 1)
    return np.ascontiguousarray(value.T if value.ndim == 2 else value)
