"""Local paths as they are recorded: the same file or folder from every working directory."""

from __future__ import annotations

import os
from typing import TypeVar

from tf_simclr.errors import InputError
from tf_simclr.file_systems import is_remote as is_remote

_Path = TypeVar("_Path", str, "str | None")


def absolute(path: _Path) -> _Path:
    """A path that does not depend on the working directory; nothing, and what is no local path, stays as it is.

    Links stay in it, except where ".." follows one: abspath reads "link/.." as the folder that the link lies in, and
    the system as the parent of what it points to.
    """
    if not path or is_remote(path):
        return path
    whole = os.path.expanduser(path)
    plain, real = os.path.abspath(whole), os.path.realpath(whole)
    return plain if os.path.realpath(plain) == real else real


def table_path(labels: str, folder: str) -> str:
    """The absolute path of a table of labels: where `labels` says, or, if there is no such file, below the folder.

    Args:
        labels: of --labels.
        folder: of --data_dir.
    """
    here, below = absolute(labels), absolute(os.path.join(folder, labels))
    return below if os.path.isfile(below) and not os.path.isfile(here) else here


def require_folder(name: str, path: str) -> None:
    """Raises InputError where a file cannot be made: its folder does not exist, or it is a folder itself."""
    if os.path.isdir(path):
        raise InputError(f"`{name}` must name a file. Received: {name}={path}, which is a folder. Add a name to it")
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise InputError(f"`{name}` must lie in a folder that exists. Received: {name}={path}. Make {folder} first")
