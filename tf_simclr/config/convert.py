"""What is converted, and what its file does not say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tf_simclr.config.option import check_options, option
from tf_simclr.errors import InputError

NONE = "none"
RUN, TFLITE = "run", "tflite"
FORMATS = ("saved_model", "keras", "onnx", TFLITE, "torch", "huggingface", "kaggle")
TFLITE_TYPES = ("float32", "float16", "int8")
_OF_READING = ("image_size", "ft_proj_selector", "input_mean", "input_std")


@dataclass(frozen=True)
class ConvertConfig:
    """Weights to convert, and what becomes of them."""

    checkpoint: str | None = option(
        None,
        "Weights to convert: a TensorFlow checkpoint (its prefix, or a directory with it) or SavedModel of the "
        "authors, or a .safetensors, .pth, .pt or .ckpt file of PyTorch. With --to, a run as well.",
        path=True,
    )
    output: str | None = option(
        None,
        "Directory to write, which run.py, evaluate and tf_simclr.load take as a run's. It must be new.",
        path=True,
    )
    to: str = option(
        RUN,
        "What to write: run, a directory that the other tasks take as a run's, or the networks in a format of other "
        "programs.",
        (RUN, *FORMATS),
    )
    tflite_type: str = option(
        "float32",
        "Number type of --to=tflite. int8 needs --calibration_dir.",
        TFLITE_TYPES,
    )
    calibration_dir: str | None = option(
        None,
        "Folder of images, about 100 of the kind that the network will see, from which --tflite_type=int8 learns the "
        "ranges of its numbers.",
        path=True,
    )
    license: str = option(
        "unknown",
        "Licence of the weights in the model card of --to=huggingface and kaggle, as an SPDX identifier: apache-2.0.",
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
        self._validate_export()

    def _validate_export(self) -> None:
        if self.to != RUN and (self.said or self.ema):
            name, value = next(iter(self.said.items()), ("ema", True))
            raise InputError(
                f"`{name}` must be left out with --to={self.to}: it says how to read weights of other programs. "
                f"Received: {name}={value}. Convert them to a run first, and then the run"
            )
        int8 = self.to == TFLITE and self.tflite_type == "int8"
        if int8 != (self.calibration_dir is not None):
            raise InputError(
                "`calibration_dir` must be given for --to=tflite --tflite_type=int8, and for nothing else. Received: "
                f"to={self.to}, tflite_type={self.tflite_type}, calibration_dir={self.calibration_dir}. "
                + ("Pass a folder of images" if int8 else "Leave it out")
            )
        if self.tflite_type != "float32" and self.to != TFLITE:
            raise InputError(
                f"`tflite_type` must be left out without --to=tflite. Received: to={self.to}, "
                f"tflite_type={self.tflite_type}. Leave it out"
            )

    @property
    def said(self) -> dict[str, Any]:
        """Flags of a run that the command gives, by name."""
        values = {name: getattr(self, name) for name in _OF_READING if getattr(self, name) is not None}
        return {name: "" if value == NONE else value for name, value in values.items()}
