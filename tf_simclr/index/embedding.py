"""Images -> an index: only those are computed that no earlier index or piece has."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tf_simclr.data.listing import ListedSplit
from tf_simclr.data.source import ImageSource
from tf_simclr.errors import InputError, StoppedError
from tf_simclr.evaluate.batches import EvalLoader
from tf_simclr.evaluate.extraction import Extract, build_extract, feature_batches
from tf_simclr.index.images import Part
from tf_simclr.index.pieces import Pieces, load
from tf_simclr.index.rows import Row
from tf_simclr.index.store import Identity, Index, find_index, require_same
from tf_simclr.index.writing import write_index
from tf_simclr.nn.model import SimCLRModel

_ROWS_OF_A_PIECE, _SECONDS_OF_A_PIECE = 8192, 60.0
Progress = Callable[[int, int], None]
# Computes features of files into pieces.
Elsewhere = Callable[[list[ListedSplit], Pieces], None]
# Where a feature is: the array or the file of a piece, and its row there.
Place = tuple["np.ndarray | str", int]


@dataclasses.dataclass(frozen=True)
class Embedding:
    """What embedding did.

    Attributes:
        index: as it is now.
        computed: images whose features were computed now.
        reused: images that the index had before.
        dropped: rows of the index whose images are gone, or have changed.
        left_out: images that cannot be decoded.
    """

    index: Index
    computed: int
    reused: int
    dropped: int
    left_out: int


def embed(
    model: SimCLRModel,
    loader: EvalLoader,
    parts: Sequence[Part],
    directory: str,
    identity: Identity,
    *,
    progress: Progress = lambda done, total: None,
    elsewhere: Elsewhere | None = None,
    **written: Any,
) -> Embedding:
    """Brings an index up to date with its images.

    What is computed is kept in pieces beside the index until it can be replaced: when this is stopped or killed, the
    next call loses at most the last piece, a minute.

    Args:
        model: of the identity.
        loader: how images are read; its devices are the model's.
        parts: all images that the index shall have.
        directory: of the index; made where it is missing.
        identity: of the features.
        progress: receives (images done, images to compute).
        elsewhere: has other processes compute features first, and waits for them. What they leave out is computed here,
            so that a damaged image is named or counted as always.
        written: as in `write_index`.

    Raises:
        InputError: the directory has an index of another identity, or no image can be decoded.
        OSError: what was computed cannot be kept, or be read again. The index stays as it was.
    """
    before = find_index(directory)
    if before is not None:
        require_same(before, identity)
    pieces = Pieces(directory, identity.digest)
    known = _known(before, pieces)
    reused = sum(row.key in known for part in parts for row in part.rows)
    missing = _missing(parts, known)
    total = sum(map(len, missing))
    if elsewhere is not None and total:
        elsewhere(_files(parts, missing), pieces)
        known = _known(before, pieces)
        missing = _missing(parts, known)
    done = total - sum(map(len, missing))
    extract = build_extract(model, loader.strategy, (identity.endpoint,))
    for part, positions in zip(parts, missing, strict=True):
        if not positions.size:
            continue
        source, rows = part.read(positions)
        if not rows:
            continue
        for some_rows, path in add_pieces(pieces, extract, loader, source, rows, identity):
            known |= {row.key: (path, place) for place, row in enumerate(some_rows)}
            done += len(some_rows)
            progress(done, total)
    rows = sorted(row for part in parts for row in part.rows if row.key in known)
    if not rows:
        raise InputError(f"An index must have an image. Received: {total} images, none of which can be decoded")
    index = before
    facts = ("checkpoint", "shard")
    if (
        before is None
        or list(before.rows) != rows
        or any(written[name] != getattr(before.facts, name) for name in facts if name in written)
    ):
        dimension = _array(known[rows[0].key][0]).shape[1]
        index = write_index(directory, identity, rows, dimension, _gathered(rows, known), **written)
    pieces.remove()
    assert index is not None
    kept = {row.key for row in rows}
    dropped = 0 if before is None else sum(row.key not in kept for row in before.rows)
    return Embedding(index, done, reused, dropped, total - done)


def _known(before: Index | None, pieces: Pieces) -> dict[tuple[str, str], Place]:
    """Where the features are that need not be computed."""
    known: dict[tuple[str, str], Place] = {}
    if before is not None:
        known |= {row.key: (before.features, place) for place, row in enumerate(before.rows)}
    for rows, path in pieces.read():
        known |= {row.key: (path, place) for place, row in enumerate(rows)}
    return known


def _missing(parts: Sequence[Part], known: dict[tuple[str, str], Place]) -> list[np.ndarray]:
    """Of each part, the positions of the rows whose features must be computed."""
    return [
        np.array([place for place, row in enumerate(part.rows) if row.key not in known], np.int64) for part in parts
    ]


def _files(parts: Sequence[Part], missing: Sequence[np.ndarray]) -> list[ListedSplit]:
    found = []
    for part, positions in zip(parts, missing, strict=True):
        assert part.listed is not None
        found += [part.listed(positions)] if positions.size else []
    return found


def add_pieces(
    pieces: Pieces, extract: Extract, loader: EvalLoader, source: ImageSource, rows: Sequence[Row], identity: Identity
) -> Iterator[tuple[list[Row], str]]:
    """Computes the features of a source and keeps them piece by piece; yields the rows of each, and its path."""
    for some_rows, features in _pieces_of(extract, loader, source, rows, identity.endpoint):
        yield some_rows, pieces.add(some_rows, _narrowed(features, identity.dtype))


def _array(place: np.ndarray | str) -> np.ndarray:
    return load(place) if isinstance(place, str) else place


def _pieces_of(
    extract: Extract, loader: EvalLoader, source: ImageSource, rows: Sequence[Row], endpoint: str
) -> Iterator[tuple[list[Row], np.ndarray]]:
    """The features of a source in pieces; where this is stopped, what there is comes as the last piece."""
    waiting: list[tuple[np.ndarray, np.ndarray]] = []
    since = time.monotonic()

    def piece() -> tuple[list[Row], np.ndarray]:
        places = np.concatenate([some for some, _ in waiting])
        return [rows[place] for place in places.tolist()], np.concatenate([values for _, values in waiting])

    try:
        for places, values, _ in feature_batches(extract, loader.batches(source), source):
            waiting.append((places, values[endpoint]))
            full = sum(len(some) for some, _ in waiting) >= _ROWS_OF_A_PIECE
            if full or time.monotonic() - since > _SECONDS_OF_A_PIECE:
                yield piece()
                waiting, since = [], time.monotonic()
    except (StoppedError, Exception):
        if waiting:
            yield piece()
        raise
    if waiting:
        yield piece()


def _narrowed(features: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        narrowed: np.ndarray = features.astype(dtype)
    if not np.isfinite(narrowed).all():
        raise InputError(
            f"`index_type` must hold the features. Received: {dtype}, and a feature of {np.abs(features).max():g}. "
            "Pass --index_type=float32"
        )
    return narrowed


def _gathered(rows: Sequence[Row], known: dict[tuple[str, str], Place]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions and features, array by array, in the order in which each lies on disk."""
    by_array: dict[str | int, tuple[np.ndarray | str, list[tuple[int, int]]]] = {}
    for position, row in enumerate(rows):
        source, place = known[row.key]
        by_array.setdefault(source if isinstance(source, str) else 0, (source, []))[1].append((place, position))
    for source, places in by_array.values():
        array = _array(source)
        there, here = np.array(sorted(places)).T
        for first in range(0, len(there), _ROWS_OF_A_PIECE):
            chosen = slice(first, first + _ROWS_OF_A_PIECE)
            yield here[chosen], array[there[chosen]]
