"""How large a study is: flags that all its cells share, and the ranges of what it varies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TINY, SMALL, PAPER = "tiny", "small", "paper"
# As in the paper except for blur, which images of 32 pixels do not take (Appendix B.9).
_VIEWS = "crop,flip,color_jitter,color_drop"


@dataclass(frozen=True)
class Scale:
    """A size for all studies.

    Attributes:
        flags: that every cell starts from, by flag name.
        supervised: what cells that train with labels set beyond them.
        h_dim: dimension of h with these flags.
        linear_epochs: passes of the linear evaluation over the stored features.
        depths, widths: of Figure 7.
        head_dims: output dimensions of Figure 8.
        temperatures, margins: of Table 4.
        batches, epochs: of Figure 9.
        operators: of Figure 5, by their names there.
        strengths: of colour distortion in Table 1, with their names there.
        images, crops: of Figure 6.
        curve_points: evaluations of h along a pretraining, in head_curves.
        transfer: how networks are evaluated on other data sets in Table 8, by option of `evaluate`; the paper's grids
            where nothing is said.
        finetune_epochs: of Table 7; 0 for the paper's, 60 with 1% of the labels and 30 with 10%.
    """

    flags: Mapping[str, Any]
    supervised: Mapping[str, Any]
    h_dim: int
    linear_epochs: float
    depths: tuple[int, ...]
    widths: tuple[float, ...]
    head_dims: tuple[int, ...]
    temperatures: tuple[float, ...]
    margins: tuple[float, ...]
    batches: tuple[int, ...]
    epochs: tuple[float, ...]
    operators: tuple[str, ...]
    strengths: tuple[tuple[str, float], ...]
    images: int
    crops: int
    curve_points: int
    finetune_epochs: float = 0.0
    transfer: Mapping[str, Any] = field(default_factory=dict)


_ALL_OPERATORS = ("crop", "cutout", "color", "sobel", "noise", "blur", "rotate")
_ALL_STRENGTHS = (("1/8", 0.125), ("1/4", 0.25), ("1/2", 0.5), ("1", 1.0))
_COMMON = {"num_proj_layers": 2, "lineareval_while_pretraining": False, "keep_checkpoint_max": 1}
# Momentum SGD as usual for training with labels; the projection head has no part in it.
_SUPERVISED = {
    "train_mode": "finetune",
    "optimizer": "momentum",
    "learning_rate": 0.1,
    "weight_decay": 1e-4,
    "proj_head_mode": "none",
}

SCALES = {
    # Seconds a cell: shows that everything works, and nothing else.
    TINY: Scale(
        flags=_COMMON
        | {
            "train_split": "train[:120]",
            "eval_split": "test[:60]",
            "image_size": 16,
            "stem": "imagenet",
            "resnet_depth": 10,
            "width_multiplier": 0.0625,
            "proj_out_dim": 16,
            "train_batch_size": 16,
            "eval_batch_size": 60,
            "train_steps": 4,
            "warmup_epochs": 0.0,
            "checkpoint_epochs": 1.0,
            "learning_rate": 1.0,
            "augmentation": _VIEWS,
        },
        supervised=_SUPERVISED,
        h_dim=32,
        linear_epochs=5.0,
        depths=(10,),
        widths=(0.0625, 0.125),
        head_dims=(8, 16),
        temperatures=(0.5,),
        margins=(0.4,),
        batches=(8, 16),
        epochs=(0.5, 1.0),
        operators=("crop", "color", "rotate"),
        strengths=(("1/8", 0.125), ("1", 1.0)),
        images=6,
        crops=4,
        curve_points=2,
        finetune_epochs=2.0,
        transfer={
            **{"grid_learning_rates": "0.01", "grid_weight_decays": "0", "grid_steps": 2},
            **{"logreg_strengths": "1,100", "finetune_batch_size": 16},
        },
    ),
    # One or two minutes a cell on two CPU cores; how its numbers were chosen stands in docs/notes/studies.md. In
    # float32: with so few channels bfloat16 gains nothing.
    SMALL: Scale(
        flags=_COMMON
        | {
            "eval_split": "test",
            "image_size": 32,
            "stem": "imagenet",
            "resnet_depth": 18,
            "width_multiplier": 0.25,
            "proj_out_dim": 128,
            "train_batch_size": 128,
            "eval_batch_size": 500,
            "train_steps": 960,
            "warmup_epochs": 1.0,
            "checkpoint_epochs": 5.0,
            "learning_rate": 4.0,
            "temperature": 0.2,
            "augmentation": _VIEWS,
            "color_jitter_strength": 0.5,
        },
        supervised=_SUPERVISED,
        h_dim=128,
        linear_epochs=90.0,
        depths=(18, 34),
        widths=(0.125, 0.25, 0.5),
        head_dims=(32, 64, 128, 256, 512, 1024, 2048),
        temperatures=(0.1, 0.2, 0.5, 1.0),
        margins=(0.2, 0.4, 0.8, 1.6),
        batches=(64, 128, 256, 512),
        epochs=(3.0, 6.0, 12.0),
        operators=_ALL_OPERATORS,
        strengths=_ALL_STRENGTHS,
        images=64,
        crops=8,
        curve_points=12,
        # A part of the paper's grid, and a fortieth of its steps.
        transfer={"grid_learning_rates": "0.001,0.01,0.1", "grid_weight_decays": "0,0.0001", "grid_steps": 500},
    ),
    # Section 2.3; on 128 TPU cores about 1.5 hours a cell.
    PAPER: Scale(
        flags=_COMMON
        | {
            "image_size": 224,
            "resnet_depth": 50,
            "width_multiplier": 1.0,
            "proj_out_dim": 128,
            "train_batch_size": 4096,
            "eval_batch_size": 1024,
            "train_epochs": 100.0,
            "warmup_epochs": 10.0,
            "learning_rate": 0.3,
            "temperature": 0.1,
            "augmentation": _VIEWS + ",blur",
            "color_jitter_strength": 1.0,
        },
        supervised=_SUPERVISED | {"train_epochs": 90.0},
        h_dim=2048,
        linear_epochs=90.0,
        depths=(18, 34, 50, 101, 152),
        widths=(1.0, 2.0, 4.0),
        head_dims=(32, 64, 128, 256, 512, 1024, 2048),
        temperatures=(0.1, 0.2, 0.5, 1.0),
        margins=(0.2, 0.4, 0.8, 1.6),
        batches=(256, 512, 1024, 2048, 4096, 8192),
        epochs=(100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0, 900.0, 1000.0),
        operators=_ALL_OPERATORS,
        strengths=_ALL_STRENGTHS,
        images=64,
        crops=8,
        curve_points=20,
    ),
}
