"""Search an index for the images that are most similar to a query."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console
from rich.table import Table

from tf_simclr.cli import flags
from tf_simclr.cli.main import say
from tf_simclr.config import IndexConfig, SearchConfig
from tf_simclr.config.paths import absolute
from tf_simclr.data.scan import as_text
from tf_simclr.errors import InputError
from tf_simclr.index.neighbours import nearest
from tf_simclr.index.page import Section, Tile, require_page, write_page
from tf_simclr.index.store import Index, open_index
from tf_simclr.index.tables import require_folder, write_csv

USAGE = """usage: python -m tf_simclr search --index=INDEX --query=IMAGE [flags]

Finds the images of an index that are most similar to a query, by the cosine similarity of their features. The query is
an image file, a folder of image files, the path of an image in the index as the index has it, or the number of its
row. Prints a table; --csv writes it as a file, and --page writes a page with thumbnails."""
INDEX, SEARCH = flags.Group(IndexConfig), flags.Group(SearchConfig)
FLAG_GROUPS = (INDEX, SEARCH)
_SHOWN_QUERIES = 20


@dataclass(frozen=True)
class Match:
    """An image that was found.

    Attributes:
        query: what it is similar to, as text.
        rank: its place, from 1.
        row: in the index.
        path: as the index has it.
        label: its class; "" without one.
        similarity: cosine of the angle between the features, in [-1, 1].
    """

    query: str
    rank: int
    row: int
    path: str
    label: str
    similarity: float


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        matches: of each query, the most similar first.
        exit_code: of the program that does the same.
    """

    matches: tuple[Match, ...] = field(default_factory=tuple)
    exit_code: int = 0


def main(parsed: flags.ParsedFlags) -> SearchResult:
    """Runs the task."""
    where: IndexConfig = INDEX.build(parsed.values)
    wanted: SearchConfig = SEARCH.build(parsed.values)
    where.validate()
    wanted.validate()
    if wanted.csv:
        require_folder("csv", wanted.csv)
    if wanted.page:
        require_page(wanted.page)
    index = open_index(where.directory)
    names, files, queries = _queries(index, wanted)
    rows, similarities = nearest(index, queries, wanted.k)
    matches = tuple(
        Match(name, rank, row, as_text(index.rows[row].path), index.rows[row].label, similarity)
        for name, found, values in zip(names, rows.tolist(), similarities.tolist(), strict=True)
        for rank, (row, similarity) in enumerate(zip(found, values, strict=True), 1)
    )
    _show(matches, len(names))
    if wanted.csv:
        headings = ("query", "rank", "row", "path", "class", "similarity")
        lines = [(m.query, m.rank, m.row, m.path, m.label, f"{m.similarity:.6f}") for m in matches]
        write_csv(wanted.csv, headings, lines)
        say(f"{len(matches)} matches written to {wanted.csv}")
    if wanted.page:
        _write_page(wanted.page, index, names, files, matches)
        say(f"page written to {wanted.page}")
    return SearchResult(matches)


def _queries(index: Index, wanted: SearchConfig) -> tuple[list[str], list[str], np.ndarray]:
    """Names, files ("" without one), and features float32 [q, d] of length 1."""
    query = wanted.query or ""
    row = _row_of(index, query)
    if row is not None:
        return [as_text(index.rows[row].path)], [index.path_of(row)], index.normalised([row])
    path = absolute(query)
    if not os.path.exists(path):
        raise InputError(
            f"`query` must be an image file, a folder of them, or the path or number of a row of the index. Received: "
            f"{query!r}, which is none of them; {index.directory} has {len(index.rows):,} rows. Check the path"
        )
    from tf_simclr.index.query import embedded_files  # imports TensorFlow, which takes seconds

    paths, features = embedded_files(index, path, wanted.checkpoint)
    return [as_text(one) for one in paths], paths, features


def _row_of(index: Index, query: str) -> int | None:
    """The row that a query names by its number, its path in the index, or its file; None where it names none."""
    if query.isdecimal() and not os.path.exists(query):
        if int(query) >= len(index.rows):
            raise InputError(
                f"`query` must be a row from 0 to {len(index.rows) - 1}. Received: query={query}. Pass another number"
            )
        return int(query)
    root = index.identity.data_dir
    relative = os.path.relpath(absolute(query), root) if root else query
    names = {query, relative}
    return next((place for place, row in enumerate(index.rows) if row.path in names), None)


def _show(matches: tuple[Match, ...], queries: int) -> None:
    labelled = any(match.label for match in matches)
    table = Table(box=None, pad_edge=False)
    for heading in ("query",) * (queries > 1) + ("rank", "similarity", "path") + ("class",) * labelled:
        table.add_column(heading, overflow="fold", justify="right" if heading in ("rank", "similarity") else "left")
    shown = list(dict.fromkeys(match.query for match in matches))[:_SHOWN_QUERIES]
    for match in (match for match in matches if match.query in shown):
        cells = [match.query] * (queries > 1) + [str(match.rank), f"{match.similarity:.3f}", match.path]
        table.add_row(*cells, *[match.label] * labelled)
    Console(highlight=False, markup=False).print(table)
    if queries > len(shown):
        say(f"... and {queries - len(shown)} more queries: pass --csv=FILE or --page=FILE to have all")


def _write_page(path: str, index: Index, names: list[str], files: list[str], matches: tuple[Match, ...]) -> None:
    sections = []
    for name, file in zip(names, files, strict=True):
        tiles = [Tile(file, name, "the query")]
        for match in (match for match in matches if match.query == name):
            label = f", {match.label}" if match.label else ""
            tiles.append(Tile(index.path_of(match.row), match.path, f"{match.similarity:.3f}{label}"))
        sections.append(Section(name, tiles))
    facts = [f"{len(index.rows):,} images of {index.identity.data_dir or index.identity.dataset}"]
    facts.append(f"Cosine similarity of {index.identity.endpoint}, network {index.facts.checkpoint}")
    write_page(path, "Most similar images", facts, sections)
