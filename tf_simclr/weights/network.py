"""What a network is made of, as names and shapes: nothing is built."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tf_simclr.nn.blocks import SK_MIN_WIDTH
from tf_simclr.nn.resnet import BASIC_DEPTHS, BLOCKS_PER_GROUP, NUM_GROUPS, STEM_WIDTH, scaled_width

Shape = tuple[int, ...]
NORM_LEAVES = ("gamma", "beta", "moving_mean", "moving_variance")


@dataclass(frozen=True)
class Unit:
    """A layer with variables.

    Attributes:
        path: of the layer, as "encoder/stem_conv".
        shapes: of its variables, by leaf name.
    """

    path: str
    shapes: dict[str, Shape]

    @property
    def is_norm(self) -> bool:
        """Whether it is a batch norm."""
        return "moving_mean" in self.shapes


@dataclass(frozen=True)
class Network:
    """Encoder and heads as the flags of a run describe them.

    Attributes:
        depth: of the ResNet.
        width: multiplier of all filter counts.
        sk_ratio: > 0 with selective kernels.
        se_ratio: > 0 with squeeze-and-excitation.
        stem: "imagenet" or "cifar".
        identity_shortcut: whether group 1 begins without a projection.
        head_layers: dense layers of the projection head; 0 without one.
        head_dim: width of z.
        head_offset: whether the last batch norm of the projection head has an offset.
        classes: of the supervised head; 0 without one.
        selector: what the supervised head reads, as --ft_proj_selector.
    """

    depth: int = 50
    width: float = 1.0
    sk_ratio: float = 0.0
    se_ratio: float = 0.0
    stem: str = "imagenet"
    identity_shortcut: bool = False
    head_layers: int = 0
    head_dim: int = 128
    head_offset: bool = False
    classes: int = 0
    selector: int = 0

    @property
    def features(self) -> int:
        """The width of h."""
        filters = scaled_width(STEM_WIDTH * 2 ** (NUM_GROUPS - 1), self.width)
        return filters if self.depth in BASIC_DEPTHS else 4 * filters

    def units(self) -> Iterator[Unit]:
        """Every layer with variables, in the order in which the authors' code makes them."""
        yield from _stem(self)
        channels = scaled_width(STEM_WIDTH, self.width)
        for group in range(1, NUM_GROUPS + 1):
            for block in range(BLOCKS_PER_GROUP[self.depth][group - 1]):
                for unit in _block(self, group, block, channels):
                    yield Unit(f"encoder/block_group{group}_block{block}_{unit.path}", unit.shapes)
                filters = scaled_width(STEM_WIDTH * 2 ** (group - 1), self.width)
                channels = filters if self.depth in BASIC_DEPTHS else 4 * filters
        yield from _heads(self)

    def shapes(self) -> dict[str, Shape]:
        """Path -> shape of every variable, as `SimCLRModel.named_variables` has them."""
        return {f"{unit.path}/{leaf}": shape for unit in self.units() for leaf, shape in unit.shapes.items()}

    def flags(self) -> dict[str, Any]:
        """The network as flags of a run."""
        mode = "none" if not self.head_layers else "linear" if self.head_layers == 1 else "nonlinear"
        return {
            "resnet_depth": self.depth,
            "width_multiplier": self.width,
            "sk_ratio": self.sk_ratio,
            "se_ratio": self.se_ratio,
            "stem": self.stem,
            "identity_shortcut": self.identity_shortcut,
            "proj_head_offset": self.head_offset,
            "proj_head_mode": mode,
            **({"num_proj_layers": self.head_layers, "proj_out_dim": self.head_dim} if self.head_layers else {}),
            "lineareval_while_pretraining": self.classes > 0,
            "train_mode": "finetune" if self.selector else "pretrain",
            "ft_proj_selector": self.selector,
        }

    def describe(self) -> str:
        """The network in a few words."""
        ratios = (("SK", self.sk_ratio), ("SE", self.se_ratio))
        added = [f"{name} {ratio:g}" for name, ratio in ratios if ratio]
        head = f"a projection head of {self.head_layers} layers" if self.head_layers else "no projection head"
        classes = f"{self.classes} classes" if self.classes else "no classifier"
        words = [f"ResNet-{self.depth} x{self.width:g}", *added, f"{self.stem} stem", head, classes]
        return ", ".join(words)


