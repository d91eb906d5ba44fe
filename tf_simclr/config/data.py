"""Which pictures, and how their views are made."""

from __future__ import annotations

from dataclasses import dataclass

from tf_simclr.config.option import option
from tf_simclr.errors import InputError, require_choice, require_range

CIFAR_STEM_MAX_SIZE = 32


def takes_central_crop(image_size: int) -> bool:
    """Whether evaluation crops the central 87.5%: CIFAR-sized pictures are only resized."""
    return image_size > CIFAR_STEM_MAX_SIZE


@dataclass(frozen=True)
class DataConfig:
    """Which pictures, and in what batches."""

    dataset: str = option(
        "",
        "Data set: 'shapes' (built in), 'folder' (pictures under --data_dir), or a TFDS name such as "
        "cifar10, imagenet2012 or name/config. Empty (our default; the authors': imagenet2012) means: "
        "configs/quickstart.cfg supplies every flag that was not given.",
    )
    data_dir: str | None = option(None, "Folder of pictures for --dataset=folder; TFDS data directory otherwise.")
    train_split: str = option("train", "Split to train on; TFDS slices such as 'train[:10%]' work.")
    eval_split: str = option("validation", "Split to evaluate on.")
    image_size: int = option(224, "Side of the square pictures the encoder sees, in pixels.")
    train_batch_size: int = option(512, "Global batch: pictures per step over all replicas.")
    eval_batch_size: int = option(256, "Global batch size for evaluation.")
    data_seed: int = option(
        0,
        "Seed of the built-in pictures and of hold-out splits; apart from --seed, so that runs with "
        "several seeds share their data.",
    )
    cache_dataset: bool = option(False, "Keep the pictures in memory after the first read, before augmentation.")

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        require_range("image_size", self.image_size, at_least=8)
        require_range("train_batch_size", self.train_batch_size, at_least=2)
        require_range("eval_batch_size", self.eval_batch_size, at_least=1)
        if self.dataset == "folder" and not self.data_dir:
            raise InputError(
                "`data_dir` must name the folder of pictures with --dataset=folder. "
                "Received: data_dir=None. Pass --data_dir=DIR"
            )


@dataclass(frozen=True)
class AugmentationConfig:
    """The family of augmentations that the two views are drawn from (SimCLR, Section 3 and Appendix A)."""

    color_jitter_strength: float = option(1.0, "Strength s of the colour distortion; 0 turns it off.")
    color_jitter_impl: str = option(
        "simclrv1",
        "Brightness jitter: simclrv1 adds (the paper), simclrv2 multiplies (the authors' later code).",
        ("simclrv1", "simclrv2"),
    )
    use_blur: bool = option(True, "Gaussian blur in pretraining; off for CIFAR-sized pictures.")

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        require_range("color_jitter_strength", self.color_jitter_strength, at_least=0)
        require_choice("color_jitter_impl", self.color_jitter_impl, ("simclrv1", "simclrv2"))
