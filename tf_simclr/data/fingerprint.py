"""Digests of what a split is made of, so that a stored result can say what it depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

_LOOKED_INTO = 64
_BEGINNING = 1 << 16


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


def of_contents(names: Sequence[bytes], sizes: Sequence[int], labels: Sequence[str], paths: Sequence[bytes]) -> str:
    """The digest of files that a copy of their folder shares: names, sizes and labels, and no times.

    Numbered names are those of many folders, and images of one size may be files of one size. So the beginnings of
    some files, spread over the list, are part of it.

    Args:
        names: paths relative to the folder.
        sizes: in bytes.
        labels: name of the class of each; "" without one.
        paths: where the files lie.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256(b"contents 1\0")
    digest.update(of_files(names, sizes, [0] * len(names), labels).encode())
    for path in paths[:: -(-len(paths) // _LOOKED_INTO)]:
        digest.update(hashlib.sha256(_beginning(path)).digest())
    return digest.hexdigest()


def _beginning(path: bytes) -> bytes:
    """The first bytes of a file; none where it cannot be read, which is found when it is decoded."""
    try:
        with open(path, "rb") as file:
            return file.read(_BEGINNING)
    except OSError:
        return b""


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
