"""The page of a study: index.html and README.md with the same content, numbers.csv and numbers.json."""

from __future__ import annotations

import base64
import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, TypeAlias

import tensorflow as tf

from tf_simclr.evaluate.report.tables import NOTHING, duration
from tf_simclr.files import write_json, write_whole
from tf_simclr.studies.comparison import (
    FAILS,
    HOLDS,
    NOT_MEASURED,
    UNDECIDED,
    RankAgreement,
    Summary,
    axes_of,
    check_finding,
    csv_text,
    finite,
    json_values,
    missing_seeds,
    rank_agreement,
    summarise,
)
from tf_simclr.studies.document import render
from tf_simclr.studies.results import Results
from tf_simclr.studies.study import MEASURES, Measure, Study, StudyCell

PAGE, MARKDOWN, CSV, JSON = "index.html", "README.md", "numbers.csv", "numbers.json"
# The class of an outcome in the style sheet.
_MARKS = {HOLDS: "good", FAILS: "bad", UNDECIDED: "open", NOT_MEASURED: "open"}
_NUMBERS = "Mean ± standard deviation over seeds, and the paper's numbers where it gives them"
# Of each measure of a study: its name, and whether any cell has a number of ours, and one of the paper's.
Columns: TypeAlias = list[tuple[str, bool, bool]]


@dataclass(frozen=True)
class Setting:
    """How a study was run.

    Attributes:
        command: the command line that runs it.
        scale: of the study.
        dataset: what its images are.
        seeds: with which every cell is run.
        flags: those of all cells that differ from their defaults, by name.
        date: as it shall stand on the page.
        seconds: the time it took.
        versions: of the software, by name.
        machine: what it ran on; empty to say nothing.
        differences: what differs from the paper, a sentence each.
    """

    command: str
    scale: str
    dataset: str
    seeds: tuple[int, ...]
    flags: Mapping[str, Any] = field(default_factory=dict)
    date: str = ""
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: str = ""
    differences: tuple[str, ...] = ()


def write_page(
    study: Study,
    cells: Sequence[StudyCell],
    results: Results,
    setting: Setting,
    images: Sequence[tuple[str, str]],
    directory: str,
) -> str:
    """Writes index.html, README.md, numbers.csv and numbers.json, each whole or not at all.

    Args:
        study: what was asked.
        cells: all that belong to it, measured or not.
        results: what was found.
        setting: how.
        images: title and path of each PNG, in the order they are shown.
        directory: made where it is missing.

    Returns:
        the path of index.html.
    """
    shown = [_image(title, path, directory) for title, path in images]
    content = _content(study, cells, results, setting, shown)
    values = {"setting": dataclasses.asdict(setting), **json_values(study, cells, results)}
    texts = {
        CSV: csv_text(study, cells, results),
        MARKDOWN: render("page.md", content),
        PAGE: render("page.html", content),
    }
    tf.io.gfile.makedirs(directory)
    write_json(os.path.join(directory, JSON), finite(values))
    for name, text in texts.items():
        write_whole(os.path.join(directory, name), text.encode())
    return os.path.join(directory, PAGE)


def _content(
    study: Study, cells: Sequence[StudyCell], results: Results, setting: Setting, images: Sequence[dict[str, str]]
) -> dict[str, Any]:
    """The variables of the templates: texts, lists of them, and tables as rows with the header first."""
    columns = _columns(study, cells, results)
    return {
        "title": study.title,
        "question": study.question,
        "paper_says": study.paper_says,
        "findings": findings_of(study, cells, results),
        "marks": _MARKS,
        "agreement": _agreement(study, rank_agreement(study, cells, results)),
        "images": images,
        "tables": _tables(study, cells, results),
        "cells": _cell_table(columns, cells, results),
        "cells_caption": _NUMBERS if study.measures else "Nothing is measured: the cells are drawn",
        "left_out": "; ".join(MEASURES[name].label for name, ours, _ in columns if not ours),
        "missing": _missing(cells, results, setting.seeds),
        "facts": _setting_table(setting),
        "command": setting.command,
        "differences": setting.differences,
        "files": [CSV, JSON],
    }


def _image(title: str, path: str, directory: str) -> dict[str, str]:
    """A PNG: whole in the HTML page, and a link relative to the page in the Markdown page."""
    with tf.io.gfile.GFile(path, "rb") as file:
        data = base64.b64encode(file.read()).decode()
    return {"title": title, "base64": data, "link": PurePath(os.path.relpath(path, directory)).as_posix()}


