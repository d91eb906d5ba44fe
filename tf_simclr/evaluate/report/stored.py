"""The report of an evaluation, read again with what was predicted for each image."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_simclr.errors import InputError
from tf_simclr.escape import escape_controls
from tf_simclr.evaluate.predictions import BETWEEN, SCORE
from tf_simclr.evaluate.records import Record
from tf_simclr.evaluate.report.files import PREDICTIONS, row_names
from tf_simclr.evaluate.report.place import JSON_FILE, place_of_report
from tf_simclr.evaluate.report.subject import Subject
from tf_simclr.evaluate.report.summary import Row, summarise
from tf_simclr.file_systems import file_system_of
from tf_simclr.files import read_json
from tf_simclr.stored import DamagedFileError

# Scores are written with six digits, so that equal ones may have been different.
_SAME_FIGURE = {"top_1": 1e-6, "map_11_point": 2e-3}


@dataclass(frozen=True, eq=False)
class Answers:
    """What one row of a report predicted for the test images.

    Attributes:
        images: of each image its path, the names of its classes, and of those for which it does not count.
        seeds: of the records, in their order.
        predictions: names of classes, one tuple for each seed; empty where an image may show several classes.
        scores: float64 [n, classes] for each seed, only where an image may show several classes.
    """

    images: tuple[tuple[str, str, str], ...]
    seeds: tuple[str, ...]
    predictions: tuple[tuple[str, ...], ...] = ()
    scores: tuple[np.ndarray, ...] = ()

    @property
    def labels(self) -> np.ndarray:
        """The name of each image's class: objects [n]."""
        return np.array([label for _, label, _ in self.images], object)

    def hits(self) -> np.ndarray:
        """Which images each seed answers rightly: float64 [seeds, n], 0 or 1."""
        return np.array([np.array(said, object) == self.labels for said in self.predictions], np.float64)

    def targets(self, class_names: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """What the images show, and what does not count: booleans [n, classes]."""
        positives, ignored = (
            np.array([[name in image[part].split(BETWEEN) for name in class_names] for image in self.images], bool)
            for part in (1, 2)
        )
        return positives, ignored


@dataclass(frozen=True)
class StoredEvaluation:
    """The report of an evaluation.

    Attributes:
        directory: of the report.
        subject: what was evaluated.
        rows: by name of their tables of predictions.
    """

    directory: str
    subject: Subject
    rows: dict[str, Row]

    @property
    def images(self) -> str:
        """Its test images, for a person."""
        named = next((split for split in self.subject.splits if split.role == "test"), None)
        count = f"{self.subject.test_pictures} images of {self.subject.dataset}"
        return count if named is None else f"{count}, {named.name} of {named.location or 'the data set'}"

    @property
    def fingerprint(self) -> str:
        """Of the test images; empty where an earlier version did not say."""
        return next((split.fingerprint for split in self.subject.splits if split.role == "test"), "")

    def answers(self, name: str) -> Answers:
        """What a row predicted.

        Raises:
            InputError: its table is missing, damaged, or of other results than the report.
        """
        path = os.path.join(self.directory, PREDICTIONS, f"{name}.csv")
        files = file_system_of(path)
        if not files.exists(path):
            raise InputError(
                f"a comparison needs what was predicted for each image. Received: {self.directory}, without "
                f"{PREDICTIONS}/{name}.csv. Run its evaluation again: what it has computed is kept"
            )
        try:
            return _parsed(files.read(path))
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise InputError(
                f"{path} must be a table of predictions as an evaluation writes it. Received: another. Run the "
                "evaluation again: what it has computed is kept"
            ) from error

    def require_figure(self, name: str, metric: str, value: float) -> None:
        """Raises InputError where the table of a row gives another figure than its records."""
        known = self.rows[name].metrics.get(metric)
        if known is not None and abs(known.mean - value) > _SAME_FIGURE[metric]:
            raise InputError(
                f"{PREDICTIONS}/{name}.csv must be of the same results as {JSON_FILE}. Received: {self.directory}, "
                f"where they give {100 * value:.1f} and {100 * known.mean:.1f}. Run the evaluation again: what it has "
                "computed is kept"
            )


def read_evaluation(name: str, directory: str) -> StoredEvaluation:
    """Reads the report of an evaluation.

    Args:
        name: of the flag, for messages.
        directory: of the report, or of a run with one evaluation below it.

    Raises:
        InputError: there is no report, several, or a damaged one.
    """
    place = place_of_report(name, directory)
    values: dict[str, Any] = read_json(os.path.join(place, JSON_FILE)) or {}
    try:
        subject = Subject.from_json(values["subject"])
        rows = summarise(subject, [Record.from_json(record) for record in values["cells"]])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DamagedFileError(
            f"`{name}` must have a {JSON_FILE} as an evaluation writes it. Received: {place}, where it is damaged. Run "
            "the evaluation again: what it has computed is kept"
        ) from error
    return StoredEvaluation(place, subject, row_names(rows))


def _parsed(content: bytes) -> Answers:
    """The table that `predictions_table` wrote.

    Raises:
        ValueError, KeyError: it is another one.
    """
    text = io.StringIO(content.decode("utf-8", "surrogateescape"), newline="")
    by_seed: dict[str, list[dict[str, str]]] = {}
    for line in csv.DictReader(text, strict=True):
        by_seed.setdefault(line["seed"], []).append(line)
    tables = [[(line["path"], line["label"], line.get("ignored", "")) for line in one] for one in by_seed.values()]
    images = tuple(tables[0] if tables else ())
    if not images or any(tuple(table) != images for table in tables):
        raise ValueError("the seeds are of different images")
    if "prediction" in by_seed[next(iter(by_seed))][0]:
        said = tuple(tuple(line["prediction"] for line in lines) for lines in by_seed.values())
        return Answers(images, tuple(by_seed), predictions=said)
    scores = tuple(
        np.array([[float(value) for key, value in line.items() if key.startswith(SCORE)] for line in lines])
        for lines in by_seed.values()
    )
    return Answers(images, tuple(by_seed), scores=scores)


def shown_classes(subject: Subject) -> list[str]:
    """The names of the classes as tables of predictions have them."""
    return [escape_controls(name) for name in subject.class_names]
