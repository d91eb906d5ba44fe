"""Writes an index, whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tf_simclr.file_systems import file_system_of
from tf_simclr.index.coarse import basis_of, bounds_of
from tf_simclr.index.rows import Row, rows_to_bytes
from tf_simclr.index.store import FORMAT, INDEX_FILE, Facts, Identity, Index, find_index, mapped
from tf_simclr.mapped_arrays import new_array
from tf_simclr.processes import temporary_of

# An index with fewer rows is searched row by row as fast.
COARSE_FROM = 100_000
_BLOCK = 1 << 16
_OWN = re.compile(r"(features|rows|basis|bounds)-[0-9a-f]{8}-[0-9a-f]{8}\.(npy|csv)(\..*\.tmp)?")
# What approximate search has built of an index; it is of use for that one alone.
_STRUCTURE = re.compile(r"nearest-([0-9a-f]{8}-[0-9a-f]{8})\.(hnsw|ivfpq)\.(faiss|usearch)(\.json)?(\..*\.tmp)?")


def write_index(
    directory: str,
    identity: Identity,
    rows: Sequence[Row],
    dimension: int,
    blocks: Iterable[tuple[np.ndarray, np.ndarray]],
    *,
    checkpoint: str,
    shard: str = "",
    written_by: dict[str, Any],
) -> Index:
    """Writes an index in place of the one that may be there, which stays whole until the new one is.

    Args:
        directory: of the index; made where it is missing.
        identity: of all features.
        rows: ordered by path, at least one.
        dimension: d.
        blocks: positions int [b] among the rows and features [b, d]; together every row once.
        checkpoint, shard, written_by: as in `Facts`.
    """
    os.makedirs(directory, exist_ok=True)
    content = rows_to_bytes(rows)
    token = f"{identity.digest}-{hashlib.sha256(content).hexdigest()[:8]}"
    names = f"features-{token}.npy", f"rows-{token}.csv"
    features_place = os.path.join(directory, names[0])
    _write_array(features_place, identity.dtype, (len(rows), dimension), blocks)
    files = file_system_of(directory)
    files.write(os.path.join(directory, names[1]), content)
    coarse = _write_coarse(directory, token, mapped(features_place)) if len(rows) >= COARSE_FROM else []
    sizes = {name: os.path.getsize(os.path.join(directory, name)) for name in (*names, *coarse)}
    facts = Facts(FORMAT, dataclasses.asdict(identity), checkpoint, shard, *names, sizes, written_by, coarse)
    values = json.dumps(dataclasses.asdict(facts), indent=2, sort_keys=True, allow_nan=False)
    files.write(os.path.join(directory, INDEX_FILE), f"{values}\n".encode())
    _remove_others(directory, {*names, *coarse, INDEX_FILE}, token)
    found = find_index(directory)
    assert found is not None
    return found


def _write_coarse(directory: str, token: str, features: np.ndarray) -> list[str]:
    """Writes the files of `Coarse` where it is of use; returns their names."""

    def blocks() -> Iterable[tuple[int, np.ndarray]]:
        for first in range(0, len(features), _BLOCK):
            yield first, np.asarray(features[first : first + _BLOCK], np.float32)

    basis = basis_of(block for _, block in blocks())
    if basis is None:
        return []
    names = [f"basis-{token}.npy", f"bounds-{token}.npy"]
    _write_array(os.path.join(directory, names[0]), "float32", basis.shape, [(np.arange(len(basis)), basis)])
    bounds = ((np.arange(first, first + len(block)), bounds_of(block, basis)) for first, block in blocks())
    _write_array(os.path.join(directory, names[1]), "float32", (len(features), len(basis) + 1), bounds)
    return names


def _write_array(
    path: str, dtype: str, shape: tuple[int, int], blocks: Iterable[tuple[np.ndarray, np.ndarray]]
) -> None:
    temporary = temporary_of(path)
    try:
        array = new_array(temporary, dtype, shape)
        for positions, features in blocks:
            array[positions] = features
        array.flush()
        os.replace(temporary, path)
    except OSError as error:
        error.filename = error.filename or path
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)


def _remove_others(directory: str, kept: set[str], token: str) -> None:
    """Removes the files of earlier indexes, and what a process that was killed left half-written."""
    for name in os.listdir(directory):
        structure = _STRUCTURE.fullmatch(name)
        if (_OWN.fullmatch(name) and name not in kept) or (structure and structure[1] != token):
            os.remove(os.path.join(directory, name))
