"""The networks and the loss."""

from __future__ import annotations

from dataclasses import dataclass

from tf_simclr.config.data import CIFAR_STEM_MAX_SIZE
from tf_simclr.config.option import option
from tf_simclr.errors import require_choice, require_range

RESNET_DEPTHS = (18, 34, 50, 101, 152, 200)


@dataclass(frozen=True)
class ModelConfig:
    """Encoder and heads."""

    resnet_depth: int = option(50, "Depth of the ResNet: 18, 34, 50, 101, 152 or 200.")
    width_multiplier: float = option(
        1.0, "Multiplies every layer's width; fractions too: 0.25 costs about a sixteenth."
    )
    sk_ratio: float = option(0.0, "Selective-kernel ratio; > 0 also turns on ResNet-D (SimCLR v2: 0.0625).")
    se_ratio: float = option(0.0, "Squeeze-and-excitation ratio; > 0 turns it on.")
    stem: str = option(
        "auto",
        "First layers: imagenet (7x7 stride 2, max pool), cifar (3x3 stride 1, no pool), or auto: cifar up "
        f"to {CIFAR_STEM_MAX_SIZE} pixels.",
        ("auto", "imagenet", "cifar"),
    )
    proj_head_mode: str = option("nonlinear", "Projection head g.", ("none", "linear", "nonlinear"))
    proj_out_dim: int = option(128, "Dimension of the projections z.")
    num_proj_layers: int = option(
        3, "Layers of the nonlinear projection head (2 in the paper, 3 in the authors' code)."
    )
    global_bn: bool = option(True, "Batch-norm moments over all replicas instead of each replica's own.")
    batch_norm_decay: float = option(0.9, "Momentum of the batch norm's moving statistics.")
    zero_init_logits_layer: bool = option(False, "Start the supervised head from zeros.")

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        require_choice("resnet_depth", self.resnet_depth, RESNET_DEPTHS)
        require_range("width_multiplier", self.width_multiplier, above=0)
        require_range("sk_ratio", self.sk_ratio, at_least=0, at_most=1)
        require_range("se_ratio", self.se_ratio, at_least=0, at_most=1)
        require_choice("stem", self.stem, ("auto", "imagenet", "cifar"))
        require_choice("proj_head_mode", self.proj_head_mode, ("none", "linear", "nonlinear"))
        require_range("proj_out_dim", self.proj_out_dim, at_least=1)
        require_range("num_proj_layers", self.num_proj_layers, at_least=1)
        require_range("batch_norm_decay", self.batch_norm_decay, at_least=0, at_most=1)

    def stem_for(self, image_size: int) -> str:
        """The stem itself: `auto` is resolved by the picture size."""
        if self.stem != "auto":
            return self.stem
        return "cifar" if image_size <= CIFAR_STEM_MAX_SIZE else "imagenet"


@dataclass(frozen=True)
class LossConfig:
    """The contrastive loss (SimCLR, Equation 1)."""

    temperature: float = option(0.1, "Temperature tau of NT-Xent.")
    hidden_norm: bool = option(True, "Cosine similarity: l2-normalise the projections.")

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        require_range("temperature", self.temperature, above=0)
