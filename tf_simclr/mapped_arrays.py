"""Arrays in files that are mapped into memory."""

from __future__ import annotations

import os
from typing import Any

import numpy as np


def new_array(path: str | os.PathLike[str], dtype: Any, shape: tuple[int, ...]) -> np.memmap:
    """A new .npy file, mapped into memory to be written to.

    Raises:
        OSError: the disk has no room for all of it.
    """
    array = np.lib.format.open_memmap(os.fspath(path), mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        # A disk that is full is an error here, and would kill the process when the memory map is written to.
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    return array
