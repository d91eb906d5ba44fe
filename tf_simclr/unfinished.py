"""What is being written, and what killed processes left of it: names that say which process writes."""

from __future__ import annotations

import contextlib
import os
import re
import shutil

from tf_simclr.file_systems import is_remote
from tf_simclr.processes import TEMPORARY, may_live


def remove_left_files(directory: str) -> None:
    """Removes the files that ended processes of this machine were writing, in a local directory and one level below."""
    if is_remote(directory):
        return
    for place in [directory, *_folders_in(directory)]:
        _remove_left(place, rf"(?P<name>.+)\.(?P<host>[^/]+)-(?P<pid>\d+){re.escape(TEMPORARY)}")


def remove_left_beside(path: str, end: str) -> None:
    """Removes folders and files of a name beside a local path that begins with it, then `end` and a mark."""
    if not is_remote(path):
        parent, name = os.path.split(os.path.abspath(path))
        _remove_left(parent, rf"{re.escape(name + end)}(?P<host>.+)-(?P<pid>\d+)")


def _remove_left(place: str, pattern: str) -> None:
    names = os.listdir(place) if os.path.isdir(place) else []
    for found in filter(None, map(re.compile(pattern, re.DOTALL).fullmatch, names)):
        if not may_live(found["host"], int(found["pid"])):
            path = os.path.join(place, found[0])
            with contextlib.suppress(FileNotFoundError):  # another process removes the same
                if os.path.isdir(path) and not os.path.islink(path):
                    shutil.rmtree(path)
                else:
                    os.remove(path)


def _folders_in(directory: str) -> list[str]:
    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    paths = [os.path.join(directory, name) for name in names]
    return [path for path in paths if os.path.isdir(path) and not os.path.islink(path)]
