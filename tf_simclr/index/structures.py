"""Structures of other packages that find near features without comparing all of them: HNSW and IVF-PQ.

All hold features of length 1 in fewer bits than the index has, and return candidates. Which of these are the nearest,
the features themselves say: see `Approximate`.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from tf_simclr import optional
from tf_simclr.errors import InputError

HNSW, IVFPQ = "hnsw", "ivfpq"
FAISS, USEARCH = "faiss", "usearch"
# Features that show a structure the range of the numbers, the cells and the codes.
TRAINING = 65_536
# Fewer rows are searched exactly: k-means wants 39 examples for each of the 256 values of a code, or says so.
LEAST = {HNSW: 1000, IVFPQ: 10_000}
_LINKS, _CARE, _FIRST = 16, 64, 2000
_CODES, _EXAMPLES_OF_A_CELL, _EXAMPLES_OF_A_CODE, _ROUNDS = 64, 40, 64, 10


class Structure(Protocol):
    """Candidates for the nearest rows of a query."""

    def add(self, rows: np.ndarray, features: np.ndarray) -> None:
        """Adds rows int64 [b] and their features float32 [b, d], each of length 1 or 0."""

    def candidates(self, queries: np.ndarray, width: int, number: int) -> np.ndarray:
        """Rows int64 [q, `number` or more], -1 where there are fewer; a larger width visits more, finds better."""

    def save(self, path: str) -> None:
        """Writes it as a file."""

    def __len__(self) -> int:
        """The rows that it holds."""


def library_of(engine: str) -> str | None:
    """The installed package that has an engine, faiss before usearch; None without one."""
    if optional.faiss() is not None:
        return FAISS
    return USEARCH if engine == HNSW and optional.usearch() is not None else None


def require_library(engine: str) -> str:
    """`library_of`. Raises InputError where there is none."""
    found = library_of(engine)
    if found is None:
        packages = "faiss-cpu or usearch" if engine == HNSW else "faiss-cpu"
        raise InputError(
            f"Approximate search needs the package {packages}. Received: engine={engine}, and none installed. Install "
            "it: pip install faiss-cpu, or the extra `search` of this package; or pass --engine=exact"
        )
    return found


def new_structure(engine: str, library: str, examples: np.ndarray, rows: int) -> Structure:
    """An empty structure.

    Args:
        engine: hnsw or ivfpq.
        library: faiss, or usearch for hnsw.
        examples: features float32 [m, d], each of length 1 or 0, a random choice of all.
        rows: how many it will hold.
    """
    if library == USEARCH:
        return _Usearch(_usearch().Index(ndim=examples.shape[1], **_USEARCH))
    package, d = _faiss(), examples.shape[1]
    if engine == HNSW:
        graph = package.IndexHNSWSQ(d, package.ScalarQuantizer.QT_8bit, _LINKS)
        graph.hnsw.efConstruction = _CARE
        graph.train(examples)
        return _FaissHnsw(package.IndexIDMap(graph))
    # Codes have equal parts of a feature: zeros at its end change no product.
    codes = min(_CODES, d)
    padded = math.ceil(d / codes) * codes
    cells = max(1, min(round(4 * math.sqrt(rows)), len(examples) // _EXAMPLES_OF_A_CELL))
    table = package.IndexIVFPQ(package.IndexFlatIP(padded), padded, cells, codes, 8, package.METRIC_INNER_PRODUCT)
    table.cp.niter = table.pq.cp.niter = _ROUNDS
    table.pq.cp.max_points_per_centroid = _EXAMPLES_OF_A_CODE
    with _one_thread():
        table.train(_padded(examples, padded))
    return _FaissIvfPq(table)


def read_structure(engine: str, library: str, path: str) -> Structure:
    """Opens the file of a structure, mapped into memory. Raises RuntimeError, ValueError, OSError: damaged."""
    if library == USEARCH:
        return _Usearch(_usearch().Index.restore(path, view=True))
    package = _faiss()
    index = package.read_index(path, package.IO_FLAG_MMAP_IFC)
    return _FaissHnsw(index) if engine == HNSW else _FaissIvfPq(index)


# ---- What the packages call it ----


_USEARCH = {"metric": "cos", "dtype": "bf16", "connectivity": _LINKS, "expansion_add": _CARE}


class _OfFaiss:
    """What the structures of faiss have in common."""

    def __init__(self, index: Any):
        self._index = index

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def save(self, path: str) -> None:
        _faiss().write_index(self._index, path)


class _FaissHnsw(_OfFaiss):
    """A graph over numbers of 8 bits, by faiss."""

    def add(self, rows: np.ndarray, features: np.ndarray) -> None:
        self._index.add_with_ids(features, rows)

    def candidates(self, queries: np.ndarray, width: int, number: int) -> np.ndarray:
        setting = _faiss().SearchParametersHNSW(efSearch=max(width, number))
        found: np.ndarray = self._index.search(queries, number, params=setting)[1]
        return found


class _FaissIvfPq(_OfFaiss):
    """Cells, and in each the codes of its features, by faiss."""

    def add(self, rows: np.ndarray, features: np.ndarray) -> None:
        self._index.add_with_ids(_padded(features, self._index.d), rows)

    def candidates(self, queries: np.ndarray, width: int, number: int) -> np.ndarray:
        setting = _faiss().SearchParametersIVF(nprobe=min(self._index.nlist, max(1, width // 4)))
        # Codes order features roughly: the nearest are among many times as many, the more the more rows are visited.
        number = max(5 * number, 2 * width)
        found: np.ndarray = self._index.search(_padded(queries, self._index.d), number, params=setting)[1]
        return found


class _Usearch:
    """A graph over bfloat16, by usearch."""

    def __init__(self, index: Any):
        self._index = index

    def __len__(self) -> int:
        return len(self._index)

    def add(self, rows: np.ndarray, features: np.ndarray) -> None:
        # Threads that begin an empty graph together may leave parts of it without links to each other.
        alone = max(0, _FIRST - len(self._index))
        for some, threads in ((slice(0, alone), 1), (slice(alone, None), os.cpu_count() or 1)):
            if len(rows[some]):
                self._index.add(rows[some], features[some], threads=threads)

    def candidates(self, queries: np.ndarray, width: int, number: int) -> np.ndarray:
        self._index.expansion_search = max(width, number)
        found = self._index.search(queries, number)
        keys = found.keys.reshape(len(queries), -1).astype(np.int64)
        counts = np.asarray(getattr(found, "counts", [keys.shape[1]])).reshape(-1, 1)
        return np.where(np.arange(keys.shape[1]) < counts, keys, -1)

    def save(self, path: str) -> None:
        self._index.save(path)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps faiss to one thread: k-means on parts of a few numbers takes five times the CPU time with two."""
    threads = _faiss().omp_get_max_threads()
    _faiss().omp_set_num_threads(1)
    try:
        yield
    finally:
        _faiss().omp_set_num_threads(threads)


def _faiss() -> Any:
    return optional.faiss()


def _usearch() -> Any:
    return optional.usearch()


def _padded(features: np.ndarray, width: int) -> np.ndarray:
    return np.pad(features, ((0, 0), (0, width - features.shape[1])))
