"""Which networks are not significantly worse than the best on a data set, by the paper's permutation test (Table 8)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_simclr.evaluate.measures.paired import Paired, compare_hits, compare_scores
from tf_simclr.evaluate.report.marks import NOTHING, Bold
from tf_simclr.studies.results import Results
from tf_simclr.studies.study import MEASURES, StudyCell

METRIC_TITLES = {"top_1": "top-1", "mean_per_class": "mean per class", "map_11_point": "11-point mAP"}
# A difference with a larger p-value is none.
LEVEL = 0.05
_TABLES = {"transfer_linear": "Linear evaluation", "transfer_finetuned": "Fine-tuned"}


def compared(results: Results, measure: str, first: str, second: str) -> Paired | None:
    """Two cells on one data set: figures, difference and p-value, of what both predicted for its test images.

    Args:
        results: of the study.
        measure: with answers.
        first: name of a cell.
        second: name of a cell of the same data set; the difference is its figure less that of the first.

    Returns:
        None where one of them was not run.
    """
    answers = [_answers(results, cell, measure) for cell in (first, second)]
    if not all(answers):
        return None
    metric = answers[0][0]["metric"]
    if "scores" in answers[0][0]:
        both = min(map(len, answers))  # seeds
        scores = [[np.array(one["scores"]) for one in own[:both]] for own in answers]
        first_one = answers[0][0]
        return compare_scores(scores[0], scores[1], first_one["positives"], ignored=first_one["ignored"])
    labels = np.array(answers[0][0]["labels"])
    hits = [np.mean([np.array(one["classes"]) == labels for one in own], axis=0) for own in answers]
    return compare_hits(hits[0], hits[1], labels if metric == "mean_per_class" else None)


def _answers(results: Results, cell: str, measure: str) -> list[dict[str, Any]]:
    return [result.answers[measure] for result in results.of(cell) if measure in result.answers]


def is_worse(results: Results, measure: str, first: str, second: str) -> bool:
    """Whether the first cell is significantly worse than the second."""
    found = compared(results, measure, first, second)
    return found is not None and found.difference > 0 and found.p_value <= LEVEL


def transfer_tables(cells: Sequence[StudyCell], results: Results) -> list[tuple[str, list[list[str]]]]:
    """Table 8: a table for each way of evaluation; a row for each start, and the paper's; a column for each set.

    A figure is bold where it is not significantly worse than the best of its column.
    """
    sets = list(dict.fromkeys(cell.place["data set"] for cell in cells))
    metrics = {cell.place["data set"]: cell.options["metric"] for cell in cells}
    tables = []
    for measure, title in _TABLES.items():
        own = [cell for cell in cells if results.values(cell.name, measure)]
        if not own:
            continue
        rows = [["start", *(f"{name}, {METRIC_TITLES[metrics[name]]}" for name in sets)]]
        place = {(cell.place["start"], cell.place["data set"]): cell for cell in cells}
        for start in dict.fromkeys(cell.place["start"] for cell in cells):
            shown = [place.get((start, name)) for name in sets]
            if any(cell in own for cell in shown):
                rows.append([start, *(_figure(cell, own, results, measure) for cell in shown)])
            if any(cell is not None and measure in cell.paper for cell in shown):
                rows.append([f"paper: {start}", *(_paper(cell, measure) for cell in shown)])
        caption = f"{title} (%); bold: not significantly worse than the best on the data set, p > {LEVEL}"
        tables.append((caption, rows))
    return tables


def _figure(cell: StudyCell | None, own: Sequence[StudyCell], results: Results, measure: str) -> str:
    if cell is None or cell not in own:
        return NOTHING
    of_set = [other for other in own if other.place["data set"] == cell.place["data set"]]
    mean = functools.partial(results.mean, measure=measure)
    best = max(of_set, key=lambda other: mean(other.name))
    text = MEASURES[measure].show(mean(cell.name))
    worse = cell is not best and is_worse(results, measure, cell.name, best.name)
    return text if worse else Bold(text)


def _paper(cell: StudyCell | None, measure: str) -> str:
    return NOTHING if cell is None or measure not in cell.paper else MEASURES[measure].show(cell.paper[measure])
