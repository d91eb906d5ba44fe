"""The tables of a report: rows of text, the header first, and the three ways to set them."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from tf_simclr.escape import as_text
from tf_simclr.evaluate.measures.baselines import LARGEST_CLASS
from tf_simclr.evaluate.measures.metrics import SeedSummary
from tf_simclr.evaluate.records import PRETRAINED
from tf_simclr.evaluate.report.marks import NOTHING as NOTHING
from tf_simclr.evaluate.report.marks import Bold
from tf_simclr.evaluate.report.paper_results import Reference
from tf_simclr.evaluate.report.subject import Subject
from tf_simclr.evaluate.report.summary import TITLES, Row, main_metric

# The metrics that have a column of their own beside that of --metric.
_BESIDE = ("top_1", "mean_per_class", "top_5")
# What Markdown would take for its own. An underscore inside a word is none of it.
_MARKDOWN = re.compile(r"[\\|*<`~\[\]]|(?<![^\W_])_|_(?![^\W_])")

TextRows = list[list[str]]
# How the figures of `health` are read; their names are those of its metrics.
_READING = {
    "alignment": "distance of two views of an image: 0 alike, 4 opposite",
    "contrastive_accuracy": "how often the other view is the nearest",
    "contrastive_entropy": "of the softmax over the views, in nats",
    "contrastive_loss": "NT-Xent of these views, in nats",
    "effective_rank": "dimensions that the features use",
    "std_ratio": "1 spread, 0 all images alike",
    "uniformity": "0 all images alike, lower is more spread",
    "zero_rows": "share of images with features of 0 alone",
}


def result_rows(subject: Subject, rows: Sequence[Row], *, narrow: bool = False) -> TextRows:
    """The table of all protocols but `health`; empty where there is no other.

    Args:
        subject: what the rows are about.
        rows: of `summarise`.
        narrow: for a terminal: only the first metric has its interval.
    """
    shown = [row for row in rows if not row.is_health]
    if not shown:
        return []
    title = TITLES.get(subject.metric, subject.metric)
    others = [name for name in _BESIDE if name != subject.metric and any(name in row.metrics for row in shown)]
    columns: dict[str, Callable[[Row], str]] = {
        "protocol": lambda row: row.first.protocol,
        "encoder": lambda row: row.first.encoder,
        "endpoint, setting": lambda row: row.where,
        f"{title} [95%]" if any(row.intervals for row in shown) else title: lambda row: _main_figure(subject, row),
        **{TITLES[name]: functools.partial(_figure, name=name, plain=narrow) for name in others},
    }
    if any(row.without_twins for row in shown):
        columns["without twins"] = lambda row: _without_twins(row, main_metric(subject, row.metrics))
    if any(row.references for row in shown):
        columns["paper"] = lambda row: _paper(row.references, main_metric(subject, row.metrics))
    if any(row.mark for row in shown):
        columns["mark"] = lambda row: row.mark
    columns |= {"seeds": _seeds, "time": lambda row: duration(row.seconds)}
    table = [list(columns), *_baseline_rows(subject, [subject.metric, *others], len(columns))]
    return [*table, *([show(row) for show in columns.values()] for row in shown)]


def _baseline_rows(subject: Subject, metrics: Sequence[str], width: int) -> TextRows:
    """The rows of the classifiers that learn nothing, for the metrics whose columns follow those that name a row."""
    table = []
    for name, figures in subject.baselines.items():
        always = f"always {subject.largest_class}" if name == LARGEST_CLASS and subject.largest_class else NOTHING
        points = [f"{100 * figures[metric]:.1f}" if metric in figures else NOTHING for metric in metrics]
        table.append([name, NOTHING, always, *points, *[NOTHING] * (width - 3 - len(points))])
    return table


def _main_figure(subject: Subject, row: Row) -> str:
    main = main_metric(subject, row.metrics)
    figure = _figure(row, main)
    return figure if main == subject.metric else f"{figure} ({TITLES.get(main, main)})"


def _figure(row: Row, name: str, plain: bool = False) -> str:
    """A metric of a row with its interval, as "57.7 ± 0.3 [53.0, 62.2]"; without it where it is to be plain."""
    if name not in row.metrics:
        return NOTHING
    ends = None if plain else row.intervals.get(name)
    interval = "" if ends is None else f" [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"
    return in_points(row.metrics[name]) + interval


def _without_twins(row: Row, metric: str) -> str:
    found = row.without_twins.get(metric)
    return NOTHING if found is None else in_points(found)


def health_rows(rows: Sequence[Row]) -> TextRows:
    """The table of `health`, a line for each of its figures; empty where it was not asked for.

    Encoders stand side by side: they are what is compared, and eight figures would not fit into a terminal's width.
    """
    shown = [row for row in rows if row.is_health]
    if not shown:
        return []
    names = list(dict.fromkeys(name for row in shown for name in row.metrics))
    table = [["", *(f"{row.first.encoder}, {row.where}" for row in shown), "how to read it"]]
    for name in names:
        figures = [_as_it_is(row.metrics[name]) if name in row.metrics else NOTHING for row in shown]
        table.append([name.replace("_", " "), *figures, _READING.get(name, "")])
    return [*table, ["seeds", *map(_seeds, shown), ""], ["time", *(duration(row.seconds) for row in shown), ""]]


def per_class_rows(subject: Subject, rows: Sequence[Row]) -> TextRows:
    """The table of the classes, a column for each protocol on the pretrained encoder; empty where none tells."""
    shown = [(row, row.per_class) for row in rows if row.first.encoder == PRETRAINED]
    columns = {_column_name(row, rows): values for row, values in shown if values is not None}
    if not columns:
        return []
    table = [["class", *columns]]
    for name, *values in zip(subject.class_names, *columns.values(), strict=True):
        table.append([name, *(NOTHING if value is None else f"{100 * value:.1f}" for value in values)])
    return table


def warning_lines(rows: Sequence[Row]) -> list[str]:
    """The warnings of all rows, each with what it is about."""
    return [
        f"{row.first.protocol}, {row.first.encoder}, {row.where}: {warning}" for row in rows for warning in row.warnings
    ]


def source_lines(rows: Sequence[Row]) -> list[str]:
    """Where the paper's figures are from, by protocol, each once."""
    lines = (
        f"Paper, {row.first.protocol}, {TITLES.get(name, name)} {100 * reference.value:.1f}: {reference.source}"
        for row in rows
        for name, reference in row.references.items()
    )
    return list(dict.fromkeys(lines))


