"""Which of a file's tensors is which of our variables, by the tables of the formats."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from tf_simclr.errors import InputError
from tf_simclr.nn.resnet import BASIC_DEPTHS, BLOCKS_PER_GROUP, STEMS
from tf_simclr.weights.network import Network, Shape, Unit
from tf_simclr.weights.tables import authors_tf1, authors_tf2, pytorch
from tf_simclr.weights.tensors import OBJECT_GRAPH, TensorFile, TensorFlowFile


@dataclass
class Naming:
    """What a format's table says of a file.

    Attributes:
        format: in words.
        names: path of ours -> name in the file.
        unknown: names in the file that the table does not have.
        left_out: what of the file has no place here, in words for a person.
        pytorch: whether the tensors are laid out, and the network pads, as in PyTorch.
    """

    format: str
    names: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    pytorch: bool = False

    def add(self, path: str | None, name: str) -> None:
        """Takes a name for a path; it is unknown where there is no path, or one that has another name."""
        if path is None or path in self.names:
            self.unknown.append(name)
        else:
            self.names[path] = name


def name_tensorflow(file: TensorFlowFile, ema: bool) -> Naming | None:
    """The naming of a checkpoint or SavedModel of the authors' code; None where it is of neither of theirs."""
    if any(name.startswith((authors_tf1.ENCODER, authors_tf1.EMA)) for name in file.shapes):
        return _authors_tf1(file, ema)
    if OBJECT_GRAPH not in file.shapes:
        return None
    paths = file.attribute_paths(authors_tf2.MODEL)
    if not any(path.startswith("resnet_model/") for path in paths):
        return None
    if ema:
        raise _without_ema(file)
    return _authors_tf2(file, paths)


def _without_ema(file: TensorFile) -> InputError:
    return InputError(
        "`ema` must be False for a file without moving averages of the weights. Received: ema=True, "
        f"checkpoint={file.place}. Leave it out"
    )


def _layer_and_leaf(name: str, separator: str) -> tuple[str, str]:
    layer, _, leaf = name.rpartition(separator)
    return layer, leaf


def _authors_tf2(file: TensorFlowFile, paths: Mapping[str, str]) -> Naming:
    naming = Naming("the authors' TensorFlow 2 code")
    table = authors_tf2.layers(resnet_d=authors_tf2.RESNET_D in paths)
    for path, key in sorted(paths.items()):
        layer, leaf = _layer_and_leaf(path, "/")
        if layer in table:
            naming.add(f"{table[layer]}/{leaf}", key)
        else:
            naming.unknown.append(path)
    known = set(paths.values())
    naming.unknown += [
        key
        for key in sorted(file.shapes)
        if key not in known and not key.startswith(authors_tf2.LEFT_OUT) and authors_tf2.SLOT not in key
    ]
    return naming


def _authors_tf1(file: TensorFlowFile, ema: bool) -> Naming:
    naming = Naming("the authors' TensorFlow 1 code" + (", moving averages of the weights" if ema else ""))
    table = authors_tf1
    averages = {name.removeprefix(table.EMA): name for name in file.shapes if name.startswith(table.EMA)}
    averages = {name: stored for name, stored in averages.items() if not _is_left_out_tf1(name)}
    if ema and not averages:
        raise _without_ema(file)
    stored = {name: name for name in file.shapes if not name.startswith(table.EMA) and not _is_left_out_tf1(name)}
    stored |= averages if ema else {}
    layers = {**counted_layers({name: file.shapes[at] for name, at in stored.items()}), **table.HEADS}
    for name in sorted(stored):
        layer, leaf = _layer_and_leaf(name, "/")
        naming.add(f"{layers[layer]}/{leaf}" if layer in layers else None, stored[name])
    return naming


def _is_left_out_tf1(name: str) -> bool:
    table = authors_tf1
    return (
        name.startswith(table.LEFT_OUT)
        or name.endswith(table.LEFT_OUT_ENDS)
        or any(word in name for word in table.LEFT_OUT_WORDS)
    )