def _conv(path: str, size: int, inputs: int, outputs: int, bias: bool = False) -> Unit:
    return Unit(path, {"kernel": (size, size, inputs, outputs), **({"bias": (outputs,)} if bias else {})})


def _norm(path: str, channels: int, offset: bool = True) -> Unit:
    return Unit(path, {leaf: (channels,) for leaf in NORM_LEAVES if offset or leaf != "beta"})


def _stem(network: Network) -> Iterator[Unit]:
    width = scaled_width(STEM_WIDTH, network.width)
    size, inputs = (3 if network.stem == "cifar" else 7), 3
    if network.stem == "imagenet" and network.sk_ratio > 0:
        half = max(1, width // 2)
        for number in (1, 2):
            yield _conv(f"encoder/stem_conv{number}", 3, inputs, half)
            yield _norm(f"encoder/stem_norm{number}", half)
            inputs = half
        size = 3
    yield _conv("encoder/stem_conv", size, inputs, width)
    yield _norm("encoder/stem_norm", width)


def _block(network: Network, group: int, block: int, inputs: int) -> Iterator[Unit]:
    """The layers of a block that reads `inputs` channels; their paths without the block's own part."""
    basic = network.depth in BASIC_DEPTHS
    filters = scaled_width(STEM_WIDTH * 2 ** (group - 1), network.width)
    outputs = filters if basic else 4 * filters
    if block == 0 and not (network.identity_shortcut and group == 1):
        yield _conv("shortcut_conv", 1, inputs, outputs)
        yield _norm("shortcut_norm", outputs)
    if basic:
        yield _conv("conv1", 3, inputs, filters)
        yield _norm("norm1", filters)
        yield _conv("conv2", 3, filters, filters)
        yield _norm("norm2", filters)
    else:
        yield _conv("conv1", 1, inputs, filters)
        yield _norm("norm1", filters)
        yield from _middle(filters, network.sk_ratio)
        yield _conv("conv3", 1, filters, outputs)
        yield _norm("norm3", outputs)
    if network.se_ratio > 0:
        squeezed = max(1, int(filters * network.se_ratio))
        yield _conv("se_reduce", 1, outputs, squeezed, bias=True)
        yield _conv("se_expand", 1, squeezed, outputs, bias=True)


def _middle(filters: int, sk_ratio: float) -> Iterator[Unit]:
    """The 3x3 convolution of a bottleneck, or the selective kernels in its place."""
    branches = 2 * filters if sk_ratio > 0 else filters
    yield _conv("conv2", 3, filters, branches)
    yield _norm("norm2", branches)
    if sk_ratio > 0:
        width = max(int(filters * sk_ratio), SK_MIN_WIDTH)
        yield _conv("sk_conv1", 1, filters, width)
        yield _norm("sk_norm1", width)
        yield _conv("sk_conv2", 1, width, branches)


def _heads(network: Network) -> Iterator[Unit]:
    count, width = network.head_layers, network.features
    for number in range(1, count + 1):
        outputs = network.head_dim if number == count else width
        yield Unit(f"projection_head/layer{number}_dense", {"kernel": (width, outputs)})
        yield _norm(f"projection_head/layer{number}_norm", outputs, offset=number < count or network.head_offset)
    if network.classes:
        reads_z = count > 0 and network.selector in (-1, count)
        inputs = network.head_dim if reads_z else width
        yield Unit("supervised_head/dense", {"kernel": (inputs, network.classes), "bias": (network.classes,)})
