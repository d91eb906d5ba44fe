"""What the evaluation functions ask of features and labels, in NumPy so that memory-mapped files need no copy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tf_simclr.errors import InputError


def as_features(name: str, features: npt.ArrayLike, *, at_least: int = 1) -> np.ndarray:
    """The features as an array [n, d]; a memory-mapped array is not read.

    Args:
        name: of the argument, for messages.
        features: real numbers [n, d], n >= at_least, d >= 1.
        at_least: rows that are needed.

    Raises:
        InputError: not a matrix of numbers, or too few rows.
    """
    array = np.asarray(features)
    if array.ndim != 2 or array.shape[0] < at_least or array.shape[1] < 1:
        raise InputError(
            f"`{name}` must be a matrix [examples, dimensions] with at least {at_least} row(s) and one column. "
            f"Received: shape {array.shape}. Flatten block outputs to one row an example"
        )
    # Not np.issubdtype: bfloat16 is a number that NumPy does not know as one.
    if array.dtype.kind in "OSUbcmM":
        raise InputError(f"`{name}` must hold real numbers. Received: dtype {array.dtype}. Convert it to float32")
    return array


def as_labels(
    name: str, labels: npt.ArrayLike, *, rows: int | None = None, num_classes: int | None = None
) -> np.ndarray:
    """The labels as int64 [n].

    Args:
        name: of the argument, for messages.
        labels: integers [n], n >= 1, each in [0, num_classes).
        rows: examples there must be, None where nothing is known.
        num_classes: None: any label from 0 on.

    Raises:
        InputError: another shape or type, another count than `rows`, a label out of range.
    """
    array = np.asarray(labels)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        raise InputError(
            f"`{name}` must be class numbers [examples], at least one. Received: shape {array.shape}, dtype "
            f"{array.dtype}. Pass integers from 0 on, one an example"
        )
    if rows is not None and array.size != rows:
        raise InputError(
            f"`{name}` must have one entry an example. Received: {array.size} for {rows} examples. Pass both from "
            "the same split, in the same order"
        )
    low, high = int(array.min()), int(array.max())
    if low < 0:
        raise InputError(
            f"`{name}` must be >= 0. Received: {low}, the mark of examples without a label. Leave them out, or choose "
            "a split with labels"
        )
    if num_classes is not None and high >= num_classes:
        raise InputError(
            f"`{name}` must be below the number of classes, {num_classes}. Received: {high}. Check that both splits "
            "have the same classes"
        )
    return array.astype(np.int64)


def require_finite(name: str, rows: np.ndarray, first_row: int = 0) -> None:
    """Raises InputError, naming the row, where one of `rows` [b, d] holds a NaN or an infinity."""
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise InputError(
            f"`{name}` must be finite. Received: NaN or infinity in row {first_row + int(np.argmin(finite))}. Did "
            "pretraining diverge? Check its loss curve, and the cache of features"
        )


def finite_rows(name: str, features: np.ndarray, rows: slice) -> np.ndarray:
    """Those rows of `features` [n, d] in float64 [b, d]; InputError where one is not finite."""
    block: np.ndarray = features[rows].astype(np.float64)
    require_finite(name, block, rows.start)
    return block


def unit_rows(name: str, features: np.ndarray, rows: slice) -> np.ndarray:
    """Those rows of `features` [n, d] in float64, each of length 1; a row of zeros stays zeros."""
    block = finite_rows(name, features, rows)
    # The largest entry first: squares of very large or very small numbers leave the range of floats.
    largest = np.abs(block).max(axis=1, keepdims=True)
    block /= np.where(largest > 0, largest, 1)
    length = np.linalg.norm(block, axis=1, keepdims=True)
    block /= np.where(length > 0, length, 1)
    return block


def row_blocks(rows: int, size: int) -> Iterator[slice]:
    """Slices of `size` rows, the last one perhaps shorter, that cover `rows` rows in order."""
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))
