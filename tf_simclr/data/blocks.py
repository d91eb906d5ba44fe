"""Blocks of a listing: files that say which images another process, perhaps on another machine, is to work on."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from tf_simclr.data.image_files import Reading
from tf_simclr.data.listing import ListedSplit, Listing, Shards
from tf_simclr.data.scan import Found
from tf_simclr.file_systems import file_system_of


def write_blocks(prefix: str, listed: ListedSplit, size: int, first: int = 0) -> list[str]:
    """Writes a listing in blocks, so that a worker neither lists the folder itself nor receives all of the list.

    Args:
        prefix: of the paths of the files.
        listed: the images.
        size: images of a block.
        first: number of the first block.

    Returns:
        the paths, PREFIX and a number each, in the order of the images.
    """
    paths = []
    for number, start in enumerate(range(0, listed.num_examples, size), first):
        part = between(listed, start, start + size)
        block = {"root": part.root, "split": part.split, "listing": asdict(part.listing)}
        paths.append(f"{prefix}{number:06d}.json")
        file_system_of(prefix).write(paths[-1], json.dumps(block, allow_nan=False).encode())
    return paths


def read_block(path: str) -> ListedSplit:
    """Reads what `write_blocks` wrote."""
    block = json.loads(file_system_of(path).read(path))
    values = block["listing"]
    listing = Listing(
        files=[Found(*file) for file in values["files"]],
        labels=values["labels"],
        classes=tuple(values["classes"]),
        notes=(),
        reading=Reading(*values["reading"]),
        shards=values["shards"] and Shards(**{name: tuple(them) for name, them in values["shards"].items()}),
    )
    return ListedSplit(block["root"], block["split"], listing)


def between(listed: ListedSplit, start: int, stop: int) -> ListedSplit:
    """The images of a listing from one place to another."""
    listing = listed.listing
    files, labels = listing.files[start:stop], listing.labels[start:stop]
    return replace(listed, listing=replace(listing, files=files, labels=labels, notes=()))
