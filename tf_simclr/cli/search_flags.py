"""Search an index for the images that are most similar to a query."""

from __future__ import annotations

import os

import numpy as np
from rich.console import Console
from rich.table import Table

from tf_simclr.cli import flags
from tf_simclr.cli.index_results import INDEX, RESULT, IndexResult, Results
from tf_simclr.cli.main import say
from tf_simclr.config import SearchConfig
from tf_simclr.config.paths import absolute
from tf_simclr.errors import InputError
from tf_simclr.escape import as_text
from tf_simclr.index.approximate import search
from tf_simclr.index.page import Section, Tile
from tf_simclr.index.rows import fingerprint_of
from tf_simclr.index.store import Index

USAGE = """usage: python -m tf_simclr search --index=INDEX --query=IMAGE [flags]

Finds the images of an index that are most similar to a query, by the cosine similarity of their features. The query is
an image file, a folder of image files, the path of an image in the index as the index has it, or the number of its
row. Prints a table; --csv writes it as a file, and --page writes a page with thumbnails."""
SEARCH = flags.Group(SearchConfig)
FLAG_GROUPS = (INDEX, SEARCH, RESULT)
HEADINGS = ("query", "rank", "row", "path", "class", "similarity")
_SHOWN_QUERIES = 20
_CAPTION = "the query"


def main(parsed: flags.ParsedFlags) -> IndexResult:
    """Runs the task."""
    wanted: SearchConfig = SEARCH.build(parsed.values)
    wanted.validate()
    results = Results(parsed)
    index = results.index
    queries, features = _queries(results, wanted)
    names = [tile.name for tile in queries]
    rows, similarities, how = search(index, features, wanted.k, wanted.engine, say)
    lines = [
        (name, rank, row, results.name(row), index.rows[row].label, round(similarity, 6))
        for name, found, values in zip(names, rows.tolist(), similarities.tolist(), strict=True)
        for rank, (row, similarity) in enumerate(zip(found, values, strict=True), 1)
    ]
    _show(lines, len(names))
    sections = []
    for number, query in enumerate(queries):
        own = lines[number * rows.shape[1] : (number + 1) * rows.shape[1]]
        tiles = [results.tile(row, f"{value:.3f}{', ' * bool(label)}{label}") for *_, row, _, label, value in own]
        sections.append(Section(query.name, [query, *tiles]))
    return results.write(HEADINGS, lines, "Most similar images", sections, *[how] * bool(how))


def _queries(results: Results, wanted: SearchConfig) -> tuple[list[Tile], np.ndarray]:
    """The queries, and their features float32 [q, d] of length 1."""
    index, query = results.index, wanted.query or ""
    row = _row_of(index, query)
    if row is not None:
        return [results.tile(row, _CAPTION)], index.normalised([row])
    path = absolute(query)
    if not os.path.exists(path):
        raise InputError(
            f"`query` must be an image file, a folder of them, or the path or number of a row of the index. Received: "
            f"{query!r}, which is none of them; {index.directory} has {len(index.rows):,} rows. Check the path"
        )
    from tf_simclr.cli.task import named_images  # imports TensorFlow, which takes seconds
    from tf_simclr.index.query import embedded_files

    with named_images():
        paths, features = embedded_files(index, path, wanted.checkpoint)
    return [Tile(one, as_text(one), _CAPTION) for one in paths], features


def _row_of(index: Index, query: str) -> int | None:
    """The row that a query names; None where it names none, or a file that is no more what the index has."""
    if os.path.exists(absolute(query)):
        return _row_of_file(index, absolute(query))
    if query.isdecimal():
        if int(query) >= len(index.rows):
            raise InputError(
                f"`query` must be a row from 0 to {len(index.rows) - 1}. Received: query={query}. Pass another number"
            )
        return int(query)
    return index.place_of(query)


def _row_of_file(index: Index, path: str) -> int | None:
    """The row of this very file, unchanged since it was embedded."""
    root = index.identity.data_dir
    if not root or not os.path.isfile(path):
        return None
    relative, facts = os.path.relpath(path, root), os.stat(path)
    fingerprint = fingerprint_of(relative, facts.st_size, facts.st_mtime_ns)
    place = index.place_of(relative)
    return place if place is not None and index.rows[place].fingerprint == fingerprint else None


def _show(lines: list[tuple[str, int, int, str, str, float]], queries: int) -> None:
    labelled = any(label for *_, label, _ in lines)
    table = Table(box=None, pad_edge=False)
    for heading in ("query",) * (queries > 1) + ("rank", "similarity", "path") + ("class",) * labelled:
        table.add_column(heading, overflow="fold", justify="right" if heading in ("rank", "similarity") else "left")
    for query, rank, _, path, label, similarity in lines[: _SHOWN_QUERIES * len(lines) // queries]:
        table.add_row(*[query] * (queries > 1), str(rank), f"{similarity:.3f}", path, *[label] * labelled)
    Console(highlight=False, markup=False).print(table)
    if queries > _SHOWN_QUERIES:
        say(f"... and {queries - _SHOWN_QUERIES} more queries: --csv=FILE and --page=FILE have all")
