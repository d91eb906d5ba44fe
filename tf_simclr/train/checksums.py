"""A checksum of each file of a checkpoint, kept beside them, so that damage is found before anything is read."""

from __future__ import annotations

import functools
import hashlib
import os
from typing import Any

from tf_simclr.file_systems import file_system_of
from tf_simclr.files import read_json, write_json

# PREFIX.checksums.json lies beside PREFIX.index and PREFIX.data-00000-of-00001.
SUFFIX = "checksums.json"
FORMAT = 1
_BLOCK = 1 << 22


def write_checksums(prefix: str, ends: list[str]) -> None:
    """Writes what the files of a checkpoint hold now.

    Args:
        prefix: of the checkpoint.
        ends: what follows the prefix and a dot in the names of its files. They are kept and not the names, so that a
            checkpoint may be renamed.
    """
    files = {end: {"bytes": _length(f"{prefix}.{end}"), "sha256": _digest(f"{prefix}.{end}")} for end in sorted(ends)}
    write_json(f"{prefix}.{SUFFIX}", {"format": FORMAT, "files": files})


def discard_checksums(prefix: str) -> None:
    """Removes the checksums of a checkpoint that is about to be written anew: old ones would call it damaged."""
    if has_checksums(prefix):
        file_system_of(prefix).remove(f"{prefix}.{SUFFIX}")


def has_checksums(prefix: str) -> bool:
    """Whether a checkpoint has checksums; those of earlier versions have none."""
    return file_system_of(prefix).exists(f"{prefix}.{SUFFIX}")


def damage_of(prefix: str) -> str:
    """What is wrong with the files of a checkpoint, in one line; empty where nothing is, or nobody can say.

    Every file is read once in a process, as long as it does not change.
    """
    name = os.path.basename(prefix)
    try:
        files = _recorded(prefix)
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{name}.{SUFFIX} is damaged; without that file the checkpoint counts as one of an earlier version"
    disk = file_system_of(prefix)
    for end, (size, digest) in files.items():
        path = f"{prefix}.{end}"
        if not disk.exists(path):
            return f"{name}.{end} is gone"
        now = disk.facts(path)
        if now.size != size:
            return f"{name}.{end} has {now.size} bytes and not the {size} that were written"
        if _digest_at(path, now.size, now.changed) != digest:
            return f"{name}.{end} does not hold what was written (sha256)"
    return ""


def _recorded(prefix: str) -> dict[str, tuple[int, str]]:
    values: dict[str, Any] | None = read_json(f"{prefix}.{SUFFIX}")
    if values is None or int(values["format"]) > FORMAT:  # a later version may count in another way
        return {}
    return {str(end): (int(file["bytes"]), str(file["sha256"])) for end, file in values["files"].items()}


def _length(path: str) -> int:
    return file_system_of(path).facts(path).size


@functools.lru_cache(maxsize=64)
def _digest_at(path: str, length: int, modified: int) -> str:
    """The digest of a file as it is at one time: a run looks at its newest checkpoint more than once."""
    del length, modified
    return _digest(path)


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    with file_system_of(path).opened(path) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
