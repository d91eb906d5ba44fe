"""The network behind variables, from their names and shapes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction

from tf_simclr.errors import InputError
from tf_simclr.nn.blocks import SK_MIN_WIDTH
from tf_simclr.nn.resnet import BASIC_DEPTHS, BLOCKS_PER_GROUP, NUM_GROUPS, STEM_WIDTH
from tf_simclr.weights.network import Network, Shape

_BLOCK = re.compile(r"encoder/block_group(\d)_block(\d+)_(\w+)/kernel")
_USUAL_RATIOS = (Fraction(1, 16), Fraction(1, 4))
Interval = tuple[Fraction, Fraction, bool]


def infer_network(shapes: Mapping[str, Shape], place: str) -> Network:
    """The network that variables belong to.

    Args:
        shapes: path -> shape, under the paths of our checkpoints.
        place: of the file, for messages.

    Raises:
        InputError: they are of no ResNet that can be built here.
    """
    blocks: dict[int, set[int]] = {}
    roles: set[str] = set()
    for path in shapes:
        found = _BLOCK.fullmatch(path)
        if found is not None:
            blocks.setdefault(int(found[1]), set()).add(int(found[2]))
            roles.add(found[3])
    filters = _filters(shapes, blocks, place)
    basic = "conv3" not in roles
    head_layers, head_dim = _projection_head(shapes)
    kernel = shapes.get("supervised_head/dense/kernel", (0, 0))
    return Network(
        depth=_depth(blocks, basic, place),
        width=_width(filters, place),
        sk_ratio=_ratio(shapes, filters, "sk_conv1", SK_MIN_WIDTH, place) if "sk_conv1" in roles else 0.0,
        se_ratio=_ratio(shapes, filters, "se_reduce", 1, place) if "se_reduce" in roles else 0.0,
        stem=_stem(shapes),
        identity_shortcut=basic and "encoder/block_group1_block0_shortcut_conv/kernel" not in shapes,
        head_layers=head_layers,
        head_dim=head_dim,
        head_offset=f"projection_head/layer{head_layers}_norm/beta" in shapes,
        classes=kernel[1],
        # A classifier on z has an input of another width; one on a hidden layer looks as one on h.
        selector=-1 if head_layers and kernel[0] == head_dim != filters[NUM_GROUPS] * (1 if basic else 4) else 0,
    )


def _filters(shapes: Mapping[str, Shape], blocks: Mapping[int, set[int]], place: str) -> dict[int, int]:
    """The inner width of each group."""
    found = {
        group: shapes[path][-1]
        for group in blocks
        if len(shapes.get(path := f"encoder/block_group{group}_block0_conv1/kernel", ())) == 4
    }
    if sorted(found) != list(range(1, NUM_GROUPS + 1)):
        lacking = next(group for group in range(1, NUM_GROUPS + 1) if group not in found)
        raise InputError(
            f"`checkpoint` must hold a whole ResNet. Received: {place}, without a partner for "
            f"encoder/block_group{lacking}_block0_conv1/kernel. Take a complete file"
        )
    return found


def _depth(blocks: Mapping[int, set[int]], basic: bool, place: str) -> int:
    counts = tuple(max(blocks[group]) + 1 for group in sorted(blocks))
    depths = [depth for depth, per_group in BLOCKS_PER_GROUP.items() if per_group == counts]
    fitting = [depth for depth in depths if (depth in BASIC_DEPTHS) == basic]
    if not fitting:
        kind = "basic blocks" if basic else "bottlenecks"
        raise InputError(
            f"`checkpoint` must hold a ResNet of depth {', '.join(map(str, BLOCKS_PER_GROUP))}. Received: {place}, "
            f"whose groups have {', '.join(map(str, counts))} {kind}. Take the weights of one of these"
        )
    return fitting[0]


def _width(filters: Mapping[int, int], place: str) -> float:
    """The multiplier that gives every group its filters: the plainest number that does."""
    half = Fraction(1, 2)
    intervals = [
        (Fraction(n - half, STEM_WIDTH * 2 ** (group - 1)), Fraction(n + half, STEM_WIDTH * 2 ** (group - 1)), True)
        for group, n in filters.items()
    ]
    widest = Fraction(filters[NUM_GROUPS], STEM_WIDTH * 2 ** (NUM_GROUPS - 1))
    return _plainest(intervals, (widest,), f"groups of {_listed(filters.values())} filters", place)


def _ratio(shapes: Mapping[str, Shape], filters: Mapping[int, int], role: str, least: int, place: str) -> float:
    """The ratio behind max(least, int(filters x ratio)) of every group."""
    intervals, found = [], []
    for group, n in filters.items():
        size = shapes.get(f"encoder/block_group{group}_block0_{role}/kernel", (0,))[-1]
        lower = Fraction(0) if size <= least else Fraction(size, n)
        intervals.append((lower, Fraction(size + 1, n), False))
        found.append(size)
    return _plainest(intervals, _USUAL_RATIOS, f"{role} of {_listed(found)} filters", place)


def _plainest(intervals: list[Interval], usual: Iterable[Fraction], what: str, place: str) -> float:
    """A number above 0 inside all intervals: a usual one, else the one of fewest decimals.

    An interval's third part says whether its ends belong to it; otherwise the lower one does.
    """
    lower, upper = max(low for low, _, _ in intervals), min(high for _, high, _ in intervals)
    closed = all(ends for _, _, ends in intervals)

    def inside(value: Fraction) -> bool:
        return value > 0 and lower <= value and (value < upper or (closed and value == upper))

    middle = (lower + upper) / 2
    rounded = [Fraction(round(middle * 10**digits), 10**digits) for digits in range(8)]
    for value in (*usual, *rounded, middle):
        if inside(value):
            return float(value)
    raise InputError(
        f"`checkpoint` must hold a ResNet whose widths grow together. Received: {place}, with {what}, which no "
        "multiplier gives. Take the weights of a plain ResNet"
    )


def _stem(shapes: Mapping[str, Shape]) -> str:
    kernel = shapes.get("encoder/stem_conv/kernel", (7,))
    return "cifar" if kernel[0] == 3 and "encoder/stem_conv1/kernel" not in shapes else "imagenet"


def _projection_head(shapes: Mapping[str, Shape]) -> tuple[int, int]:
    """Layers and width of z."""
    numbers = [int(found[1]) for path in shapes if (found := re.match(r"projection_head/layer(\d+)_dense/", path))]
    if not numbers:
        return 0, Network.head_dim
    count = max(numbers)
    return count, shapes.get(f"projection_head/layer{count}_dense/kernel", (0, Network.head_dim))[-1]


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in numbers)
