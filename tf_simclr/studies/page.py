"""The page of a study: index.html and README.md with the same content, numbers.csv and numbers.json."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

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
from tf_simclr.studies.document import (
    Block,
    Bullets,
    Code,
    Heading,
    Image,
    Links,
    Paragraph,
    Table,
    html_page,
    markdown_page,
)
from tf_simclr.studies.results import Results
from tf_simclr.studies.study import MEASURES, Measure, Study, StudyCell

PAGE, MARKDOWN, CSV, JSON = "index.html", "README.md", "numbers.csv", "numbers.json"
_MARKS = {HOLDS: "good", FAILS: "bad", UNDECIDED: "open", NOT_MEASURED: "open"}


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
    tf.io.gfile.makedirs(directory)
    shown = [_image(title, path, directory) for title, path in images]
    blocks = _content(study, cells, results, setting, shown)
    path = os.path.join(directory, PAGE)
    values = {"setting": dataclasses.asdict(setting), **json_values(study, cells, results)}
    write_whole(os.path.join(directory, CSV), csv_text(study, cells, results).encode())
    write_json(os.path.join(directory, JSON), finite(values))
    write_whole(os.path.join(directory, MARKDOWN), markdown_page(study.title, blocks).encode())
    write_whole(path, html_page(study.title, blocks).encode())
    return path


def _image(title: str, path: str, directory: str) -> Image:
    with tf.io.gfile.GFile(path, "rb") as file:
        png = file.read()
    link = PurePath(os.path.relpath(path, directory)).as_posix()
    return Image(title, f"Figure: {title}", png, link)


def _content(
    study: Study, cells: Sequence[StudyCell], results: Results, setting: Setting, images: Sequence[Image]
) -> list[Block]:
    blocks: list[Block] = [
        Paragraph(study.question, "Question"),
        Paragraph(study.paper_says, "The paper says"),
        Heading("Findings"),
        _findings(study, cells, results),
        *_agreement(study, rank_agreement(study, cells, results)),
    ]
    if images:
        blocks += [Heading("Figures"), Paragraph("Where a cell has no number, it is hatched or left out."), *images]
    blocks += [Heading("All cells"), _cell_table(study, cells, results), *_left_out(study, cells, results)]
    blocks += [Heading("Missing"), *_missing(cells, results, setting.seeds)]
    blocks += [Heading("Setting"), _setting_table(setting), Paragraph("The command:"), Code(setting.command)]
    if setting.differences:
        blocks += [Heading("What differs from the paper"), Bullets(setting.differences)]
    files = [(name, name) for name in (CSV, JSON)]
    return [*blocks, Links("All numbers, accuracies as shares in [0, 1]:", files)]


# ---- What the results say ----


def _findings(study: Study, cells: Sequence[StudyCell], results: Results) -> Block:
    if not study.findings:
        return Paragraph("This study checks no finding.")
    checked = [check_finding(finding, cells, results) for finding in study.findings]
    held = sum(one.outcome == HOLDS for one in checked)
    rows = [["finding of the paper", "here", "numbers"], *([j.statement, j.outcome, j.numbers] for j in checked)]
    return Table(f"{held} of {len(checked)} findings hold here", rows, _MARKS)


def _agreement(study: Study, agreement: RankAgreement | None) -> list[Block]:
    if agreement is None or study.compared is None:
        return []
    label = MEASURES[study.compared].label
    if agreement.rho is None:
        return [Paragraph(f"of {label} with the paper is undefined: {agreement.reason}.", "Rank agreement")]
    return [
        Paragraph(
            f"Spearman's correlation of our {label} with {agreement.against} over {agreement.cells} cells is "
            f"{agreement.rho:.2f}; 1 is the same order, 0 no relation, -1 the reverse.",
            "Rank agreement",
        )
    ]


# ---- Numbers ----


def _cell_table(study: Study, cells: Sequence[StudyCell], results: Results) -> Table:
    """Where each cell stands and what was measured in it, beside the paper's numbers."""
    axes = axes_of(cells)
    columns = _columns(study, cells, results)
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
    caption = "Mean ± standard deviation over seeds, and the paper's numbers where it gives them"
    return Table(caption, rows, figures=True)


def _columns(study: Study, cells: Sequence[StudyCell], results: Results) -> list[tuple[str, bool, bool]]:
    """The measures, and whether ours and the paper's have a number anywhere."""
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


def _left_out(study: Study, cells: Sequence[StudyCell], results: Results) -> list[Block]:
    names = [MEASURES[name].label for name, ours, _ in _columns(study, cells, results) if not ours]
    return [Paragraph("; ".join(names), "In no cell measured")] if names else []


def _missing(cells: Sequence[StudyCell], results: Results, seeds: Sequence[int]) -> list[Block]:
    """The cells that lack results, by name."""
    lacking = {cell.name: missing_seeds(cell.name, results, seeds) for cell in cells}
    lines = []
    for name, missing in lacking.items():
        if not results.of(name):
            lines.append(f"{name}: not run")
        elif missing:
            lines.append(f"{name}: not run with seed {', '.join(map(str, missing))}")
    if not lines:
        return [Paragraph(f"Nothing: all {len(cells)} cells were run with every seed.")]
    return [Paragraph(f"{len(lines)} of {len(cells)} cells lack results:"), Bullets(lines)]


def _setting_table(setting: Setting) -> Table:
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
    return Table("How it was run", [["setting", "value"], *([name, fact] for name, fact in facts.items() if fact)])
