"""Which images, and how their views are made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tf_simclr.config.augmentation import BRANCHES, OPERATORS, OperatorOption, read_augmentation
from tf_simclr.config.option import affecting, check_options, option
from tf_simclr.config.paths import table_path
from tf_simclr.errors import InputError

CIFAR_STEM_MAX_SIZE = 32
SHAPES, FOLDER = "shapes", "folder"
DECODERS = ("auto", "tensorflow", "pillow")
ON_BAD_IMAGE = ("error", "skip")
HOLD_OUT_DRAWS = ("hash", "count")
# Pixels of an image: those that are always read, those that are read by default, and those that never are. Pillow takes
# a file above the last one for a decompression bomb; phones with 108 megapixels are below.
ALWAYS_READ, READ_BY_DEFAULT, MOST_READ = 1 << 24, 50_000_000, 178_956_970

EVAL_CROP = 0.875


def may_lie_elsewhere(dataset: str) -> bool:
    """Whether TensorFlow Datasets prepares a data set, so that --data_dir names where it did."""
    return dataset not in ("", SHAPES, FOLDER)


def eval_crop_for(image_size: int, eval_crop: float | None = None) -> float:
    """The share of an image's shorter side that evaluation sees.

    Args:
        image_size: side of the images that the encoder sees, in pixels.
        eval_crop: what --eval_crop says; None where it says nothing.

    Returns:
        `eval_crop` where it is given. Else the paper's 0.875 (SimCLR, Appendix B.6), and 1, the whole image, for
        CIFAR-sized images of at most 32 pixels.
    """
    if eval_crop is not None:
        return eval_crop
    return EVAL_CROP if image_size > CIFAR_STEM_MAX_SIZE else 1.0


@dataclass(frozen=True)
class DataConfig:
    """Which images, and in what batches."""

    dataset: str = option(
        "",
        "Data set: 'shapes' (built in), 'folder' (images under --data_dir), or a TFDS name such as cifar10, "
        "imagenet2012 or name/config. Empty (our default; the authors': imagenet2012): configs/quickstart.cfg "
        "supplies every flag that is not given.",
        affects=("study",),
    )
    data_dir: str | None = option(
        None,
        "Folder of images: without --dataset it implies --dataset=folder. For a TFDS data set, the directory of "
        "its files.",
        path=True,
        affects=(),
    )
    train_split: str = option("train", "Split to train on; TFDS slices such as 'train[:10%]' work.", affects=("study",))
    eval_split: str = option("validation", "Split to evaluate on.", affects=("study",))
    image_size: int = option(224, "Side of the square images the encoder sees, in pixels.", at_least=8, at_most=16_384)
    train_batch_size: int = option(
        512, "Global batch: images per step over all replicas.", at_least=2, at_most=10**7, affects=("study",)
    )
    eval_batch_size: int = option(
        256, "Global batch size for evaluation.", at_least=1, at_most=10**7, affects=("study",)
    )
    data_seed: int = option(
        0,
        "Seed of the built-in images and of hold-out splits. It is separate from --seed, so that runs with "
        "several seeds share their data.",
    )
    cache_dataset: bool = option(
        False,
        "Keep the images in memory, before augmentation; small ones of one size, and folders of JPEGs, decoded where "
        "they fit into 1 GiB.",
        affects=(),
    )
    labels: str | None = option(
        None,
        "CSV file with a row for each image of --dataset=folder, in place of class folders: its path, its label "
        "and, if there is such a column, its split. Omitted: class folders.",
        path=True,
        affects=(),
    )
    hold_out_by: str = option(
        "hash",
        "What decides which images of a folder without splits are held out: a hash of each image's own path, or "
        "the count of a class, as in earlier versions. A resumed run keeps the draw it began with.",
        HOLD_OUT_DRAWS,
        affects=("study",),
    )
    eval_crop: float | None = option(
        None,
        "Share of the shorter side that evaluation and exports see of an image: the central square is cut out and "
        "resized. 1 resizes the whole image, which suits drawings that fill their frame. Omitted: 0.875 (the paper's) "
        "above 32 pixels of --image_size, 1 up to there.",
        above=0,
        at_most=1,
    )
    decoder: str = option(
        "auto",
        "What decodes image files: tensorflow, pillow, or auto, which uses TensorFlow for the files that it "
        "decodes reliably and Pillow for the others. tensorflow refuses those others.",
        DECODERS,
    )
    on_bad_image: str = option(
        "error",
        "What to do with damaged images. error: stop at the first one and name it. skip: first decode every image "
        "once and leave the damaged ones out; stop if they are more than 1%.",
        ON_BAD_IMAGE,
        affects=("study",),
    )
    max_image_pixels: int = option(
        READ_BY_DEFAULT,
        "Maximum number of pixels of an image file that is decoded as a whole, and of all such large files that "
        "are decoded at the same time. Larger files are bad images (--on_bad_image). Larger JPEGs are still read, "
        "one at a time, because their decoder reduces them.",
        at_least=ALWAYS_READ,
        at_most=MOST_READ,
        affects=(),
    )

    @property
    def crop_of_evaluation(self) -> float:
        """The share of an image's shorter side that evaluation sees, in (0, 1]: --eval_crop, or its default."""
        return eval_crop_for(self.image_size, self.eval_crop)

    @property
    def reading(self) -> dict[str, Any]:
        """What decides how an image is read and what evaluation sees of it, by name, as JSON values.

        Which images there are is not part of it: their sources know that better.
        """
        values = {name: getattr(self, name) for name in affecting(DataConfig, "reading")}
        return values | {"eval_crop": self.crop_of_evaluation}

    def with_table_path(self) -> DataConfig:
        """With --labels as an absolute path, so that what records it names the table that was read."""
        if not self.labels:
            return self
        return replace(self, labels=table_path(self.labels, self.data_dir or ""))

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
        if self.labels and self.dataset != FOLDER:
            raise InputError(
                f"`labels` is a table for a folder of images. Received: labels={self.labels}, dataset={self.dataset}. "
                "Pass --dataset=folder, or leave --labels out"
            )
        if self.dataset == FOLDER and not self.data_dir:
            raise InputError(
                "`data_dir` must name the folder of images with --dataset=folder. "
                "Received: data_dir=None. Pass --data_dir=DIR"
            )


