"""What a protocol found, as a plain record: one record for each protocol, endpoint, setting, encoder and seed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tf_simclr.data.source import MultiLabel
from tf_simclr.evaluate.measures import metrics
from tf_simclr.evaluate.measures.intervals import Interval, map_interval, mean_per_class_interval, wilson
from tf_simclr.evaluate.predictions import EvaluatedImages, Predicted, softmax_of

# Which encoder a record is about.
PRETRAINED, UNTRAINED, SCRATCH = "pretrained", "untrained", "from scratch"


@dataclass(frozen=True)
class Record:
    """One figure of the report.

    Attributes:
        protocol: as in --protocols.
        encoder: PRETRAINED, UNTRAINED or SCRATCH.
        endpoint: whose features were evaluated; None where the whole network was trained.
        setting: what else tells it from other records of the protocol, as "k=200, T=0.1"; may be empty.
        seed: None for a protocol without randomness.
        metrics: by name, each in [0, 1]: top_1, top_5, mean_per_class, or map_11_point; of `health` its own.
        per_class: accuracy, or average precision, of each class; None for a class without a test image.
        confusion: [true class][predicted class] -> images; None where an image may have several classes.
        details: what was chosen and done on the way, as JSON values.
        seconds: wall-clock time.
        intervals: of those metrics that have one, the 95% interval over the choice of the test images.
        without_twins: the metrics over the test images without a twin among the training images; None where there is
            no twin, or none was looked for.
        predicted: what was said of every image; None where nothing was. It is kept in a file of its own, and not a part
            of `to_json`.
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
    intervals: dict[str, Interval] = field(default_factory=dict)
    without_twins: dict[str, float] | None = None
    predicted: Predicted | None = field(default=None, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return dataclasses.asdict(dataclasses.replace(self, predicted=None))

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Record:
        """The record that `to_json` wrote."""
        intervals = {name: (low, high) for name, (low, high) in values.get("intervals", {}).items()}
        return cls(**{**values, "intervals": intervals})

    def with_twins(self, images: EvaluatedImages) -> Record:
        """The record with its metrics over the images without a twin; as it is where there is no twin or no prediction.

        Args:
            images: those that the predictions are about, in their order.
        """
        if self.predicted is None or images.twins is None or not images.twins.found.any():
            return dataclasses.replace(self, without_twins=None)
        keep = np.flatnonzero(~images.twins.found)
        return dataclasses.replace(self, without_twins=_metrics_of(self.predicted, images, keep))


def _metrics_of(predicted: Predicted, images: EvaluatedImages, rows: np.ndarray) -> dict[str, float]:
    """Metrics over some of the images; empty without an image."""
    if not rows.size:
        return {}
    if images.targets is not None:
        assert predicted.scores is not None
        part = images.targets.rows(rows)
        shown = (part.positives & ~part.ignored).any()
        return {"map_11_point": _mean_average_precision(predicted.scores[rows], part)} if shown else {}
    assert predicted.classes is not None and images.labels is not None
    pair = predicted.classes[rows], images.labels[rows]
    return {
        "top_1": metrics.accuracy(*pair),
        "mean_per_class": metrics.mean_per_class_accuracy(*pair, len(images.class_names), missing="exclude"),
    }


def _mean_average_precision(scores: np.ndarray, targets: MultiLabel) -> float:
    return metrics.mean_average_precision(scores, targets.positives, ignored=targets.ignored, missing="exclude")


def measured(
    classes: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    scores: np.ndarray | None = None,
    probabilities: np.ndarray | None = None,
    details: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The fields of a record of single-label images that follow from what a protocol says of them.

    Args:
        classes: int64 [n], the predicted class of each image.
        labels: int64 [n] in [0, num_classes).
        num_classes: of the data set. top_5 is left out below 6 classes, where it says next to nothing.
        scores: real numbers [n, classes], the higher the likelier; None where the protocol has none.
        probabilities: real numbers [n] in [0, 1], that of the predicted class; None for the softmax of `scores`.
        details: as in Record.
    """
    found = {
        "top_1": metrics.accuracy(classes, labels),
        "mean_per_class": metrics.mean_per_class_accuracy(classes, labels, num_classes, missing="exclude"),
    }
    if scores is not None and num_classes > 5:
        found["top_5"] = metrics.top_k_accuracy(scores, labels, 5)
    if probabilities is None and scores is not None:
        probabilities = softmax_of(scores, classes)
    per_class = metrics.per_class_accuracy(classes, labels, num_classes, missing="exclude")
    confusion = metrics.confusion_matrix(classes, labels, num_classes)
    intervals = {name: wilson(found[name], len(labels)) for name in ("top_1", "top_5") if name in found}
    return {
        "metrics": found,
        "per_class": [per_class.get(label) for label in range(num_classes)],
        "confusion": confusion.tolist(),
        "details": details or {},
        "intervals": intervals | {"mean_per_class": mean_per_class_interval(confusion)},
        "predicted": Predicted(classes, None if probabilities is None else np.float32(probabilities)),
    }


def measured_multi_label(scores: np.ndarray, targets: MultiLabel, details: dict[str, Any]) -> dict[str, Any]:
    """The fields of a record of images that may show several classes, which follow from its scores.

    Args:
        scores: real numbers [n, classes], the higher the likelier.
        targets: of the same images. A class that none of them shows is left out of the mean.
        details: as in Record.
    """
    per_class = metrics.average_precisions(scores, targets.positives, ignored=targets.ignored, missing="exclude")
    return {
        "metrics": {"map_11_point": float(np.mean(list(per_class.values())))},
        "per_class": [per_class.get(label) for label in range(targets.positives.shape[1])],
        "confusion": None,
        "details": details,
        "intervals": {"map_11_point": map_interval(scores, targets.positives, ignored=targets.ignored)},
        "predicted": Predicted(scores=np.float32(scores)),
    }
