"""What cells of a study found, with standard errors, as findings read it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from tf_simclr.studies.results import NotMeasuredError, Results
from tf_simclr.studies.study import StudyCell
from tf_simclr.studies.uncertainty import Estimate, standard_error

Cells = tuple[StudyCell, ...]


def top_1(results: Results, cells: Iterable[StudyCell], measure: str = "top_1") -> dict[str, Estimate]:
    """Means in percent with their standard errors, by cell.

    Raises:
        NotMeasuredError: one of the cells is missing, there is none, or a mean is not finite, so that every comparison
            with it would be False, or depend on the order.
    """
    found = {}
    for cell in cells:
        mean = results.mean(cell.name, measure)
        if not math.isfinite(mean):
            raise NotMeasuredError(f"finite numbers: {measure} of {cell.name} is {mean}")
        error = standard_error(results.values(cell.name, measure), _counted(results, cell, measure))
        found[cell.name] = Estimate(100.0 * mean, 100.0 * error)
    if not found:
        raise NotMeasuredError("a cell that the study does not have")
    return found


def along(results: Results, cells: Iterable[StudyCell], *axes: str) -> dict[str, Estimate]:
    """`top_1` by where cells stand on some axes, for cells that stand at different places there."""
    placed = {" x".join(cell.place[axis] for axis in axes): cell for cell in cells}
    found = top_1(results, placed.values())
    return {place: found[cell.name] for place, cell in placed.items()}


def _counted(results: Results, cell: StudyCell, measure: str) -> int | None:
    """How many things a measure is a share of; None where only the seeds tell how sure it is."""
    if measure == "same_picture":
        return cell.options.get("pictures", 0) * cell.options.get("crops", 0) or None
    return None if measure == "contrast_acc" else results.test_images


def where(cells: Cells, **place: str) -> Cells:
    """The cells at a place: axis (with _ for a space) -> label."""
    wanted = {axis.replace("_", " "): label for axis, label in place.items()}
    return tuple(cell for cell in cells if all(cell.place.get(axis) == label for axis, label in wanted.items()))


def labels(cells: Cells, axis: str) -> list[str]:
    """The labels of an axis, in the order of the cells."""
    return list(dict.fromkeys(cell.place[axis] for cell in cells if axis in cell.place))


def best(values: Mapping[str, Estimate]) -> str:
    """The name of the largest value."""
    return max(values, key=lambda name: values[name])


def listed(values: Mapping[str, Estimate]) -> str:
    """The values as a person reads them."""
    return ", ".join(f"{name} {value:.1f}" for name, value in values.items())


def lead(values: Mapping[str, Estimate], name: str) -> Estimate:
    """How far one value is ahead of the best of the others."""
    return values[name] - max(value for other, value in values.items() if other != name)
