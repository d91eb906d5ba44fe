"""The files of checkpoints, found, listed and removed by their names.

TensorFlow takes the path of a checkpoint for a pattern, and so never finds the files of a directory whose name has
brackets, an asterisk or a question mark. Here names are compared as they are written.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence

from tf_simclr.file_systems import file_system_of
from tf_simclr.files import remove_tree, write_whole
from tf_simclr.train.checksums import discard_checksums

PREFIX = "ckpt"
STATE_FILE = "checkpoint"
EXPORTS = "saved_model"
_GLOB_CHARACTERS = re.compile(r"[*?\[\]\\]")


def is_pattern(path: str) -> bool:
    """Whether TensorFlow takes a path for a pattern."""
    return _GLOB_CHARACTERS.search(path) is not None


def prefixes_in(directory: str) -> list[str]:
    """The checkpoints in a directory, by step, whether or not TensorFlow's state file lists them."""
    found = [re.fullmatch(rf"{PREFIX}-(\d+)\.index", name) for name in names_in(directory)]
    steps = sorted((int(match[1]), match[1]) for match in found if match is not None)
    return [os.path.join(directory, f"{PREFIX}-{written}") for _, written in steps]


def names_in(directory: str) -> list[str]:
    """The names in a directory; none where there is no such directory."""
    return file_system_of(directory).names(directory)


def holds_run(directory: str) -> bool:
    """Whether a directory has something that another run must not mix with: checkpoints or exports."""
    return bool(prefixes_in(directory)) or EXPORTS in {name.strip("/") for name in names_in(directory)}


def listed_in_state(directory: str) -> list[str]:
    """The checkpoints that TensorFlow's state file lists, oldest first, as prefixes in this directory.

    The file may hold absolute paths of the place that the directory was copied or renamed from. It is written for other
    readers: where it cannot be read, all checkpoints count as listed, and a run goes on without it.
    """
    import tensorflow as tf

    try:
        state = tf.train.get_checkpoint_state(directory)
    except ValueError:  # it is empty, or no UTF-8
        return prefixes_in(directory)
    paths = list(state.all_model_checkpoint_paths) if state is not None else []
    return [os.path.join(directory, os.path.basename(path)) for path in paths]


def write_state(directory: str, prefixes: Sequence[str]) -> None:
    """Lists checkpoints in TensorFlow's state file, oldest first, by names that stay true when the directory moves."""
    names = [os.path.basename(prefix) for prefix in prefixes]
    lines = [f'model_checkpoint_path: "{names[-1]}"', *(f'all_model_checkpoint_paths: "{name}"' for name in names)]
    write_whole(os.path.join(directory, STATE_FILE), "".join(f"{line}\n" for line in lines).encode())


def newest_in(directory: str) -> str | None:
    """The checkpoint that was written last; None without any."""
    found = prefixes_in(directory)
    listed = [prefix for prefix in listed_in_state(directory) if prefix in found]
    known = listed or found
    return known[-1] if known else None


def ends_of(prefix: str) -> list[str]:
    """What follows the prefix and a dot in the names of the files that hold a checkpoint's values."""
    directory, name = os.path.split(prefix)
    own = re.compile(rf"{re.escape(name)}\.(index|data-\d+-of-\d+)")
    return [match[1] for file in names_in(directory) if (match := own.fullmatch(file))]


def remove(prefix: str) -> None:
    """Removes the files of a checkpoint."""
    discard_checksums(prefix)
    for end in ends_of(prefix):
        file_system_of(prefix).remove(f"{prefix}.{end}")


def remove_unfinished(directory: str) -> None:
    """Removes what a kill in the middle of writing left: TensorFlow collects the parts of PREFIX-N in PREFIX-N_temp."""

    for name in names_in(directory):
        name = name.rstrip("/")  # as object stores list a directory
        if re.fullmatch(rf"{PREFIX}-\d+_temp", name):
            remove_tree(os.path.join(directory, name))


@contextlib.contextmanager
def readable(prefix: str) -> Iterator[str]:
    """A prefix of the same files that TensorFlow reads as a name, and not as a pattern."""
    if not is_pattern(prefix) or "://" in prefix:
        yield prefix
        return
    directory, name = os.path.split(os.path.abspath(prefix))
    with tempfile.TemporaryDirectory(prefix="tf_simclr_") as scratch:
        link = os.path.join(scratch, "directory")
        os.symlink(directory, link, target_is_directory=True)
        yield os.path.join(link, name)
