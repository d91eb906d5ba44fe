"""Reads two evaluations, compares them, and shows the table."""

from __future__ import annotations

from rich.console import Console

from tf_simclr.cli.main import say
from tf_simclr.config.compare import CompareConfig
from tf_simclr.evaluate.report.comparison import ComparedRow, compare_evaluations, comparison_rows
from tf_simclr.evaluate.report.stored import StoredEvaluation, read_evaluation
from tf_simclr.evaluate.report.tables import plain_table, terminal_table
from tf_simclr.files import write_json

FORMAT = 1


def run(config: CompareConfig) -> tuple[ComparedRow, ...]:
    """Compares two evaluations, prints the table, and writes it where that was asked for.

    Raises:
        InputError: what a person can fix.
    """
    a, b = (read_evaluation(name, getattr(config, name)) for name in ("run_a", "run_b"))
    rows = compare_evaluations(a, b, row_a=config.row_a, row_b=config.row_b, seed=config.compare_seed)
    for letter, one in (("A", a), ("B", b)):
        say(f"{letter}: {one.directory}, {one.subject.network} at step {one.subject.step}")
    say(f"{a.images}; figures in points")
    table, console = comparison_rows(rows), Console()
    if console.file.isatty():
        console.print(terminal_table(table, "B against A"))
    else:
        console.file.write(f"{plain_table(table)}\n")
    if config.out:
        write_json(config.out, _values(a, b, rows))
        say(f"written to {config.out}")
    return tuple(rows)


def _values(a: StoredEvaluation, b: StoredEvaluation, rows: list[ComparedRow]) -> dict[str, object]:
    sides = {name: {"directory": one.directory, "digest": one.subject.digest} for name, one in (("a", a), ("b", b))}
    return {"format": FORMAT, **sides, "rows": [row.to_json() for row in rows]}
