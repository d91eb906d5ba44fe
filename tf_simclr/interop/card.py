"""simclr.json: what a person or a program must know of an exported model and cannot read off its tensors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from tf_simclr import __version__
from tf_simclr.config import CARD_FILE, eval_crop_for
from tf_simclr.files import to_json
from tf_simclr.nn.model import SimCLRModel


@dataclass(frozen=True)
class ModelCard:
    """Where a model comes from and what images it wants.

    Args:
        image_size: side in pixels of the square images it was trained on.
        step: training step.
        dataset: name of the training data.
        class_names: of the supervised head, in the order of its logits; empty without one.
        config: every flag of the run.
        metrics: results of its evaluation; empty before one.
        eval_crop: share of the shorter side that its evaluation sees, as in --eval_crop; None for the default of the
            size.
    """

    image_size: int
    step: int = 0
    dataset: str = ""
    class_names: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    eval_crop: float | None = None

    @property
    def crop_of_evaluation(self) -> float:
        """The share of an image's shorter side that evaluation sees, in (0, 1]."""
        return eval_crop_for(self.image_size, self.eval_crop)

    def describe(self, model: SimCLRModel) -> dict[str, Any]:
        """The contents of simclr.json."""
        head = model.supervised_head
        return {
            "format": 1,
            "written_by": {"tf_simclr": __version__, "tensorflow": tf.__version__},
            "step": self.step,
            "dataset": self.dataset,
            "image_size": self.image_size,
            "channels": 3,
            "value_range": [0, 1],
            "eval_crop": self.crop_of_evaluation,
            # What readers of earlier versions look for.
            "central_crop": self.crop_of_evaluation < 1,
            "num_classes": 0 if head is None else int(head.output.shape[-1]),
            "class_names": list(self.class_names) if head is not None else [],
            "feature_dim": int(model.encoder.output["final_avg_pool"].shape[-1]),
            "config": self.config,
            "metrics": self.metrics,
        }

    def write(self, model: SimCLRModel, directory: str, export: Mapping[str, Any] | None = None) -> None:
        """Writes simclr.json into the directory of an export.

        Args:
            model: the networks.
            directory: of the export.
            export: what is to be known of its format; None where there is nothing.
        """
        contents = {**self.describe(model), **({} if export is None else {"export": dict(export)})}
        with tf.io.gfile.GFile(os.path.join(directory, CARD_FILE), "w") as file:
            file.write(to_json(contents, indent=2, sort_keys=False) + "\n")
