"""Ours beside the paper's: each cell's numbers over seeds, how alike the orders are, and what the findings say."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tf_simclr.studies.results import NotMeasuredError, Results
from tf_simclr.studies.study import Evidence, Finding, Study, StudyCell

HOLDS, FAILS, UNDECIDED, NOT_MEASURED = "holds", "does not hold", "undecided", "not measured"
FEWEST_RANKED = 3


@dataclass(frozen=True)
class Summary:
    """A measure of a cell over seeds, as stored.

    Attributes:
        mean: over the seeds.
        std: their standard deviation; 0 for one seed.
        seeds: how many.
    """

    mean: float
    std: float
    seeds: int


@dataclass(frozen=True)
class RankAgreement:
    """How far our order of the cells is the paper's.

    Attributes:
        rho: Spearman's rank correlation; None where it is undefined.
        cells: how many cells have both numbers.
        against: what of the paper ours is held against.
        reason: why it is undefined; empty otherwise.
    """

    rho: float | None
    cells: int
    against: str
    reason: str = ""


@dataclass(frozen=True)
class CheckedFinding:
    """A finding on these results: HOLDS, FAILS, UNDECIDED or NOT_MEASURED, and the numbers that say so."""

    statement: str
    outcome: str
    numbers: str


def summarise(results: Results, cell: str, measure: str) -> Summary | None:
    """A measure of a cell over seeds; None where there is nothing."""
    values = results.values(cell, measure)
    return Summary(results.mean(cell, measure), results.std(cell, measure), len(values)) if values else None


def axes_of(cells: Sequence[StudyCell]) -> list[str]:
    """The axes on which cells have a place, in the order they first appear."""
    return list(dict.fromkeys(axis for cell in cells for axis in cell.place))


def missing_seeds(cell: str, results: Results, seeds: Sequence[int]) -> list[int]:
    """The seeds for which a cell has no result."""
    found = {result.seed for result in results.of(cell)}
    return [seed for seed in seeds if seed not in found]


def check_finding(finding: Finding, cells: Sequence[StudyCell], results: Results) -> CheckedFinding:
    """Checks a finding on a study's cells.

    Without some of them, or a finite measure of each, it is not measured; where the gap that decides it is under two
    standard errors it is undecided.
    """
    try:
        evidence = finding.check(tuple(cells), results)
    except NotMeasuredError as error:
        return CheckedFinding(finding.statement, NOT_MEASURED, f"needs {error}")
    return CheckedFinding(finding.statement, _outcome(evidence), evidence.numbers)


def _outcome(evidence: Evidence) -> str:
    if evidence.holds is None:
        return NOT_MEASURED
    if evidence.undecided:
        return UNDECIDED
    return HOLDS if evidence.holds else FAILS


def rank_agreement(study: Study, cells: Sequence[StudyCell], results: Results) -> RankAgreement | None:
    """Spearman's correlation of our means with the paper's numbers, or its order where it gives no number.

    Args:
        study: `compared` says which measure.
        cells: of the study; those that lack ours or the paper's do not count.
        results: ours.

    Returns:
        None for a study without a compared measure.
    """
    if study.compared is None:
        return None
    measure = study.compared
    if study.best_of is not None:
        cells = best_cells(study.best_of, measure, cells, results)
    numbers = {cell.name: cell.paper[measure] for cell in cells if measure in cell.paper}
    orders = {cell.name: cell.paper_order for cell in cells if cell.paper_order is not None}
    # Never both in one ranking: a place in an order and an accuracy cannot be compared.
    papers, against = (numbers, "the paper's numbers") if numbers else (orders, "the paper's order")
    ours = {name: summarise(results, name, measure) for name in papers}
    both = [(mine.mean, papers[name]) for name, mine in ours.items() if mine and math.isfinite(mine.mean)]
    reason = _why_unranked(both, against)
    if reason:
        return RankAgreement(None, len(both), against, reason)
    from scipy.stats import spearmanr

    rho = spearmanr([mine for mine, _ in both], [paper for _, paper in both]).statistic
    return RankAgreement(float(rho), len(both), against)


def best_cells(axis: str, measure: str, cells: Sequence[StudyCell], results: Results) -> list[StudyCell]:
    """For each label of an axis, the cell with the highest finite mean: the best of a grid, as papers report it."""
    best: dict[str, tuple[float, StudyCell]] = {}
    for cell in cells:
        mine = summarise(results, cell.name, measure)
        if mine is None or not math.isfinite(mine.mean):
            continue
        if cell.place[axis] not in best or mine.mean > best[cell.place[axis]][0]:
            best[cell.place[axis]] = mine.mean, cell
    return [cell for _, cell in best.values()]


def _why_unranked(both: Sequence[tuple[float, float]], against: str) -> str:
    if len(both) < FEWEST_RANKED:
        return f"it needs {FEWEST_RANKED} cells that have a number of ours and one of the paper, and {len(both)} do"
    if len({mine for mine, _ in both}) == 1:
        return "all our numbers are the same"
    if len({paper for _, paper in both}) == 1:
        return f"all of {against} are the same"
    try:
        import scipy.stats  # noqa: F401
    except ImportError:
        return "it needs the package scipy, which comes with the extra `evaluate` of this package"
    return ""


def csv_text(study: Study, cells: Sequence[StudyCell], results: Results) -> str:
    """A line for each cell and measure of the study, in stored units; a cell that was not run has 0 seeds."""
    axes = axes_of(cells)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["cell", *axes, "measure", "seeds", "mean", "std", "paper"])
    for cell in cells:
        for measure in study.measures:
            mine = summarise(results, cell.name, measure)
            numbers = (mine.seeds, mine.mean, mine.std) if mine else (0, "", "")
            place = (cell.place.get(axis, "") for axis in axes)
            writer.writerow([cell.name, *place, measure, *numbers, cell.paper.get(measure, "")])
    return text.getvalue()


def json_values(study: Study, cells: Sequence[StudyCell], results: Results) -> dict[str, Any]:
    """All numbers as JSON values: a cell's results by seed as they are, except for curves, which its own file keeps."""
    agreement = rank_agreement(study, cells, results)
    return {
        "study": study.name,
        "title": study.title,
        "measures": list(study.measures),
        "compared": study.compared,
        "cells": [_cell_values(cell, results) for cell in cells],
        "findings": [dataclasses.asdict(check_finding(finding, cells, results)) for finding in study.findings],
        "rank_agreement": dataclasses.asdict(agreement) if agreement else None,
    }


def _cell_values(cell: StudyCell, results: Results) -> dict[str, Any]:
    found = results.of(cell.name)
    measured = dict.fromkeys(measure for result in found for measure in result.measures)
    summaries = {measure: summarise(results, cell.name, measure) for measure in measured}
    return {
        "name": cell.name,
        "place": dict(cell.place),
        "flags": dict(cell.flags),
        "task": cell.task,
        "paper": dict(cell.paper),
        "paper_order": cell.paper_order,
        "missing": not found,
        "measures": {name: dataclasses.asdict(summary) for name, summary in summaries.items() if summary},
        "results": [
            {"seed": result.seed, "measures": result.measures, "details": result.details, "seconds": result.seconds}
            for result in found
        ],
    }


def finite(value: Any) -> Any:
    """JSON values with null for what JSON has no word for: infinities, and numbers that are none."""
    if isinstance(value, Mapping):
        return {str(key): finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
