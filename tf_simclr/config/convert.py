"""What is converted, and what its file does not say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tf_simclr.config.option import check_options, option
from tf_simclr.errors import InputError

NONE = "none"


@dataclass(frozen=True)
class ConvertConfig:
    """Weights of other programs, and where they go."""

    checkpoint: str | None = option(
        None,
        "Weights to convert: a TensorFlow checkpoint (its prefix, or a directory with it) or SavedModel of the "
        "authors, or a .safetensors, .pth, .pt or .ckpt file of PyTorch.",
        path=True,
    )
    output: str | None = option(
        None,
        "Directory to write, which run.py, evaluate and tf_simclr.load take as a run's. It must be new.",
        path=True,
    )
    ema: bool = option(False, "Take the moving averages of the weights, which some TensorFlow 1 checkpoints have.")
    image_size: int | None = option(
        None,
        "Side in pixels of the images that the network was trained on. Omitted: 224, and 32 with a CIFAR stem.",
        at_least=8,
        at_most=16_384,
    )
    ft_proj_selector: int | None = option(
        None,
        "What the classifier reads, as in run.py; the authors' models that were fine-tuned on 1% or 10% of the labels: "
        "1. Omitted: 0, h.",
        at_least=-1,
    )
    input_mean: str | None = option(
        None,
        "Mean of the channels, as in run.py, or none. Omitted: ImageNet's for files of PyTorch, none for the authors'.",
    )
    input_std: str | None = option(
        None, "Standard deviation of the channels, as in run.py, or none. Omitted: as for --input_mean."
    )

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
        for name in ("checkpoint", "output"):
            if not getattr(self, name):
                raise InputError(f"`{name}` must be given. Received: {name}=None. Pass --{name}=PATH")

    @property
    def said(self) -> dict[str, Any]:
        """Flags of a run that the command gives, by name."""
        named = ("image_size", "ft_proj_selector", "input_mean", "input_std")
        values = {name: getattr(self, name) for name in named if getattr(self, name) is not None}
        return {name: "" if value == NONE else value for name, value in values.items()}
