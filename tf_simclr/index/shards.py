"""Parts of an index that several processes or machines made, and their union."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tf_simclr.errors import InputError
from tf_simclr.escape import as_text
from tf_simclr.index.store import Index, find_index, require_same
from tf_simclr.index.writing import write_index

# In a shard that none of the images belongs to.
EMPTY_FILE = "empty"
_NAME = re.compile(r"shard-(\d+)-of-(\d+)")


def shard_directory(directory: str, number: int, shards: int) -> str:
    """Where the part NUMBER of an index lies, of SHARDS, the first of which is 0."""
    return os.path.join(directory, f"shard-{number}-of-{shards}")


def merge(directory: str, written_by: dict[str, Any]) -> tuple[Index, int]:
    """Makes one index of all its shards, which stay.

    Args:
        directory: of the index, with the shards in it.
        written_by: as in `write_index`.

    Returns:
        the index, and the number of shards.

    Raises:
        InputError: a shard is missing, two have an image in common, or they are of different networks or images.
    """
    parts = _parts(directory)
    first = parts[0]
    for part in parts[1:]:
        require_same(
            part,
            first.identity,
            "Shards must be of one network, and of one folder under one absolute path",
            "Embed this shard again",
        )
    places = sorted((row, number, place) for number, part in enumerate(parts) for place, row in enumerate(part.rows))
    rows = [row for row, _, _ in places]
    for one, other in itertools.pairwise(rows):
        if one.path == other.path:
            raise InputError(
                f"Shards must not share images. Received: {as_text(one.path)!r} in two shards of {directory}. Embed "
                "them again"
            )
    blocks = _blocks(parts, [(number, place) for _, number, place in places])
    dimension = first.features.shape[1]
    index = write_index(
        directory, first.identity, rows, dimension, blocks, checkpoint=first.facts.checkpoint, written_by=written_by
    )
    return index, len(parts)


def _parts(directory: str) -> list[Index]:
    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    found = {(int(m[1]), int(m[2])): name for name in names if (m := _NAME.fullmatch(name))}
    numbers = {shards for _, shards in found}
    if len(numbers) != 1:
        raise InputError(
            f"`merge` needs the shards of one division. Received: {', '.join(found.values()) or 'none'} in {directory}"
            ". Embed with --shard=0/N to --shard=N-1/N first, and remove the shards of other divisions"
        )
    shards = numbers.pop()
    parts = [find_index(shard_directory(directory, number, shards)) for number in range(shards)]
    missing = [
        f"{number}/{shards}"
        for number, part in enumerate(parts)
        if part is None and not os.path.isfile(os.path.join(shard_directory(directory, number, shards), EMPTY_FILE))
    ]
    if missing:
        raise InputError(
            f"`merge` needs every shard. Received: {directory} without {', '.join(missing)}. Run embed with "
            f"--shard={missing[0]}"
        )
    found_parts = [part for part in parts if part is not None]
    if not found_parts:
        raise InputError(f"An index must have an image. Received: {directory}, whose shards are all empty")
    return found_parts


def _blocks(parts: Sequence[Index], places: Sequence[tuple[int, int]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions and features, shard by shard."""
    table = np.array(places)
    for number, part in enumerate(parts):
        here = np.flatnonzero(table[:, 0] == number)
        for chosen in np.array_split(here, -(-len(here) // 8192)):
            yield chosen, part.features[table[chosen, 1]]
