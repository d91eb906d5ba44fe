"""What the cells of a study found: a file for each cell and seed, and the table of all of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tf_simclr.errors import InputError
from tf_simclr.file_systems import file_system_of
from tf_simclr.files import read_json, write_json
from tf_simclr.stored import DamagedFileError, require_types

CELLS_DIRECTORY = "cells"


class NotMeasuredError(Exception):
    """A check needs what is not there; the message says what."""


@dataclass(frozen=True)
class CellResult:
    """What one cell found with one seed.

    Attributes:
        cell: its name.
        seed: of weights, order and augmentations.
        measures: by name, as in studies.study.MEASURES; accuracies in [0, 1].
        curves: name -> {"x": numbers, "y": numbers}, of the same length.
        details: what else is worth telling, as JSON values.
        seconds: wall-clock time.
        answers: what was predicted for each test image, by measure, as JSON values; see `significance.py`.
    """

    cell: str
    seed: int
    measures: dict[str, float]
    curves: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)


def file_name(cell: str, seed: int | str) -> str:
    """Where a result is kept below CELLS_DIRECTORY; with "*" for a seed a pattern of all seeds."""
    return f"{re.sub(r'[^A-Za-z0-9_.+-]', '_', cell)}-seed{seed}.json"


def read_result(directory: str, cell: str, seed: int) -> CellResult | None:
    """A result that was kept, None where there is none.

    Raises:
        InputError: the file cannot be read.
    """
    path = os.path.join(directory, CELLS_DIRECTORY, file_name(cell, seed))
    try:
        values = read_json(path)
        if values is None:
            return None
        require_types(values, CellResult, path)
        return CellResult(**values)
    except (TypeError, DamagedFileError) as error:
        raise InputError(
            f"a result of a study must be JSON as this program writes it. Received: {path}, {error}. Delete it: the "
            "same command measures the cell again"
        ) from error


def write_result(directory: str, result: CellResult) -> None:
    """Keeps a result, whole or not at all."""
    place = os.path.join(directory, CELLS_DIRECTORY)
    file_system_of(place).make(place)
    write_json(os.path.join(place, file_name(result.cell, result.seed)), asdict(result))


class Results:
    """Measures by cell, over seeds.

    Args:
        found: results of cells, in any order.
        test_images: how many images the accuracies are shares of; None where nothing says so.
    """

    def __init__(self, found: Iterable[CellResult], test_images: int | None = None):
        self.test_images = test_images
        self._by_cell: dict[str, list[CellResult]] = {}
        for result in sorted(found, key=lambda result: result.seed):
            self._by_cell.setdefault(result.cell, []).append(result)

    @property
    def seeds(self) -> list[int]:
        """All seeds of which anything is there."""
        return sorted({result.seed for found in self._by_cell.values() for result in found})

    def of(self, cell: str) -> list[CellResult]:
        """What is there of a cell, a result a seed."""
        return self._by_cell.get(cell, [])

    def values(self, cell: str, measure: str) -> list[float]:
        """One value a seed; empty where nothing is there."""
        return [result.measures[measure] for result in self.of(cell) if measure in result.measures]

    def mean(self, cell: str, measure: str) -> float:
        """The mean over seeds.

        Raises:
            NotMeasuredError: nothing is there.
        """
        values = self.values(cell, measure)
        if not values:
            raise NotMeasuredError(f"the cell {cell}, which was not run")
        return float(np.mean(values))

    def std(self, cell: str, measure: str) -> float:
        """The standard deviation over seeds (n - 1); 0 for one seed."""
        values = self.values(cell, measure)
        return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0

    @property
    def seconds(self) -> float:
        """Time of all cells together."""
        return sum(result.seconds for found in self._by_cell.values() for result in found)


def read_results(directory: str, cells: Iterable[str], test_images: int | None = None) -> Results:
    """Everything that is there of some cells, whatever the seed; `test_images` as in `Results`.

    Raises:
        InputError: a file that cannot be read.
    """
    place = os.path.join(directory, CELLS_DIRECTORY)
    # Names are compared and not matched: a pattern would take brackets in the directory's name for its own.
    names = sorted(file_system_of(place).names(place))
    found = []
    for cell in cells:
        head, tail = file_name(cell, "*").split("*")
        for name in names:
            seed = name[len(head) : -len(tail)] if name.startswith(head) and name.endswith(tail) else ""
            result = read_result(directory, cell, int(seed)) if seed.isdigit() else None
            if result is not None:
                found.append(result)
    return Results(found, test_images)
