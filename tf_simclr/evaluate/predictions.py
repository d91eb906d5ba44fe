"""What a protocol says of every test image: kept beside its figures, and written as a table for people and programs."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.data.source import ImageSource, MultiLabel
from tf_simclr.escape import escape_controls
from tf_simclr.evaluate.measures.twins import Twins

COLUMNS = ("path", "label", "prediction", "probability", "twin", "seed")
# Where an image may show several classes.
SEVERAL_COLUMNS = ("path", "label", "ignored", "twin", "seed")
SCORE = "score:"
# Between the names of several classes.
BETWEEN = "|"
_BATCH = 4096


@dataclass(frozen=True, eq=False)
class Predicted:
    """What is said of n test images, in the canonical order of the split.

    Attributes:
        classes: int64 [n], the predicted class; None where an image may show several.
        probabilities: float32 [n] in [0, 1], of the predicted class: a softmax, or a share of votes; None likewise.
        scores: float32 [n, classes], the higher the likelier; only where an image may show several classes.
    """

    classes: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    scores: np.ndarray | None = None

    def __len__(self) -> int:
        return len(next(value for value in (self.classes, self.scores) if value is not None))


@dataclass(frozen=True, eq=False)
class EvaluatedImages:
    """The images that predictions are about.

    Attributes:
        class_names: in the order of the labels.
        names: of each image, unique within its split.
        labels: int64 [n]; None where an image may show several classes.
        targets: what the images show; None where each shows one class.
        train_names: of the training images.
        twins: None where they were not looked for.
    """

    class_names: tuple[str, ...]
    names: tuple[str, ...]
    labels: np.ndarray | None
    targets: MultiLabel | None = None
    train_names: tuple[str, ...] = field(default=(), repr=False)
    twins: Twins | None = None

    @classmethod
    def of(cls, test: ImageSource, train: ImageSource) -> EvaluatedImages:
        """Names and labels of a split; reads its records once, and decodes no image."""
        targets = None if test.targets is None else test.targets()
        labels = labels_in_order(test) if targets is None else None
        return cls(test.class_names, names_of(test), labels, targets, names_of(train))

    def with_twins(self, twins: Twins | None) -> EvaluatedImages:
        """The same images, with their twins."""
        return dataclasses.replace(self, twins=twins)


def names_of(source: ImageSource) -> tuple[str, ...]:
    """A name for each example in the canonical order: the source's own, or the number of its row."""
    return source.names() if source.names is not None else tuple(map(str, range(source.num_examples)))


def labels_in_order(source: ImageSource) -> np.ndarray:
    """The label of each example, int64 [n], in the canonical order; no image is decoded."""
    records = source.records(None).map(lambda record: record["label"], tf.data.AUTOTUNE).batch(_BATCH)
    return np.concatenate(list(records.as_numpy_iterator()))


def softmax_of(scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The softmax of scores [n, c] at one class of each row: float32 [n]."""
    shifted = np.float64(scores) - np.max(scores, axis=1, keepdims=True)
    chosen = np.take_along_axis(shifted, classes[:, np.newaxis], axis=1)[:, 0]
    return np.float32(np.exp(chosen) / np.exp(shifted).sum(axis=1))


def pack(predicted: Sequence[Predicted | None]) -> bytes:
    """The content of an .npz file that `unpack` reads."""
    arrays = {
        f"{number}.{name}": value
        for number, one in enumerate(predicted)
        if one is not None
        for name, value in vars(one).items()
        if value is not None
    }
    return to_npz(arrays)


def to_npz(arrays: dict[str, Any]) -> bytes:
    """Arrays by name as the content of an .npz file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def unpack(content: bytes, count: int) -> list[Predicted | None]:
    """What `pack` was given, `count` of them.

    Raises:
        ValueError, zipfile.BadZipFile: the content is damaged.
    """
    parts: list[dict[str, np.ndarray]] = [{} for _ in range(count)]
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        for key in arrays.files:
            number, _, name = key.partition(".")
            parts[int(number)][name] = arrays[key]
    return [Predicted(**part) if part else None for part in parts]


def predictions_table(predicted: Sequence[tuple[int | None, Predicted]], images: EvaluatedImages) -> bytes:
    """A CSV file with a line for each image and seed.

    The columns are COLUMNS; label and prediction are names of classes, `twin` names the training image that a test
    image is a copy of. Where an image may show several classes there are no predictions but a column of scores for each
    class, and `label` holds the names of the classes that are shown, separated by "|"; `ignored` holds those for which
    the image does not count.

    Args:
        predicted: (seed, what was predicted), each of all the images.
        images: the images.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    several = images.targets is not None
    scores = [SCORE + name for name in images.class_names] if several else []
    columns = SEVERAL_COLUMNS if several else COLUMNS
    writer.writerow(map(escape_controls, [*columns, *scores]))
    twins = _twin_names(images)
    for seed, one in predicted:
        for row in range(len(one)):
            end = [twins[row], "" if seed is None else str(seed)]
            line = [images.names[row], *_said(one, images, row), *end, *_scores(one, row)]
            writer.writerow(map(escape_controls, line))
    # A name may hold bytes that are no UTF-8: they are written as they are, and control characters as \n.
    return text.getvalue().encode("utf-8", "surrogateescape")


def _said(one: Predicted, images: EvaluatedImages, row: int) -> list[str]:
    if images.targets is not None:
        parts = images.targets.positives[row], images.targets.ignored[row]
        return [BETWEEN.join(images.class_names[label] for label in np.flatnonzero(part)) for part in parts]
    assert images.labels is not None and one.classes is not None
    probability = "" if one.probabilities is None else f"{one.probabilities[row]:.6g}"
    return [images.class_names[images.labels[row]], images.class_names[one.classes[row]], probability]


def _scores(one: Predicted, row: int) -> list[str]:
    return [] if one.scores is None else [f"{score:.6g}" for score in one.scores[row]]


def _twin_names(images: EvaluatedImages) -> list[str]:
    if images.twins is None:
        return [""] * len(images.names)
    return ["" if row < 0 else images.train_names[row] for row in images.twins.rows]
