"""Digests of what a split is made of, so that a stored result can say what it depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np


def of_files(names: Iterable[bytes], sizes: Iterable[int], changed: Iterable[int], labels: Iterable[str]) -> str:
    """The digest of files: another name, size, time of change or label of any of them, or another order, changes it.

    Args:
        names: paths relative to the folder, so that a folder may be moved as a whole.
        sizes: in bytes.
        changed: times of the last change, in nanoseconds.
        labels: name of the class of each, not its number; "" without one.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256(b"files 1\0")
    # A name holds no zero byte, so that no two lists run together to the same text.
    digest.update(
        b"".join(
            b"%s\0%d\0%d\0%s\0" % (name, size, time, label.encode("utf-8", "surrogateescape"))
            for name, size, time, label in zip(names, sizes, changed, labels, strict=True)
        )
    )
    return digest.hexdigest()


def of_facts(*facts: object) -> str:
    """The digest of a few plain values: numbers, texts and sequences of them."""
    return hashlib.sha256(repr(facts).encode("utf-8", "surrogateescape")).hexdigest()


def of_part(whole: str, positions: np.ndarray) -> str:
    """The digest of some examples of a split.

    Args:
        whole: the split's digest; "", which stands for no digest, gives "".
        positions: int [n], their places in the canonical order of the split, ascending.
    """
    if not whole:
        return ""
    digest = hashlib.sha256(f"part 1 {whole}\0".encode())
    digest.update(positions.astype("<i8").tobytes())
    return digest.hexdigest()