def counted_layers(shapes: Mapping[str, Shape]) -> dict[str, str]:
    """Their name of every convolution and batch norm of the encoder -> ours.

    The counters say nothing of the network, so that every network that the authors' code builds is compared by the
    names and kernel sizes it would have. The nearest is taken; what is then missing or left over is named later.

    Args:
        shapes: of the variables, by name.
    """
    encoder = {name: shape for name, shape in shapes.items() if name.startswith(authors_tf1.ENCODER)}
    best = min((_numbered(network) for network in _buildable()), key=lambda units: _distance(units, encoder))
    return {theirs: unit.path for theirs, unit in best.items()}


def _buildable() -> Iterable[Network]:
    """The kinds of networks that the authors' code can build, as far as names and kernel sizes go."""
    for depth, sk, se, stem in itertools.product(BLOCKS_PER_GROUP, (0.0, 0.0625), (0.0, 0.25), STEMS):
        if not (sk and depth in BASIC_DEPTHS):
            yield Network(depth=depth, sk_ratio=sk, se_ratio=se, stem=stem)


def _numbered(network: Network) -> dict[str, Unit]:
    """The layers of a network's encoder by the names that the two counters give them."""
    units = [unit for unit in network.units() if unit.path.startswith("encoder/")]
    kinds = ((authors_tf1.CONVOLUTION, False), (authors_tf1.NORM, True))
    return {
        authors_tf1.counted(scope, number): unit
        for scope, norms in kinds
        for number, unit in enumerate(unit for unit in units if unit.is_norm == norms)
    }


def _distance(units: Mapping[str, Unit], shapes: Mapping[str, Shape]) -> int:
    """How many variables have no partner, or a kernel of another size."""
    wanted = {f"{name}/{leaf}": shape for name, unit in units.items() for leaf, shape in unit.shapes.items()}
    sizes = sum(shapes[name][:2] != shape[:2] for name, shape in wanted.items() if len(shape) == 4 and name in shapes)
    return sizes + len(wanted.keys() ^ shapes.keys())


def name_pytorch(file: TensorFile) -> Naming:
    """The naming of a state dict.

    Raises:
        InputError: it is of no ResNet, or of one whose stem pads in another way.
    """
    naming = Naming("PyTorch", pytorch=True)
    plain = _names_of_model(file, naming)
    start, renamed = _encoder_in(plain, file)
    table = pytorch.encoder_layers()
    outer = {**pytorch.PROJECTION_HEAD, **{name: "supervised_head/dense" for name in pytorch.CLASSIFIERS}}
    others: list[str] = []
    for name, stored in sorted(plain.items()):
        inside = renamed(name.removeprefix(start)) if name.startswith(start) else None
        path = _torch_path(inside, table) or _torch_path(name, outer)
        if path is None and (name.startswith(pytorch.HEADS) or (inside or "").startswith(pytorch.HEADS_OF_ENCODER)):
            others.append(stored)
        else:
            naming.add(path, stored)
    _leave_out_heads(naming, others)
    _require_known_stem(naming, plain, file)
    return naming


def _names_of_model(file: TensorFile, naming: Naming) -> dict[str, str]:
    """The names of the network's tensors without what all of them begin with -> the names in the file."""
    plain = {name: name for name in file.shapes}
    while True:  # what is left out may have hidden a beginning that the others share
        shorter = _without_common_start({n: stored for n, stored in plain.items() if not _is_left_out_torch(n)})
        averages = [name for name in shorter if pytorch.MOMENTUM.match(name)]
        if averages and len(averages) < len(shorter):
            first = shorter[averages[0]]
            naming.left_out.append(f"{first} and what else is of the momentum encoder ({len(averages)} tensors)")
            shorter = {name: stored for name, stored in shorter.items() if name not in averages}
        if shorter.keys() == plain.keys():
            return plain
        plain = shorter


