"""Choose the images of an index to label first."""

from __future__ import annotations

from tf_simclr.cli import flags
from tf_simclr.cli.index_results import INDEX, RESULT, IndexResult, Results
from tf_simclr.cli.main import say
from tf_simclr.config import SelectConfig
from tf_simclr.index.page import Section
from tf_simclr.index.selection import pool_of, select

USAGE = """usage: python -m tf_simclr select --index=INDEX --n=100 [flags]

Chooses images that are worth a label. The table has them in order: the first k are a good choice of k. Where some
images have labels, it chooses among the others."""
SELECT = flags.Group(SelectConfig)
FLAG_GROUPS = (INDEX, SELECT, RESULT)
HEADINGS = ("rank", "row", "path", "class")
_OF_A_PAGE = 500


def main(parsed: flags.ParsedFlags) -> IndexResult:
    """Runs the task."""
    wanted: SelectConfig = SELECT.build(parsed.values)
    wanted.validate()
    results = Results(parsed, "select")
    index = results.index
    pool = pool_of(index)
    if len(pool.known):
        say(f"note: {len(pool.known):,} images have labels: choosing among the other {len(pool.candidates):,}")
    number = min(wanted.n, len(pool.candidates))
    if number < wanted.n:
        say(f"note: all {number} images are taken, fewer than --n={wanted.n}")
    rows = select(index, number, wanted.strategy, wanted.seed, pool).tolist()
    lines = [(rank, row, results.name(row), index.rows[row].label) for rank, row in enumerate(rows, 1)]
    shown = Section(f"{len(rows):,} images, {wanted.strategy}", [results.tile(row) for row in rows[:_OF_A_PAGE]])
    return results.write(HEADINGS, lines, "Images to label first", [shown])