def in_points(summary: SeedSummary) -> str:
    """A share in [0, 1] in points, as "76.5 ± 0.3"; one run has no deviation."""
    spread = "" if summary.std is None else f" ± {100 * summary.std:.1f}"
    return f"{100 * summary.mean:.1f}{spread}"


def duration(seconds: float) -> str:
    """As "3.2 s", "4 min 10 s", "2 h 5 min"."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def markdown_table(rows: TextRows) -> str:
    """The rows as a table of Markdown."""
    header, *others = ["| " + " | ".join(map(_in_markdown, row)) + " |" for row in rows]
    return "\n".join([header, "|" + " --- |" * len(rows[0]), *others])


def _in_markdown(text: str) -> str:
    return f"**{escape_markdown(text)}**" if isinstance(text, Bold) else escape_markdown(text)


def escape_markdown(text: str) -> str:
    """The text on one line, with a backslash before what Markdown would take for its own."""
    return _MARKDOWN.sub(r"\\\g<0>", as_text(" ".join(text.split())))


def plain_table(rows: TextRows) -> str:
    """The rows as lines of aligned columns."""
    rows = [[as_text(text) for text in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    padded = ([text + " " * (width - cell_len(text)) for text, width in zip(row, widths, strict=True)] for row in rows)
    return "\n".join("  ".join(row).rstrip() for row in padded)


def terminal_table(rows: TextRows, title: str) -> Table:
    """The rows as rich draws them."""
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(Text(as_text(name)))
    for row in rows[1:]:
        table.add_row(*(Text(as_text(text)) for text in row))  # text and no markup: a class may be called "[red]"
    return table


def _paper(references: dict[str, Reference], main: str) -> str:
    """The paper's figures, as "69.3 (top-5: 89.0)"; that of the main metric needs no name."""
    named = [
        f"{TITLES.get(name, name)}: {100 * reference.value:.1f}"
        for name, reference in references.items()
        if name != main
    ]
    if main not in references:
        return ", ".join(named) or NOTHING
    return f"{100 * references[main].value:.1f}" + (f" ({', '.join(named)})" if named else "")


def _as_it_is(summary: SeedSummary) -> str:
    spread = "" if summary.std is None else f" ± {summary.std:.3f}"
    return f"{summary.mean:.3f}{spread}"


def _seeds(row: Row) -> str:
    return ", ".join(NOTHING if record.seed is None else str(record.seed) for record in row.records)


def _column_name(row: Row, rows: Sequence[Row]) -> str:
    """The protocol, and what tells it from others of its name on the pretrained encoder."""
    protocol = row.first.protocol
    namesakes = [other for other in rows if other.first.protocol == protocol and other.first.encoder == PRETRAINED]
    return protocol if len(namesakes) == 1 else f"{protocol}, {row.where}"
