"""The networks and the loss."""

from __future__ import annotations

from dataclasses import dataclass

from tf_simclr.config.data import CIFAR_STEM_MAX_SIZE
from tf_simclr.config.option import check_options, option
from tf_simclr.errors import InputError

RESNET_DEPTHS = (10, 18, 34, 50, 101, 152, 200)
CONTRASTIVE_LOSSES = ("nt_xent", "nt_logistic", "margin_triplet")


@dataclass(frozen=True)
class ModelConfig:
    """Encoder and heads."""

    resnet_depth: int = option(50, "Depth of the ResNet: 10, 18, 34, 50, 101, 152 or 200.", choices=RESNET_DEPTHS)
    width_multiplier: float = option(
        1.0, "Multiplies every layer's width; fractions too: 0.25 costs about a sixteenth.", above=0, at_most=64
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
    proj_head_mode: str = option("nonlinear", "Projection head g.", ("none", "linear", "nonlinear"))
    proj_out_dim: int = option(128, "Dimension of the projections z.", at_least=1, at_most=10**6)
    num_proj_layers: int = option(
        3, "Layers of the nonlinear projection head (2 in the paper, 3 in the authors' code).", at_least=1, at_most=100
    )
    global_bn: bool = option(True, "Batch-norm moments over all replicas instead of each replica's own.")
    batch_norm_decay: float = option(0.9, "Momentum of the batch norm's moving statistics.", at_least=0, at_most=1)
    zero_init_logits_layer: bool = option(False, "Start the supervised head from zeros.")

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)

    def stem_for(self, image_size: int) -> str:
        """The stem itself: `auto` is resolved by the image size."""
        if self.stem != "auto":
            return self.stem
        return "cifar" if image_size <= CIFAR_STEM_MAX_SIZE else "imagenet"


@dataclass(frozen=True)
class LossConfig:
    """The contrastive loss (SimCLR, Equation 1 and Table 2)."""

    loss: str = option(
        "nt_xent",
        "Contrastive loss: nt_xent, or one of those the paper compares it with: nt_logistic, margin_triplet.",
        CONTRASTIVE_LOSSES,
    )
    temperature: float = option(
        0.1, "Temperature tau of NT-Xent and NT-Logistic. With margin_triplet, only of train/contrast_entropy.", above=0
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

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
        if self.semi_hard and self.loss == "nt_xent":
            raise InputError(
                "`semi_hard` chooses one negative an anchor, and nt_xent weighs all of them by itself. Received: "
                "semi_hard=True, loss=nt_xent. Pass --loss=nt_logistic or --loss=margin_triplet, or leave it out"
            )
        if self.semi_hard and self.margin == 0:
            raise InputError(
                "`semi_hard` needs a margin above 0, since no negative is within a margin of 0. Received: "
                "semi_hard=True, margin=0. Pass a larger --margin"
            )