@dataclass(frozen=True)
class AugmentationConfig:
    """The family of augmentations that the two views are drawn from (SimCLR, Section 3 and Appendix A)."""

    color_jitter_strength: float = option(
        1.0, "Strength s of the colour distortion; 0 turns it off.", at_least=0, at_most=100
    )
    color_jitter_impl: str = option(
        "simclrv1",
        "Brightness jitter: simclrv1 adds (the paper), simclrv2 multiplies (the authors' later code).",
        ("simclrv1", "simclrv2"),
    )
    min_crop_area: float = option(
        0.08,
        "Smallest area of a random crop, as a share of the image. Raise it if a small part of an image does not "
        "show its subject.",
        above=0,
        at_most=1,
    )
    use_blur: bool = option(True, "Gaussian blur in pretraining; off for CIFAR-sized images.")
    augmentation: str = option(
        "",
        "The operators of training by name, in order, separated by commas: "
        + ", ".join(OPERATORS)
        + ". Each may have a strength and a probability, as in crop,flip,color_jitter:0.5@0.8,noise. Empty means "
        "crop, flip, color_jitter, color_drop and blur as the flags above say when pretraining, and crop and flip when "
        "fine-tuning or distilling.",
    )
    augmentation_branch: str = option(
        "both",
        "Which views --augmentation acts on: both, or one, the first (the paper's Figure 5). With one, both views "
        "share a random crop; crop in the list is then another crop inside it.",
        BRANCHES,
    )

    @property
    def operators(self) -> tuple[OperatorOption, ...]:
        """What --augmentation says; empty for the composition that the other flags describe."""
        return read_augmentation(self.augmentation)

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
        options = {operator.name: operator for operator in self.operators}
        if self.augmentation_branch == "one" and not options:
            raise InputError(
                "`augmentation` must name the operators of the one branch. Received: augmentation_branch=one, "
                "augmentation=''. Pass for example --augmentation=crop,color_jitter"
            )
        if self.augmentation_branch == "both" and "crop" in list(options)[1:]:
            raise InputError(
                "`augmentation` must begin with crop where it has it: the other operators work on images of the "
                f"final size. Received: augmentation={self.augmentation}. Write crop first"
            )
        never_crops = bool(options) and "crop" not in options and self.augmentation_branch == "both"
        if never_crops and self.min_crop_area != type(self).min_crop_area:
            raise InputError(
                "`augmentation` must have crop where the other flag sizes the crops. Received: "
                f"augmentation={self.augmentation}, min_crop_area={self.min_crop_area:g}. Begin with crop, or leave "
                "min_crop_area out"
            )
        if "blur" in options and not self.use_blur:
            raise InputError(
                f"`augmentation` has blur, which the other flag turns off. Received: augmentation={self.augmentation}, "
                "use_blur=False. Pass --use_blur=True, or leave blur out"
            )
        jitter = options.get("color_jitter")
        if jitter and jitter.strength is None and not self.color_jitter_strength:
            raise InputError(
                f"`augmentation` has color_jitter, which the other flag turns off. Received: augmentation="
                f"{self.augmentation}, color_jitter_strength=0. Write color_jitter:STRENGTH, or leave it out"
            )
