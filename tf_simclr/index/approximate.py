"""The most similar images without comparing all: a structure beside the index proposes rows, the features decide.

A structure is built once, kept in the directory of the index, and named for what the features are of, as their file is.
Once the index has other rows, or is of another network, it is built again. How much it finds is measured before the
last images are added, with these as queries: what somebody searches for need not be in the index either.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterator

import numpy as np

from tf_simclr.errors import InputError
from tf_simclr.files import read_json, write_json
from tf_simclr.index.coarse import similarities_of
from tf_simclr.index.neighbours import nearest
from tf_simclr.index.store import Index
from tf_simclr.index.structures import (
    HNSW,
    IVFPQ,
    LEAST,
    TRAINING,
    Structure,
    library_of,
    new_structure,
    read_structure,
    require_library,
)
from tf_simclr.processes import temporary_of
from tf_simclr.stored import DamagedFileError, require_types
from tf_simclr.unfinished import remove_left_files

AUTO, EXACT = "auto", "exact"
# The most rows that auto searches exactly.
AUTO_FROM = 1_000_000
# What is measured: the share of so many nearest rows that is found, by so many queries. Wider until it is enough.
NEAREST, REQUIRED, QUERIES = 10, 0.95, 200
WIDTHS = (64, 128, 256, 512, 1024, 2048)
# The features of so many rows for each wanted one decide which are the nearest.
_CANDIDATES = 4
# Similarities of equal features differ by less, by the order in which they are added up.
_ROUNDING = 1e-5
_BLOCK, _SECONDS_OF_A_LINE = 1 << 14, 15.0


@dataclasses.dataclass(frozen=True)
class Measured:
    """What is known of a structure; the file beside it holds this.

    Attributes:
        engine: hnsw or ivfpq.
        library: faiss or usearch.
        size: of its file, in bytes.
        width: how much of it a query visits.
        recall: share of the ten nearest rows that it finds so.
        queries: that the recall is a mean of.
    """

    engine: str
    library: str
    size: int
    width: int
    recall: float
    queries: int

    @property
    def line(self) -> str:
        """All of it for a person."""
        short = "" if self.recall >= REQUIRED else f", less than {REQUIRED}: pass --engine=exact to find all"
        return (
            f"approximate search by {self.engine} ({self.library}): recall {self.recall:.3f} of the {NEAREST} nearest, "
            f"measured with {self.queries} images{short}"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Approximate:
    """An index and the structure by which it is searched.

    Attributes:
        index: of n rows.
        structure: that holds all of them.
        measured: what is known of it.
    """

    index: Index
    structure: Structure
    measured: Measured

    def nearest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows that are most similar to each query, nearly all of the nearest.

        The similarities are those of the features. A query for which the structure proposes too few rows is compared
        with every row.

        Args:
            queries: float32 [q, d], each of length 1.
            k: rows of each query; at most n are taken. More than ten visit more of the structure, in proportion.

        Returns:
            rows int64 [q, k] and cosine similarities float32 [q, k], the most similar first.
        """
        k = min(k, len(self.index.rows))
        found = [
            self._of_one(query, k, places) for query, places in zip(queries, self._proposed(queries, k), strict=True)
        ]
        return np.stack([rows for rows, _ in found]), np.stack([values for _, values in found])

    def _proposed(self, queries: np.ndarray, k: int) -> np.ndarray:
        number = min(_CANDIDATES * max(k, NEAREST), len(self.index.rows))
        width = math.ceil(self.measured.width * max(1.0, k / NEAREST))
        return self.structure.candidates(np.ascontiguousarray(queries, np.float32), width, number)

    def _of_one(self, query: np.ndarray, k: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.unique(places[places >= 0])
        if len(rows) < k:
            whole, values = nearest(self.index, query[np.newaxis], k)
            return whole[0], values[0]
        similarities = similarities_of(self.index.features, rows, query)
        order = np.lexsort((rows, -similarities))[:k]
        return rows[order], similarities[order]


def search(
    index: Index, queries: np.ndarray, k: int, engine: str = AUTO, say: Callable[[str], None] = lambda line: None
) -> tuple[np.ndarray, np.ndarray, str]:
    """The most similar images, by the engine that is asked for.

    Args:
        index, queries, k: as in `nearest`.
        engine: exact, hnsw, ivfpq; or auto: exact up to a million rows, and above ivfpq, or hnsw where usearch is the
            only package, unless its recall is too low.
        say: as in `approximate`; it also receives which engine was chosen, unless that is the exact one.

    Returns:
        rows and similarities as of `nearest`, and a line that says how they were found; "" for an exact search.

    Raises:
        InputError: as in `approximate`.
    """
    wanted = _engine_for(index, say) if engine == AUTO else engine
    if wanted != EXACT:
        found = approximate(index, wanted, say)
        if engine != AUTO or found.measured.recall >= REQUIRED:
            say(found.measured.line)
            return *found.nearest(queries, k), found.measured.line
        share = f"{found.measured.recall:.1%} of the {NEAREST} nearest"
        say(f"note: exact search, because {wanted} finds only {share}, and not {REQUIRED:.0%}")
    return *nearest(index, queries, k), ""


def _engine_for(index: Index, say: Callable[[str], None]) -> str:
    """What `auto` means for an index."""
    if len(index.rows) <= AUTO_FROM:
        return EXACT
    for engine in (IVFPQ, HNSW):
        if library_of(engine) is not None:
            return engine
    say("note: a large index is searched exactly. Install faiss-cpu, or the extra `search`, to search it faster")
    return EXACT


def approximate(index: Index, engine: str, say: Callable[[str], None] = lambda line: None) -> Approximate:
    """The structure of an index, which is built once and kept in its directory.

    Args:
        index: of n rows.
        engine: hnsw, a graph of neighbours, or ivfpq, cells of short codes, which are built in a fifth of the time and
            take a ninth of the space.
        say: receives lines before and during long work, and where the structure cannot be kept.

    Raises:
        InputError: the package is missing, or the index is too small for a structure.
    """
    n = len(index.rows)
    if n < LEAST[engine]:
        raise InputError(
            f"`engine` {engine} needs an index of {LEAST[engine]:,} images or more; a smaller one is searched exactly "
            f"at once. Received: engine={engine}, {n:,} images. Pass --engine=exact"
        )
    library = require_library(engine)
    kept = _read(index, engine, library)
    return _built(index, engine, library, say) if kept is None else kept


# ---- Kept ----


def _files_of(index: Index, engine: str, library: str) -> tuple[str, str]:
    """The files of a structure, and of what is known of it."""
    name = os.path.join(index.directory, f"nearest-{index.token}.{engine}.{library}")
    return name, f"{name}.json"


def _read(index: Index, engine: str, library: str) -> Approximate | None:
    """What was kept; None where there is nothing, or a file is damaged."""
    path, facts = _files_of(index, engine, library)
    try:
        values = read_json(facts)
        if values is None or os.path.getsize(path) != values.get("size"):
            return None
        require_types(values, Measured, facts)
        measured = Measured(**values)
        structure = read_structure(engine, library, path)
    except (OSError, DamagedFileError, TypeError, ValueError, RuntimeError):
        return None
    return Approximate(index, structure, measured) if len(structure) == len(index.rows) else None


def _keep(found: Approximate, say: Callable[[str], None]) -> Approximate:
    """Writes a structure and what is known of it; the latter, which names the size of the former, last."""
    path, facts = _files_of(found.index, found.measured.engine, found.measured.library)
    temporary = temporary_of(path)
    try:
        found.structure.save(temporary)
        measured = dataclasses.replace(found.measured, size=os.path.getsize(temporary))
        os.replace(temporary, path)
        write_json(facts, dataclasses.asdict(measured))
        return dataclasses.replace(found, measured=measured)
    except (OSError, RuntimeError) as error:  # the libraries raise RuntimeError for a full disk
        say(f"note: the structure cannot be kept for the next search: {' '.join(str(error).split())}. Received: {path}")
        return found
    finally:
        with contextlib.suppress(OSError):
            os.remove(temporary)


# ---- Built ----


def _built(index: Index, engine: str, library: str, say: Callable[[str], None]) -> Approximate:
    n, began = len(index.rows), time.monotonic()
    say(f"building {engine} of {n:,} images by {library}, once; the next search reads it from {index.directory}")
    with contextlib.suppress(OSError):
        remove_left_files(index.directory)
    shuffled = np.random.default_rng(0).permutation(n)
    held_out = np.sort(shuffled[: min(QUERIES, n // 20)])
    examples = index.normalised(np.sort(shuffled[:TRAINING]))
    structure = new_structure(engine, library, examples, n)
    said = time.monotonic()
    for done, rows, features in _others(index, held_out):
        structure.add(rows, features)
        if time.monotonic() - said > _SECONDS_OF_A_LINE:
            said = time.monotonic()
            say(f"  {done / n:.0%} after {said - began:.0f} s")
    measured = _measured(Approximate(index, structure, Measured(engine, library, 0, WIDTHS[0], 0, 0)), held_out)
    structure.add(held_out, index.normalised(held_out))
    kept = _keep(Approximate(index, structure, measured), say)
    say(f"built in {time.monotonic() - began:.0f} s, {kept.measured.size / 1e6:,.0f} MB")
    return kept


def _others(index: Index, held_out: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """How many rows are done, and some rows that are not held out with their features, each of length 1 or 0."""
    wanted: np.ndarray = np.ones(len(index.rows), bool)
    wanted[held_out] = False
    for first in range(0, len(wanted), _BLOCK):
        rows: np.ndarray = np.flatnonzero(wanted[first : first + _BLOCK]) + first
        if len(rows):
            yield first + len(rows), rows, index.normalised(rows)


def _measured(found: Approximate, held_out: np.ndarray) -> Measured:
    """The recall of a structure by queries that it does not hold, at the smallest width at which it is enough."""
    queries = found.index.normalised(held_out)
    # Of an exact search, those rows count that the structure holds.
    rows, similarities = nearest(found.index, queries, NEAREST + len(held_out))
    own = [values[~np.isin(some, held_out)][:NEAREST] for some, values in zip(rows, similarities, strict=True)]
    least = np.array([values[-1] for values in own]) - _ROUNDING
    for width in WIDTHS:
        tried = dataclasses.replace(found, measured=dataclasses.replace(found.measured, width=width))
        _, values = tried.nearest(queries, NEAREST)
        # Equal images are as good as each other, so similarities are counted and not rows.
        recall = float(np.mean(values >= least[:, np.newaxis]))
        if recall >= REQUIRED:
            break
    return dataclasses.replace(found.measured, width=width, recall=recall, queries=len(held_out))
