"""Indexes as tables of other programs: Parquet, and CSV files of results."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tf_simclr.config.paths import require_folder
from tf_simclr.escape import as_text
from tf_simclr.file_systems import file_system_of
from tf_simclr.index.store import Index
from tf_simclr.optional import require_pyarrow
from tf_simclr.processes import temporary_of

PARQUET_FILE = "index.parquet"


def require_parquet() -> None:
    """Raises InputError where pyarrow is missing."""
    require_pyarrow()


def write_parquet(index: Index) -> str:
    """Writes rows and features as one Parquet file beside the index; returns its path.

    Columns are those of the rows, and "feature", a list of d numbers of the index's type.

    Raises:
        InputError: pyarrow is missing.
    """
    arrow = require_pyarrow()
    parquet = require_pyarrow("pyarrow.parquet")
    path = os.path.join(index.directory, PARQUET_FILE)
    temporary = temporary_of(path)
    dimension = index.features.shape[1]
    number = arrow.from_numpy_dtype(index.features.dtype)
    names = ("path", "class", "split", "bytes", "fingerprint")
    texts = (arrow.string(), arrow.string(), arrow.string(), arrow.int64(), arrow.string())
    schema = arrow.schema([*zip(names, texts, strict=True), ("feature", arrow.list_(number, dimension))])
    # A file, and no path, which pyarrow takes as UTF-8 only.
    with open(temporary, "wb") as file, parquet.ParquetWriter(file, schema) as writer:
        for first in range(0, len(index.rows), 1 << 16):
            rows = index.rows[first : first + (1 << 16)]
            block = np.ascontiguousarray(index.features[first : first + len(rows)]).reshape(-1)
            columns: list[Any] = [arrow.array(column, kind) for column, kind in zip(_columns(rows), texts, strict=True)]
            columns.append(arrow.FixedSizeListArray.from_arrays(arrow.array(block, number), dimension))
            writer.write_table(arrow.Table.from_arrays(columns, schema=schema))
    os.replace(temporary, path)
    return path


def _columns(rows: Sequence[Any]) -> list[list[Any]]:
    """The columns of some rows; paths as text that every program can read."""
    paths, *others = map(list, zip(*rows, strict=True))
    return [[as_text(path) for path in paths], *others]


def write_csv(path: str, headings: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    """Writes a table of results, whole or not at all.

    Raises:
        InputError: the folder of the file does not exist.
    """
    require_folder("csv", path)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headings)
    writer.writerows(lines)
    file_system_of(path).write(path, text.getvalue().encode("utf-8", "backslashreplace"))