# ---- What the results say ----


def findings_of(study: Study, cells: Sequence[StudyCell], results: Results) -> dict[str, Any] | None:
    """The findings as a table with a caption: what the paper says, the outcome here, the numbers; None without any."""
    if not study.findings:
        return None
    checked = [check_finding(finding, cells, results) for finding in study.findings]
    held = sum(one.outcome == HOLDS for one in checked)
    rows = [["finding of the paper", "here", "numbers"], *([j.statement, j.outcome, j.numbers] for j in checked)]
    return {"caption": f"{held} of {len(checked)} findings hold here", "rows": rows}


def _agreement(study: Study, agreement: RankAgreement | None) -> str:
    if agreement is None or study.compared is None:
        return ""
    label = MEASURES[study.compared].label
    if agreement.rho is None:
        return f"of {label} with the paper is undefined: {agreement.reason}."
    return (
        f"Spearman's correlation of our {label} with {agreement.against} over {agreement.cells} cells is "
        f"{agreement.rho:.2f}; 1 is the same order, 0 no relation, -1 the reverse."
    )


def _tables(study: Study, cells: Sequence[StudyCell], results: Results) -> list[dict[str, Any]]:
    """The study's own tables."""
    found = [] if study.tables is None else study.tables(cells, results)
    return [{"caption": caption, "rows": rows} for caption, rows in found]


# ---- Numbers ----


def _cell_table(columns: Columns, cells: Sequence[StudyCell], results: Results) -> list[list[str]]:
    """Where each cell stands and what was measured in it, beside the paper's numbers."""
    axes = axes_of(cells)
    header = ["cell", *axes, "seeds"]
    for name, ours, papers in columns:
        label = MEASURES[name].label
        header += [label] * ours + [f"paper: {label}"] * papers
    with_order = any(cell.paper_order is not None for cell in cells)
    rows = [header + ["paper: place in its order, from the lowest"] * with_order]
    for cell in cells:
        seeds = len(results.of(cell.name))
        row = [cell.name, *(cell.place.get(axis, "") for axis in axes), str(seeds)]
        for name, ours, papers in columns:
            measure = MEASURES[name]
            row += [_number(measure, summarise(results, cell.name, name), seeds)] * ours
            row += [measure.show(cell.paper[name]) if name in cell.paper else NOTHING] * papers
        order = NOTHING if cell.paper_order is None else f"{cell.paper_order:g}"
        rows.append(row + [order] * with_order)
    return rows


def _columns(study: Study, cells: Sequence[StudyCell], results: Results) -> Columns:
    return [
        (name, any(results.values(c.name, name) for c in cells), any(name in c.paper for c in cells))
        for name in study.measures
    ]


def _number(measure: Measure, summary: Summary | None, seeds: int) -> str:
    """As "63.2 ± 0.4"; one seed has no deviation, and fewer seeds than the cell has are named."""
    if summary is None:
        return NOTHING
    spread = f" ± {measure.show(summary.std)}" if summary.seeds > 1 else ""
    fewer = f" ({summary.seeds} of {seeds} seeds)" if summary.seeds < seeds else ""
    return measure.show(summary.mean) + spread + fewer


def _missing(cells: Sequence[StudyCell], results: Results, seeds: Sequence[int]) -> list[str]:
    """A line for each cell that lacks results."""
    lacking = {cell.name: missing_seeds(cell.name, results, seeds) for cell in cells}
    lines = []
    for name, missing in lacking.items():
        if not results.of(name):
            lines.append(f"{name}: not run")
        elif missing:
            lines.append(f"{name}: not run with seed {', '.join(map(str, missing))}")
    return lines


def _setting_table(setting: Setting) -> list[list[str]]:
    facts = {
        "scale": setting.scale,
        "data set": setting.dataset,
        "seeds": ", ".join(map(str, setting.seeds)),
        "flags of all cells": " ".join(f"--{name}={value}" for name, value in setting.flags.items()),
        "date": setting.date,
        "time, all cells one after the other": duration(setting.seconds),
        "machine": setting.machine,
        "software": ", ".join(f"{name} {version}" for name, version in setting.versions.items()),
    }
    return [["setting", "value"], *([name, fact] for name, fact in facts.items() if fact)]
