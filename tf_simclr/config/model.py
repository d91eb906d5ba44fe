"""The networks and the loss."""

from __future__ import annotations

from dataclasses import dataclass

from tf_simclr.config.data import CIFAR_STEM_MAX_SIZE
from tf_simclr.config.option import check_options, option
from tf_simclr.errors import InputError, require_range

RESNET_DEPTHS = (10, 18, 34, 50, 101, 152, 200)
BASIC_DEPTHS = (10, 18, 34)
POOL_PADDINGS = ("same", "symmetric")
CHANNELS = 3
CONTRASTIVE_LOSSES = ("nt_xent", "nt_logistic", "margin_triplet", "dcl", "supcon", "debiased")
# Those that choose one negative an anchor with --semi_hard.
MINING_LOSSES = ("nt_logistic", "margin_triplet")
# A float32 counts the entries of a queue, exactly as far as 2**24.
MOST_REMEMBERED = 10**7


@dataclass(frozen=True)
class ModelConfig:
    """Encoder and heads."""

    resnet_depth: int = option(50, "Depth of the ResNet: 10, 18, 34, 50, 101, 152 or 200.", choices=RESNET_DEPTHS)
    width_multiplier: float = option(
        1.0,
        "Multiplies the width of every layer. Fractions work too: 0.25 costs about a sixteenth.",
        above=0,
        at_most=64,
    )
    sk_ratio: float = option(
        0.0, "Selective-kernel ratio; > 0 also turns on ResNet-D (SimCLR v2: 0.0625).", at_least=0, at_most=1
    )
    se_ratio: float = option(0.0, "Squeeze-and-excitation ratio; > 0 turns it on.", at_least=0, at_most=1)
    stem: str = option(
        "auto",
        "First layers: imagenet (7x7 stride 2, max pool), cifar (3x3 stride 1, no pool), or auto: cifar up "
        f"to {CIFAR_STEM_MAX_SIZE} pixels.",
        ("auto", "imagenet", "cifar"),
    )
    pool_padding: str = option(
        "same",
        "Padding of the max pool of the imagenet stem: same (TensorFlow's: on even sizes none before and 1 after), or "
        "symmetric (PyTorch's: 1 on both sides).",
        POOL_PADDINGS,
    )
    identity_shortcut: bool = option(
        False,
        "Depths 10, 18 and 34: the first block of group 1 adds its input unchanged, as in torchvision, and not "
        "through a convolution.",
    )
    input_mean: str = option(
        "",
        "Mean of each channel that the encoder subtracts from images in [0, 1], as 0.485,0.456,0.406. Zero "
        "padding then pads by the mean. Empty: images enter unchanged.",
    )
    input_std: str = option(
        "",
        "Standard deviation of each channel that the encoder divides by after --input_mean, as 0.229,0.224,0.225. "
        "Empty: 1.",
    )
    proj_head_mode: str = option("nonlinear", "Projection head g.", ("none", "linear", "nonlinear"))
    proj_out_dim: int = option(128, "Dimension of the projections z.", at_least=1, at_most=10**6)
    num_proj_layers: int = option(
        3, "Layers of the nonlinear projection head (2 in the paper, 3 in the authors' code).", at_least=1, at_most=100
    )
    proj_head_offset: bool = option(
        False, "Whether the last batch norm of the projection head has an offset, as in lightly."
    )
    global_bn: bool = option(True, "Batch-norm moments over all replicas instead of each replica's own.")
    batch_norm_decay: float = option(0.9, "Momentum of the batch norm's moving statistics.", at_least=0, at_most=1)
    zero_init_logits_layer: bool = option(False, "Start the supervised head from zeros.")

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
        if self.identity_shortcut and self.resnet_depth not in BASIC_DEPTHS:
            raise InputError(
                "`identity_shortcut` must be False for bottlenecks, whose first block changes the width. Received: "
                f"identity_shortcut=True, resnet_depth={self.resnet_depth}. Leave it out"
            )
        for std in self.input_normalization[1]:
            require_range("input_std", std, above=0)

    @property
    def input_normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of the three channels; two empty tuples where images enter as they are."""
        mean, std = _channels("input_mean", self.input_mean), _channels("input_std", self.input_std)
        if not mean and not std:
            return (), ()
        return mean or (0.0,) * CHANNELS, std or (1.0,) * CHANNELS

    def stem_for(self, image_size: int) -> str:
        """The stem itself: `auto` is resolved by the image size."""
        if self.stem != "auto":
            return self.stem
        return "cifar" if image_size <= CIFAR_STEM_MAX_SIZE else "imagenet"


def _channels(name: str, text: str) -> tuple[float, ...]:
    """The numbers of the three channels; none of an empty text.

    Raises:
        InputError: it holds no three finite numbers.
    """
    if not text:
        return ()
    try:
        numbers = tuple(float(word) for word in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != CHANNELS:
        raise InputError(
            f"`{name}` must be {CHANNELS} numbers separated by commas, as 0.485,0.456,0.406. Received: {name}={text!r}"
        )
    for number in numbers:
        require_range(name, number)
    return numbers


@dataclass(frozen=True)
class LossConfig:
    """The contrastive loss (SimCLR, Equation 1 and Table 2)."""

    loss: str = option(
        "nt_xent",
        "Contrastive loss: nt_xent; nt_logistic and margin_triplet, which the paper compares it with; dcl (decoupled: "
        "no positive in the denominator); debiased (corrects for false negatives, see --class_prior); or supcon "
        "(supervised: all images of a class are positives, which needs labels).",
        CONTRASTIVE_LOSSES,
    )
    temperature: float = option(
        0.1, "Temperature tau of the loss. With margin_triplet, only of train/contrast_entropy.", above=0
    )
    hidden_norm: bool = option(True, "Cosine similarity: l2-normalise the projections.")
    margin: float = option(
        0.4,
        "Margin between similarities (cosines, with --hidden_norm): of margin_triplet, and of the negatives that "
        "--semi_hard may choose.",
        at_least=0,
    )
    semi_hard: bool = option(
        False,
        "nt_logistic and margin_triplet: learn only from the negative nearest to the anchor among those farther than "
        "the positive, and within --margin of it.",
    )
    class_prior: float = option(
        0.1,
        "debiased: share of images that have the anchor's own class and so are not true negatives; 1 / classes if "
        "all are equally frequent. 0 is nt_xent.",
        at_least=0,
        at_most=0.99,
    )
    memory_size: int = option(
        0,
        "nt_xent: negatives from earlier batches, beside those of the batch: a queue of the newest projections by a "
        "slowly moving copy of the networks, as in SimCLR v2 and MoCo. A multiple of the 2 x --train_batch_size that a "
        "step adds; 0 = none. A step then takes one more forward pass.",
        at_least=0,
        at_most=MOST_REMEMBERED,
    )
    memory_decay: float = option(
        0.999,
        "--memory_size: the copy of the networks is a moving average of them with this decay. With 0.999 it lags about "
        "a thousand steps behind: choose a lower one for a short run.",
        at_least=0,
    )

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
        if self.semi_hard and self.loss not in MINING_LOSSES:
            raise InputError(
                f"`semi_hard` chooses one negative an anchor, and {self.loss} weighs all of them by itself. Received: "
                f"semi_hard=True, loss={self.loss}. Pass --loss=nt_logistic or --loss=margin_triplet, or leave it out"
            )
        if self.loss == "debiased" and not self.hidden_norm:
            raise InputError(
                "`hidden_norm` must be True for --loss=debiased, whose bound exp(-1 / temperature) holds for cosines. "
                "Received: hidden_norm=False, loss=debiased. Leave it out"
            )
        if self.semi_hard and self.margin == 0:
            raise InputError(
                "`semi_hard` needs a margin above 0, since no negative is within a margin of 0. Received: "
                "semi_hard=True, margin=0. Pass a larger --margin"
            )
        if self.memory_size and self.loss != "nt_xent":
            raise InputError(
                "`memory_size` adds negatives to nt_xent alone. Received: "
                f"memory_size={self.memory_size}, loss={self.loss}. Pass --loss=nt_xent, or leave it out"
            )
        if self.memory_decay >= 1:
            raise InputError(
                "`memory_decay` must be in [0, 1): with 1 the copy of the networks would stay as it began. Received: "
                f"memory_decay={self.memory_decay:g}. Pass --memory_decay=0.999"
            )

    def require_use_of_memory(self, train_mode: str, batch: int) -> None:
        """Raises InputError where no contrastive loss is trained, or the queue is not a number of whole batches."""
        if not self.memory_size:
            return
        if train_mode != "pretrain":
            raise InputError(
                "`memory_size` must be 0 when fine-tuning or distilling, which have no negatives. Received: "
                f"memory_size={self.memory_size}, train_mode={train_mode}. Leave it out"
            )
        pushed = 2 * batch
        if self.memory_size % pushed:
            wrong = "is a queue smaller than the batch" if self.memory_size < pushed else "splits a batch"
            whole = max(1, round(self.memory_size / pushed)) * pushed
            raise InputError(
                f"`memory_size` must be a multiple of the {pushed} projections of a batch, two an image. Received: "
                f"memory_size={self.memory_size}, train_batch_size={batch}, which {wrong}. Pass --memory_size={whole}, "
                "or 0 for none"
            )