def _leave_out_heads(naming: Naming, others: list[str]) -> None:
    """Says that heads of other layers than ours are left out; of a projection head the layers like ours as well."""
    like_ours = [path for path in naming.names if path.startswith("projection_head/")]
    if any(path.endswith("_dense/bias") for path in like_ours) or any("projection_head." in name for name in others):
        others += [naming.names.pop(path) for path in like_ours]
    if others:
        naming.left_out.append(
            f"{min(others)} and what else is of heads that cannot be built here ({len(others)} tensors): ours have "
            "dense layers without offsets, each with a batch norm"
        )


def _torch_path(name: str | None, layers: Mapping[str, str]) -> str | None:
    """The path of ours behind a name, by a table of layers; None where the table does not have it."""
    if name is None:
        return None
    layer, leaf = _layer_and_leaf(name, ".")
    ours = layers.get(layer)
    if ours is None:
        return None
    is_norm = "norm" in ours.rpartition("/")[2]
    leaves = pytorch.LEAVES_OF_NORM if is_norm else pytorch.LEAVES
    return f"{ours}/{leaves[leaf]}" if leaf in leaves else None


def _is_left_out_torch(name: str) -> bool:
    return name.endswith(pytorch.LEFT_OUT_ENDS) or name.startswith(pytorch.LEFT_OUT_STARTS)


def _without_common_start(names: dict[str, str]) -> dict[str, str]:
    """The names without the first words that all of them share, as "module." """
    while names:
        firsts = {name.partition(".")[0] for name in names}
        if len(firsts) != 1 or not all("." in name for name in names):
            break
        names = {name.partition(".")[2]: stored for name, stored in names.items()}
    return names


def _encoder_in(names: Mapping[str, str], file: TensorFile) -> tuple[str, Callable[[str], str | None]]:
    """What the names of the encoder begin with, and what makes torchvision's names of the rest of them."""
    for anchor, first, children in (
        ("layer1.0.conv1.weight", "conv1.weight", None),
        # Before the other: lightly's has a layer 4 as well.
        ("2.0.conv1.weight", "0.weight", pytorch.SEQUENTIAL_OF_LIGHTLY),
        ("4.0.conv1.weight", "0.weight", pytorch.SEQUENTIAL),
        (pytorch.HUGGING_FACE_FIRST, f"{pytorch.HUGGING_FACE_STEM}.convolution.weight", None),
    ):
        starts = [name.removesuffix(anchor) for name in names if name.endswith(anchor)]
        starts = [start for start in starts if (not start or start.endswith(".")) and start + first in names]
        if starts:
            return min(starts, key=len), _renaming(children)
    shown = ", ".join(list(names)[:3]) or "none"
    kind = "a transformer" if any("cls_token" in name or ".attn" in name for name in names) else "no ResNet"
    raise InputError(
        "`checkpoint` must hold a ResNet under the names of torchvision, lightly, solo-learn or Hugging Face. "
        f"Received: {file.place}, which is {kind}: {len(file.shapes)} tensors, such as {shown}. Take the weights of a "
        "ResNet"
    )


def _renaming(children: Mapping[str, str] | None) -> Callable[[str], str | None]:
    def rename(name: str) -> str | None:
        if children is None:
            return name
        first, _, rest = name.partition(".")
        return f"{children[first]}.{rest}" if first in children else None

    return rename


def _require_known_stem(naming: Naming, plain: Mapping[str, str], file: TensorFile) -> None:
    """Raises InputError for solo-learn's CIFAR stem, whose shape is that of the stem that pads by 1."""
    kernel = file.shapes.get(naming.names.get("encoder/stem_conv/kernel", ""), ())
    if kernel[2:] == (3, 3) and any(name.startswith(pytorch.OF_SOLO_LEARN) for name in plain):
        raise InputError(
            "`checkpoint` must have a 3x3 stem that pads by 1, and solo-learn's pads by 2, which makes larger maps. "
            f"Received: {file.place}, with solo-learn's names and a 3x3 stem. Save the encoder's tensors alone if its "
            "stem pads by 1"
        )
