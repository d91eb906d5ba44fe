"""Settings for a folder of one's own images, chosen by how many there are, where the command line has no training flag.

The paper's defaults are for a million images and many accelerators. A folder of hundreds or thousands needs a small
network, a small batch, so that there are steps to learn in, and many epochs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tf_simclr.config.data import AugmentationConfig
from tf_simclr.config.experiment import ExperimentConfig
from tf_simclr.config.model import LossConfig, ModelConfig
from tf_simclr.config.training import OptimizerConfig, TrainConfig

# Flags of these parts of the config that leave what is trained as it is.
_BESIDE_TRAINING = frozenset(
    {
        *("untrained_baseline", "online_head", "dry_run", "draw_views"),
        *("profile_steps", "skip_nonfinite_steps", "ema_decay"),
    }
)
# All flags that these settings have a say in.
TRAINING_FLAGS = frozenset(
    field.name
    for part in (AugmentationConfig, ModelConfig, LossConfig, OptimizerConfig, TrainConfig)
    for field in dataclasses.fields(part)
) - _BESIDE_TRAINING | {"image_size", "train_batch_size"}
LENGTH_FLAGS = frozenset({"train_epochs", "train_steps", "warmup_epochs"})
# What a command must not say for these settings to be taken. A length alone only makes the same training shorter.
DECIDING_FLAGS = TRAINING_FLAGS - LENGTH_FLAGS


@dataclass(frozen=True)
class Row:
    """Settings up to a number of images.

    Attributes:
        most: the largest number of training images they are for.
        width: of ResNet-18.
        image_size: side in pixels.
        batch: images a step, fewer where there are few images.
        epochs: passes over the images.
    """

    most: float
    width: float
    image_size: int
    batch: int
    epochs: float


# Wide enough apart that a few images more or less change nothing.
ROWS = (
    Row(500, 0.5, 64, 32, 300.0),
    Row(2_000, 0.5, 64, 64, 200.0),
    Row(10_000, 0.5, 64, 64, 60.0),
    Row(50_000, 1.0, 64, 128, 40.0),
    Row(float("inf"), 1.0, 96, 256, 30.0),
)
# Of a batch of 64 the peak is 1.0, as in the quickstart.
_LEARNING_RATE = {"learning_rate": 0.125, "learning_rate_scaling": "sqrt"}
_WARMUP_PART = 0.1
# What a command must not say for the settings of fine-tuning to be taken. The length is taken by itself.
FINE_TUNING_FLAGS = frozenset(field.name for field in dataclasses.fields(OptimizerConfig)) | {"train_batch_size"}
# The paper trains 60 epochs on 1% of ImageNet's labels, and 30 on 10%.
_FEW_IMAGES = 13_000


def own_images_defaults(num_images: int) -> dict[str, Any]:
    """Training flags for a folder of this many training images, by name.

    Args:
        num_images: at least 2.

    Returns:
        every flag whose value is another than its plain default.
    """
    row = next(row for row in ROWS if num_images <= row.most)
    return {
        "image_size": row.image_size,
        "resnet_depth": 18,
        "width_multiplier": row.width,
        "num_proj_layers": 2,
        "train_batch_size": _batch(row.batch, num_images),
        "train_epochs": row.epochs,
        "warmup_epochs": row.epochs * _WARMUP_PART,
        **_LEARNING_RATE,
        "temperature": 0.2,
        "color_jitter_strength": 0.5,
        "use_blur": False,
    }


def with_length(settings: dict[str, Any], lengths: dict[str, Any], num_images: int) -> dict[str, Any]:
    """The settings for a folder with a length that was given; its warm-up is a tenth of it unless that was given, too.

    Args:
        settings: from `own_images_defaults`.
        lengths: flags of LENGTH_FLAGS that were given, by name.
        num_images: at least 2.
    """
    epochs = lengths.get("train_epochs", settings["train_epochs"])
    if lengths.get("train_steps"):
        epochs = lengths["train_steps"] * settings["train_batch_size"] / num_images
    return settings | {"warmup_epochs": epochs * _WARMUP_PART} | lengths


def _batch(wanted: int, num_images: int) -> int:
    """At most half of the images, and then a power of two: an epoch has two steps or more."""
    batch = wanted
    while batch > 2 and 2 * batch > num_images:
        batch //= 2
    return batch


def fine_tuning_defaults(num_images: int) -> dict[str, Any]:
    """Training flags for fine-tuning on a folder of this many images, by name (SimCLR, Appendix B.5).

    The paper's rate for a batch, which it scales linearly, with a batch that a folder has images for.

    Args:
        num_images: at least 2.
    """
    return {
        "optimizer": "momentum",
        "learning_rate": 0.05,
        "learning_rate_scaling": "linear",
        "weight_decay": 0.0,
        "warmup_epochs": 0.0,
        "train_batch_size": _batch(64, num_images),
        "train_epochs": 60.0 if num_images <= _FEW_IMAGES else 30.0,
    }


def has_plain_flags(config: ExperimentConfig, names: Collection[str]) -> bool:
    """Whether every one of some flags has its plain default."""
    plain, own = ExperimentConfig().to_flags(), config.to_flags()
    return all(plain[name] == own[name] for name in names)
