"""What a classifier reaches that has learned nothing: the floor that every figure is to be read against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tf_simclr.data.source import MultiLabel
from tf_simclr.evaluate.measures.metrics import mean_average_precision

LARGEST_CLASS, CHANCE = "largest class", "chance"
_TOP = 5


@dataclass(frozen=True)
class Baselines:
    """Figures of classifiers that do not look at the image.

    Attributes:
        largest: number of the class that most training images have; of equals the first. None where an image may show
            several.
        metrics: LARGEST_CLASS and CHANCE -> figures in [0, 1] by the name of their metric.
    """

    largest: int | None
    metrics: dict[str, dict[str, float]]


def baselines(train_labels: np.ndarray, test_labels: np.ndarray, num_classes: int) -> Baselines:
    """The largest class of the training split for every test image, and a class at random.

    Args:
        train_labels: int64 [m] in [0, num_classes).
        test_labels: int64 [n] in [0, num_classes).
        num_classes: of the data set. top_5 is left out below 6 classes, as in `cells.measured`.

    Returns:
        Baselines of top_1, mean_per_class and top_5.
    """
    sizes = np.bincount(train_labels, minlength=num_classes)
    shares = np.bincount(test_labels, minlength=num_classes) / len(test_labels)
    ranked = np.argsort(-sizes, kind="stable")
    largest = int(ranked[0])
    always = {"top_1": float(shares[largest]), "mean_per_class": float(shares[largest] > 0) / int((shares > 0).sum())}
    chance = {"top_1": 1 / num_classes, "mean_per_class": 1 / num_classes}
    if num_classes > _TOP:
        always["top_5"] = float(shares[ranked[:_TOP]].sum())
        chance["top_5"] = _TOP / num_classes
    return Baselines(largest, {LARGEST_CLASS: always, CHANCE: chance})


def multi_label_baselines(targets: MultiLabel) -> Baselines:
    """The mAP of equal scores for all images, which is the mean share of the images that show a class.

    Args:
        targets: of the test split.
    """
    scores = np.zeros(targets.positives.shape)
    chance = mean_average_precision(scores, targets.positives, ignored=targets.ignored, missing="exclude")
    return Baselines(None, {CHANCE: {"map_11_point": chance}})
