"""The report of an evaluation: report.json for programs, report.md for people, and files for each row.

Each row has a plot of its confusion matrix and a table of what it predicted for every image.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from rich.console import Console

from tf_simclr.escape import as_text
from tf_simclr.evaluate.predictions import EvaluatedImages, predictions_table
from tf_simclr.evaluate.records import Record
from tf_simclr.evaluate.report.confusion_plot import draw_confusion
from tf_simclr.evaluate.report.head import head_facts, twin_lines
from tf_simclr.evaluate.report.place import JSON_FILE as JSON_FILE
from tf_simclr.evaluate.report.subject import Subject
from tf_simclr.evaluate.report.summary import Row, summarise
from tf_simclr.evaluate.report.tables import (
    NOTHING,
    escape_markdown,
    health_rows,
    markdown_table,
    per_class_rows,
    plain_table,
    result_rows,
    source_lines,
    terminal_table,
    warning_lines,
)
from tf_simclr.files import write_json, write_whole

FORMAT = 1
MARKDOWN_FILE, PREDICTIONS = "report.md", "predictions"
_RESULTS, _HEALTH = "Protocols, in points", "Health of the representation"


@dataclass(frozen=True)
class ReportPaths:
    """Where a report was written.

    Attributes:
        json: report.json.
        markdown: report.md.
        plots: the confusion matrices, in the order of the rows they belong to.
        predictions: the tables of predictions, in the order of the rows they belong to.
    """

    json: str
    markdown: str
    plots: tuple[str, ...]
    predictions: tuple[str, ...] = ()


def report_values(subject: Subject, records: Sequence[Record]) -> dict[str, Any]:
    """What report.json says: the subject, the rows over the seeds, and the records as they are.

    Args:
        subject: what the records are about.
        records: at least one.

    Raises:
        InputError: as `summarise`.
    """
    return {
        "format": FORMAT,
        "subject": subject.to_json(),
        "rows": [row.to_json() for row in summarise(subject, records)],
        "cells": [record.to_json() for record in records],
    }


def report_markdown(subject: Subject, records: Sequence[Record]) -> str:
    """What report.md says. Arguments and errors as `report_values`."""
    rows = summarise(subject, records)
    parts = [f"# Evaluation of {escape_markdown(subject.checkpoint)}", _describe(subject)]
    for title, table in ((_RESULTS, result_rows(subject, rows)), (_HEALTH, health_rows(rows))):
        if table:
            parts += [f"## {title}", markdown_table(table)]
    notes = [f"Warning: {line}" for line in warning_lines(rows)] + source_lines(rows)
    if notes:
        parts.append("\n".join(f"- {escape_markdown(line)}" for line in notes))
    parts += _per_class_parts(subject, rows)
    if subject.twins is not None:
        parts.append("## Copies of training images")
        parts.append("\n".join(f"- {escape_markdown(line)}" for line in twin_lines(subject)))
    plots = _plot_names(rows)
    if plots:
        links = [f"![{escape_markdown(_title(row))}]({name})" for name, row in plots.items()]
        parts += ["## Confusion matrices", *links]
    return "\n\n".join(parts) + "\n"


def print_report(subject: Subject, records: Sequence[Record], console: Console) -> None:
    """Prints the tables: drawn on a terminal, as plain lines elsewhere.

    Args:
        subject: what the records are about.
        records: at least one.
        console: where to; `console.file` tells whether it is a terminal.

    Raises:
        InputError: as `summarise`.
    """
    rows = summarise(subject, records)
    console.file.writelines(f"{name}: {fact}\n" for name, fact in head_facts(subject).items())
    # Asked of the file: rich would take a pipe for a terminal where FORCE_COLOR is set, as it is below Jupyter.
    on_terminal = console.file.isatty()
    results = result_rows(subject, rows, narrow=on_terminal)
    for title, table in ((_RESULTS, results), (_HEALTH, health_rows(rows))):
        if table and on_terminal:
            console.print(terminal_table(table, title))
        elif table:
            console.file.write(f"{title}\n{plain_table(table)}\n")
    lines = [f"Warning: {line}" for line in warning_lines(rows)] + source_lines(rows)
    console.file.writelines(f"{as_text(line)}\n" for line in lines)


def write_report(
    directory: str, subject: Subject, records: Sequence[Record], images: EvaluatedImages | None = None
) -> ReportPaths:
    """Writes report.json, report.md, plots and predictions; each file is the old one or the new one, never a half.

    Plots and predictions of an earlier report in the directory, whose rows are not in this one, are removed.

    Args:
        directory: made where it is missing.
        subject: what the records are about.
        records: at least one.
        images: what the predictions are about; None writes no predictions.

    Raises:
        InputError: as `summarise`; matplotlib is missing and there is something to plot, the other two files being
            written by then.
    """
    values = report_values(subject, records)
    rows = summarise(subject, records)
    plots = _plot_names(rows)
    tables = {} if images is None else _prediction_names(rows)
    tf.io.gfile.makedirs(directory)
    paths = ReportPaths(
        os.path.join(directory, JSON_FILE),
        os.path.join(directory, MARKDOWN_FILE),
        tuple(os.path.join(directory, name) for name in plots),
        tuple(os.path.join(directory, PREDICTIONS, name) for name in tables),
    )
    write_json(paths.json, values, indent=None)
    # A file's name may hold bytes that are no UTF-8.
    write_whole(paths.markdown, report_markdown(subject, records).encode("utf-8", "backslashreplace"))
    if images is not None:
        _write_predictions(paths.predictions, list(tables.values()), images)
    for path, row in zip(paths.plots, plots.values(), strict=True):
        counts = row.confusion
        assert counts is not None, "only rows with a matrix have a plot"
        write_whole(path, draw_confusion(counts, subject.class_names, _title(row)))
    _remove_others(directory, "confusion_", ".png", paths.plots)
    _remove_others(os.path.join(directory, PREDICTIONS), "", ".csv", paths.predictions)
    return paths


def _write_predictions(paths: Sequence[str], rows: Sequence[Row], images: EvaluatedImages) -> None:
    for path, row in zip(paths, rows, strict=True):
        tf.io.gfile.makedirs(os.path.dirname(path))
        predicted = [(record.seed, record.predicted) for record in row.records if record.predicted is not None]
        write_whole(path, predictions_table(predicted, images))


def _remove_others(directory: str, start: str, end: str, kept: Sequence[str]) -> None:
    """Removes files of an earlier report, which would be taken for a part of this one."""
    if not tf.io.gfile.isdir(directory):
        return
    names = {os.path.basename(path) for path in kept}
    for name in tf.io.gfile.listdir(directory):
        if name.startswith(start) and name.endswith(end) and name not in names:
            tf.io.gfile.remove(os.path.join(directory, name))


def _describe(subject: Subject) -> str:
    """What was evaluated, as a list."""
    facts = "\n".join(f"- {name}: {escape_markdown(fact)}" for name, fact in head_facts(subject).items())
    # A block of code, so that it can be pasted as it is.
    return f"{facts}\n\n```bash\n{subject.command}\n```" if subject.command else facts


def _per_class_parts(subject: Subject, rows: Sequence[Row]) -> list[str]:
    table = per_class_rows(subject, rows)
    if not table:
        return []
    parts = ["## Classes, in points", markdown_table(table)]
    if any(NOTHING in row[1:] for row in table[1:]):
        parts.append(f"Where {NOTHING} stands, no evaluated image shows the class.")
    return parts


def _plot_names(rows: Sequence[Row]) -> dict[str, Row]:
    """The rows that have a confusion matrix, each by the name of its file."""
    return {f"confusion_{name}.png": row for name, row in row_names(rows).items() if row.confusion is not None}


def _prediction_names(rows: Sequence[Row]) -> dict[str, Row]:
    """The rows that have predictions, each by the name of its file."""
    return {
        f"{name}.csv": row
        for name, row in row_names(rows).items()
        if any(record.predicted is not None for record in row.records)
    }


def row_names(rows: Sequence[Row]) -> dict[str, Row]:
    """The rows of classifications, each by the name of its table of predictions, without its ending."""
    shown = [row for row in rows if not row.is_health]
    short = [_file_name(row.first.protocol, row.first.encoder, row.first.endpoint) for row in shown]
    names: dict[str, Row] = {}
    for row, name in zip(shown, short, strict=True):
        record = row.first
        # The setting only where it is needed to tell two apart, and a number where even that is not enough.
        wanted = (
            name
            if short.count(name) == 1
            else _file_name(record.protocol, record.encoder, record.endpoint, record.setting)
        )
        numbered = [wanted, *(f"{wanted}_{number}" for number in range(2, len(shown) + 1))]
        names[next(free for free in numbered if free not in names)] = row
    return names


def _file_name(*parts: str | None) -> str:
    """The parts that are there, without what a file system or a link may not take."""
    safe = (re.sub(r"[^A-Za-z0-9_.=]+", "-", part).strip("-.") for part in parts if part)
    return "_".join(part for part in safe if part)[:140]


def _title(row: Row) -> str:
    seeds = f" ({len(row.records)} seeds added up)" if len(row.records) > 1 else ""
    return f"{row.first.protocol}, {row.first.encoder}, {row.where}{seeds}"
