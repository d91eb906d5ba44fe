"""What the tasks on an index have in common: they open it, and write a table and a page."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len

from tf_simclr.cli import flags
from tf_simclr.cli.main import say
from tf_simclr.config import IndexConfig, ResultConfig
from tf_simclr.config.paths import require_folder
from tf_simclr.escape import as_text
from tf_simclr.index.contents import Contents
from tf_simclr.index.page import Section, Tile, require_page, write_page
from tf_simclr.index.store import Index, open_index
from tf_simclr.index.tables import write_csv

# Rows of a table that are printed; the file has all of them.
_SHOWN = 5
INDEX, RESULT = flags.Group(IndexConfig), flags.Group(ResultConfig)


@dataclass(frozen=True)
class IndexResult:
    """What a task found.

    Attributes:
        headings: of the columns.
        lines: of the table, as it was written.
        csv: path of the table; None where it was not written.
        page: path of the page; None without one.
        exit_code: of the program that does the same.
    """

    headings: tuple[str, ...]
    lines: tuple[tuple[object, ...], ...] = field(default_factory=tuple)
    csv: str | None = None
    page: str | None = None
    exit_code: int = 0


class Results:
    """An index, and where what is found in it goes.

    Args:
        parsed: flags of INDEX and RESULT.
        task: whose default table is INDEX/TASK.csv; "" for none.

    Raises:
        InputError: no index, a damaged one, or a file that cannot be written.
    """

    def __init__(self, parsed: flags.ParsedFlags, task: str = ""):
        where: IndexConfig = INDEX.build(parsed.values)
        result: ResultConfig = RESULT.build(parsed.values)
        where.validate()
        result.validate()
        self._csv, self._page = result.csv, result.page
        if self._csv:
            require_folder("csv", self._csv)
        if self._page:
            require_page(self._page)
        self.index: Index = open_index(where.directory)
        self._contents = Contents(self.index)
        self._task = task
        if task and not self._csv:
            self._csv = os.path.join(where.directory, f"{task}.csv")

    def name(self, row: int) -> str:
        """The path of an image, as text."""
        return as_text(self.index.rows[row].path)

    def tile(self, row: int, caption: str = "") -> Tile:
        """An image for a page."""
        return Tile(self.index.path_of(row), self.name(row), caption, lambda: self._contents.stored(row))

    def write(
        self,
        headings: Sequence[str],
        lines: Iterable[Sequence[object]],
        title: str,
        sections: Sequence[Section],
        *notes: str,
    ) -> IndexResult:
        """Writes table and page, which has the notes as well, where they are wanted, and says where."""
        index, table = self.index, tuple(tuple(line) for line in lines)
        if self._csv:
            write_csv(self._csv, headings, table)
            if self._task:
                for row in _aligned([headings, *table[:_SHOWN]]):
                    say(row)
                if len(table) > _SHOWN:
                    say(f"... {len(table) - _SHOWN:,} more")
            say(f"{len(table):,} rows written to {self._csv}")
        if self._page:
            facts = [
                f"{len(index.rows):,} images of {as_text(index.identity.data_dir or index.identity.dataset)}",
                f"Cosine similarity of {index.identity.endpoint}, network {as_text(index.facts.checkpoint)}",
                *notes,
            ]
            write_page(self._page, title, facts, sections)
            say(f"page written to {self._page}")
        return IndexResult(tuple(headings), table, self._csv, self._page)


def _aligned(rows: Sequence[Sequence[object]]) -> list[str]:
    """Rows as lines of aligned columns, the header first; columns without a value are left out."""
    texts = [[as_text(str(value)) for value in row] for row in rows]
    kept = [column for column in zip(*texts, strict=True) if len(rows) == 1 or any(column[1:])]
    widths = [max(map(cell_len, column)) for column in kept]
    lines = zip(*kept, strict=True)
    return [
        "  ".join(text + " " * (w - cell_len(text)) for text, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
