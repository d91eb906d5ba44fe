"""A directory that is written once, and as a whole. A local one needs no TensorFlow."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tf_simclr.errors import InputError
from tf_simclr.file_systems import file_system_of, is_remote
from tf_simclr.processes import own_mark
from tf_simclr.unfinished import remove_left_beside

_PARTIAL = ".partial-"


def require_new(directory: str) -> None:
    """Raises InputError where there is something already."""
    disk = file_system_of(directory)
    if disk.exists(directory) or disk.names(directory):
        raise InputError(
            f"`output` must be a new directory. Received: {directory}, which exists. Pass another --output, or remove "
            "it"
        )
    for above in Path(directory).parents if not is_remote(directory) else ():
        if above.exists() and not above.is_dir():
            raise InputError(
                f"`output` must lie in a directory. Received: {directory}, where {above} is a file. Pass another "
                "--output"
            )


@contextlib.contextmanager
def whole_directory(directory: str) -> Iterator[str]:
    """A directory beside the one to write, which takes its place at the end and is removed after an error.

    What a killed process left there is removed first.
    """
    place = directory.rstrip("/") if is_remote(directory) else os.path.normpath(directory)
    remove_left_beside(place, _PARTIAL)
    disk, partial = file_system_of(place), f"{place}{_PARTIAL}{own_mark()}"
    try:
        disk.make(partial)
        yield partial
        disk.remove_tree(place)  # empty
        disk.rename(partial, place)
    finally:
        disk.remove_tree(partial)
