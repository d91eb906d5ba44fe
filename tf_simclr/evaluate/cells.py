"""What a protocol found, as a plain record: one cell for each protocol, endpoint, setting, encoder and seed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tf_simclr.data.source import MultiLabel
from tf_simclr.evaluate import metrics

# Which encoder a cell is about.
PRETRAINED, UNTRAINED, SCRATCH = "pretrained", "untrained", "from scratch"


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a protocol says of the pictures of the test split.

    Attributes:
        predictions: int64 [n], the class of each.
        scores: real numbers [n, classes], the higher the likelier; None where the protocol has none.
        details: what was chosen and done on the way, as JSON values.
    """

    predictions: np.ndarray
    scores: np.ndarray | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One figure of the report.

    Attributes:
        protocol: as in --protocols.
        encoder: PRETRAINED, UNTRAINED or SCRATCH.
        endpoint: whose features were judged; None where the whole network was trained.
        setting: what else tells it from other cells of the protocol, as "k=200, T=0.1"; may be empty.
        seed: None for a protocol without randomness.
        metrics: by name, each in [0, 1]: top_1, top_5, mean_per_class, or map_11_point; of `health` its own.
        per_class: accuracy, or average precision, of each class; None for a class without a test picture.
        confusion: [true class][predicted class] -> pictures; None where a picture may have several classes.
        details: as in Verdict.
        seconds: wall-clock time.
    """

    protocol: str
    encoder: str
    endpoint: str | None
    setting: str
    seed: int | None
    metrics: dict[str, float]
    per_class: list[float | None] | None = None
    confusion: list[list[int]] | None = None
    details: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Cell:
        """The cell that `to_json` wrote."""
        return cls(**values)


def measured(verdict: Verdict, labels: np.ndarray, num_classes: int) -> dict[str, Any]:
    """The fields metrics, per_class, confusion and details of a cell of single-label pictures.

    Args:
        verdict: predictions for n pictures.
        labels: int64 [n] in [0, num_classes).
        num_classes: of the data set. top_5 is left out below 6 classes, where it says next to nothing.
    """
    found = {
        "top_1": metrics.accuracy(verdict.predictions, labels),
        "mean_per_class": metrics.mean_per_class_accuracy(verdict.predictions, labels, num_classes, missing="exclude"),
    }
    if verdict.scores is not None and num_classes > 5:
        found["top_5"] = metrics.top_k_accuracy(verdict.scores, labels, 5)
    per_class = metrics.per_class_accuracy(verdict.predictions, labels, num_classes, missing="exclude")
    return {
        "metrics": found,
        "per_class": [per_class.get(label) for label in range(num_classes)],
        "confusion": metrics.confusion_matrix(verdict.predictions, labels, num_classes).tolist(),
        "details": verdict.details,
    }


def measured_multi_label(scores: np.ndarray, targets: MultiLabel, details: dict[str, Any]) -> dict[str, Any]:
    """The fields metrics, per_class, confusion and details of a cell of pictures that may show several classes.

    Args:
        scores: real numbers [n, classes], the higher the likelier.
        targets: of the same pictures. A class that none of them shows is left out of the mean.
        details: as in Verdict.
    """
    per_class = metrics.average_precisions(scores, targets.positives, ignored=targets.ignored, missing="exclude")
    return {
        "metrics": {"map_11_point": float(np.mean(list(per_class.values())))},
        "per_class": [per_class.get(label) for label in range(targets.positives.shape[1])],
        "confusion": None,
        "details": details,
    }
