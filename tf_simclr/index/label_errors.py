"""Labels that an image's neighbours disagree with."""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_simclr.errors import InputError
from tf_simclr.index.neighbours import all_nearest
from tf_simclr.index.store import Index

_TEMPERATURE = 0.1
# Votes that differ by less are a tie, which no class wins.
_TIE = 1e-6


@dataclasses.dataclass(frozen=True)
class LabelVotes:
    """What the neighbours of every labelled image say.

    Attributes:
        rows: int64 [m], the labelled rows of the index.
        classes: names, sorted.
        labels: int64 [m], numbers of the classes that the images have.
        votes: float32 [m, classes], the share of the neighbours' votes for each class; rows add up to 1.
    """

    rows: np.ndarray
    classes: tuple[str, ...]
    labels: np.ndarray
    votes: np.ndarray

    @property
    def own(self) -> np.ndarray:
        """float32 [m], the share of the votes for an image's own label."""
        return np.take_along_axis(self.votes, self.labels[:, np.newaxis], axis=1)[:, 0]

    @property
    def suspects(self) -> np.ndarray:
        """int64: places among `rows` whose neighbours vote for another class, the surest first."""
        lead = self.votes.max(axis=1) - self.own
        return np.array([place for place in np.argsort(-lead, kind="stable") if lead[place] > _TIE], np.int64)


def label_votes(index: Index, k: int = 20) -> LabelVotes:
    """Lets the k nearest labelled neighbours of every labelled image vote on its class.

    A neighbour's vote counts exp(similarity / 0.1), as in the kNN evaluation. An image has no vote on itself, and where
    its class has fewer other images than k, only as many neighbours vote: else its class could not win.

    Args:
        index: with labels.
        k: neighbours; at most all others are taken.

    Raises:
        InputError: fewer than two classes.
    """
    labelled = np.array([place for place, row in enumerate(index.rows) if row.label], np.int64)
    classes = tuple(sorted({row.label for row in index.rows if row.label}))
    if len(classes) < 2:
        raise InputError(
            f"`index` must have images of two classes or more. Received: {index.directory} with "
            f"{len(classes)}. Sort the images into one folder a class, and embed them again"
        )
    number = {name: place for place, name in enumerate(classes)}
    labels = np.array([number[index.rows[place].label] for place in labelled.tolist()], np.int64)
    part = index if len(labelled) == len(index.rows) else index.part(labelled)
    rows, similarities = all_nearest(part, k)
    others_of_class = np.maximum(np.bincount(labels)[labels] - 1, 1)
    voting = np.arange(rows.shape[1]) < others_of_class[:, np.newaxis]
    weights = np.exp((similarities - similarities[:, :1]) / _TEMPERATURE) * voting
    votes: np.ndarray = np.zeros([len(labelled), len(classes)], np.float32)
    np.add.at(votes, (np.arange(len(labelled))[:, np.newaxis], labels[rows]), weights)
    return LabelVotes(labelled, classes, labels, votes / votes.sum(axis=1, keepdims=True))
