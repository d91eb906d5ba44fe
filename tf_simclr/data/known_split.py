"""What is known of a split before its images are read, and what a task needs of it; all without TensorFlow."""

from __future__ import annotations

from typing import Protocol

from tf_simclr.errors import InputError

UNLABELLED = -1


class KnownSplit(Protocol):
    """A split that was listed or opened; `ImageSource` is one."""

    @property
    def name(self) -> str:
        """Of the data set, for messages."""

    @property
    def split(self) -> str:
        """Name of the split, as the user wrote it."""

    @property
    def num_examples(self) -> int:
        """Number of images, >= 1."""

    @property
    def num_classes(self) -> int:
        """0 without labels."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """`num_classes` names, in the order of the labels."""

    @property
    def labelled(self) -> bool:
        """Whether an image has one class; not where it may have several."""


def require_evaluable(train: KnownSplit, *others: KnownSplit | None, eval_split: str) -> None:
    """Checks that splits can be evaluated on.

    Args:
        train: what classifiers are trained on.
        others: what they are evaluated on, and then what settings are chosen on, where there is such a split.
        eval_split: as the user wrote it.

    Raises:
        InputError: one has no labels, or there is nothing to evaluate on.
    """
    _require_labels(train)
    if not others or others[0] is None:
        raise InputError(
            f"`eval_split` must name a split with labels. Received: {train.name}, eval_split={eval_split!r}, "
            "where there are none. Sort the images into one folder a class, or choose another data set"
        )
    for other in others:
        if other is not None:
            _require_labels(other)


def has_no_labels(train: KnownSplit, evaluation: KnownSplit | None) -> bool:
    """Whether images have no labels at all: only what needs none can be measured on them."""
    return not train.num_classes and (evaluation is None or not evaluation.num_classes)


def _require_labels(split: KnownSplit) -> None:
    if not split.num_classes:
        raise InputError(
            f"An evaluation needs labels. Received: {split.name}, {split.split!r}, without any. Sort the "
            "images into one folder a class, or pass a labelled folder by --data_dir. Without labels there are "
            "`evaluate --protocols=health` and `search`"
        )
