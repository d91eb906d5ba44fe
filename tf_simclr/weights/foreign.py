"""Weights of other programs, read as if they were a checkpoint of ours."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.errors import InputError
from tf_simclr.weights import locate
from tf_simclr.weights.inference import infer_network
from tf_simclr.weights.naming import Naming, name_pytorch, name_tensorflow
from tf_simclr.weights.network import Network, Shape
from tf_simclr.weights.tensors import SafetensorsFile, TensorFile, TensorFlowFile, TorchFile

IMAGENET_MEAN, IMAGENET_STD = "0.485,0.456,0.406", "0.229,0.224,0.225"
IMAGE_SIZES = {"imagenet": 224, "cifar": 32}
# Flags that no file records, which a command may therefore set otherwise.
ASSUMED = frozenset({"image_size", "ft_proj_selector", "input_mean", "input_std", "train_mode"})
_SHOWN = 5


@dataclass(frozen=True)
class Foreign:
    """A file of another program whose every tensor has its place in a network of ours.

    Attributes:
        place: of the file.
        naming: which tensor is which variable.
        network: that the variables make.
        file: with the tensors.
    """

    place: str
    naming: Naming
    network: Network
    file: TensorFile

    @property
    def shapes(self) -> dict[str, Shape]:
        """Path -> shape of every variable, under the paths of our checkpoints."""
        return _our_shapes(self.naming, self.file)

    def read(self, path: str) -> np.ndarray:
        """The value of a variable, float32, in our layout."""
        value = np.asarray(self.file.read(self.naming.names[path])).astype(np.float32, copy=False)
        if self.naming.pytorch and value.ndim == 4:  # [outputs, inputs, height, width]
            return value.transpose(2, 3, 1, 0)
        return value.T if self.naming.pytorch and value.ndim == 2 else value

    def flags(self) -> dict[str, Any]:
        """The flags of a run with this network; those of ASSUMED are what is usual for its format."""
        flags = {**self.network.flags(), "image_size": IMAGE_SIZES[self.network.stem]}
        if self.naming.pytorch:
            pads = "symmetric" if self.network.stem == "imagenet" else "same"
            flags |= {"pool_padding": pads, "input_mean": IMAGENET_MEAN, "input_std": IMAGENET_STD}
        return flags

    def with_selector(self, selector: int) -> Foreign:
        """The same with a classifier that reads layer `selector` of the projection head.

        Raises:
            InputError: there is no such layer, or its width is another.
        """
        layers = self.network.head_layers
        if not -1 <= selector <= layers:
            raise InputError(
                f"`ft_proj_selector` must be in -1..{layers}, since the projection head has {layers} layers. Received: "
                f"ft_proj_selector={selector}. Leave it out, or pass a smaller one"
            )
        changed = dataclasses.replace(self, network=dataclasses.replace(self.network, selector=selector))
        require_partners(changed.naming, changed.network, changed.file)
        return changed

    def describe(self, given: Iterable[str] = ()) -> list[str]:
        """What was found, what had to be assumed and what is left out, in lines for a person.

        Args:
            given: names of flags that were not assumed.
        """
        network, flags, given = self.network, self.flags(), set(given)
        lines = [f"{self.place}: {self.naming.format}; {network.describe()}"]
        assumed = [] if "image_size" in given else [f"--image_size={flags['image_size']}"]
        if self.naming.pytorch and not given & {"input_mean", "input_std"}:
            assumed.append(f"--input_mean={flags['input_mean']} --input_std={flags['input_std']}")
        if network.classes and network.head_layers and network.selector == 0 and "ft_proj_selector" not in given:
            assumed.append("--ft_proj_selector=0 (models that were fine-tuned on 1% or 10% of the labels: 1)")
        if assumed:
            lines.append(f"assumed, since the file does not say: {', '.join(assumed)}")
        if self.naming.pytorch and network.stem == "cifar":
            lines.append("assumed, since the file does not say: the 3x3 stem has stride 1 and pads by 1")
        return lines + [f"left out: {words}" for words in self.naming.left_out]


def open_foreign(place: str, *, ema: bool = False) -> Foreign:
    """Opens a file of another program.

    Args:
        place: as `locate.find` returns it.
        ema: whether to take the moving averages of the weights, which some TensorFlow 1 checkpoints have.

    Raises:
        InputError: it cannot be read, is of no format that is known, or holds a tensor without a partner.
    """
    return _opened(place, ema, _stamp(place))


def _stamp(place: str) -> tuple[int, int]:
    """What changes when another file takes the place of one that was read."""
    file = place if locate.is_single_file(place) else f"{place}.index"
    try:
        found = tf.io.gfile.stat(file)
    except tf.errors.OpError:
        return 0, 0
    return found.length, found.mtime_nsec


@functools.lru_cache(maxsize=2)
def _opened(place: str, ema: bool, stamp: tuple[int, int]) -> Foreign:
    del stamp
    if locate.is_single_file(place):
        locate.require_no_keras(place)
        file: TensorFile = SafetensorsFile(place) if place.endswith(locate.SAFETENSORS) else TorchFile(place)
        if ema:
            raise InputError(
                "`ema` must be False for files other than the authors' TensorFlow 1 checkpoints. Received: ema=True, "
                f"checkpoint={place}. Leave it out"
            )
        of_pytorch = name_pytorch(file)
        if isinstance(file, TorchFile):
            of_pytorch.left_out += [f"{name}, which has other values of the same weights" for name in file.beside]
        naming: Naming | None = of_pytorch
    else:
        tensorflow_file = TensorFlowFile(place)
        file, naming = tensorflow_file, name_tensorflow(tensorflow_file, ema)
    if naming is None:
        raise InputError(
            f"`checkpoint` must have been written by this program, the authors', or PyTorch. Received: {place}, whose "
            f"{len(file.shapes)} variables have other names, such as {', '.join(sorted(file.shapes)[:3])}. Take "
            "another file"
        )
    network = infer_network(_our_shapes(naming, file), place)
    _leave_out_head(naming, network, file)
    network = infer_network(_our_shapes(naming, file), place)
    require_partners(naming, network, file)
    return Foreign(place, naming, network, file)


def _our_shapes(naming: Naming, file: TensorFile) -> dict[str, Shape]:
    return {path: _in_our_order(file.shapes[name], naming.pytorch) for path, name in naming.names.items()}


def _in_our_order(shape: Shape, pytorch: bool) -> Shape:
    if not pytorch:
        return shape
    return (*shape[2:], shape[1], shape[0]) if len(shape) == 4 else shape[::-1]


def _in_their_order(shape: Shape, pytorch: bool) -> Shape:
    if not pytorch:
        return shape
    return (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape[::-1]


def _leave_out_head(naming: Naming, network: Network, file: TensorFile) -> None:
    """Takes a projection head out of the naming that is none of ours, and says why."""
    count, shapes = network.head_layers, _our_shapes(naming, file)
    if not naming.pytorch or not count:
        return
    hidden = {shapes.get(f"projection_head/layer{n}_dense/kernel", (0, 0))[-1] for n in range(1, count)}
    if not hidden - {network.features}:
        return
    reason = "its hidden layers are not as wide as h"
    of_head = [path for path in naming.names if path.startswith("projection_head/")]
    naming.left_out.append(f"the projection head ({len(of_head)} tensors): {reason}")
    for path in of_head:
        del naming.names[path]


def require_partners(naming: Naming, network: Network, file: TensorFile) -> None:
    """Raises InputError where a tensor of the file or a variable of the network has no partner, or another shape."""
    wanted, found = network.shapes(), _our_shapes(naming, file)
    problems = [f"{name} has no partner here" for name in naming.unknown]
    problems += [f"{naming.names[path]} has no partner here" for path in found if path not in wanted]
    problems += [f"{path} has no partner there" for path in wanted if path not in found]
    problems += [
        f"{naming.names[path]} is {list(file.shapes[naming.names[path]])} and must be "
        f"{list(_in_their_order(wanted[path], naming.pytorch))}"
        for path, shape in found.items()
        if path in wanted and wanted[path] != shape
    ]
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise InputError(
            f"`checkpoint` must hold a network that can be built here. Received: {file.place}, read as "
            f"{network.describe()}: {'; '.join(problems[:_SHOWN])}{more}. Take a complete file of such a network"
        )
