"""Reading a checkpoint by paths: ours by TensorFlow's reader, other programs' by the tables of `weights`.

Where a checkpoint lies and whether it is damaged is known without TensorFlow, which is imported to read values.
"""

from __future__ import annotations

import contextlib
import os
import re
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from tf_simclr.errors import InputError, is_of_tensorflow
from tf_simclr.file_systems import file_system_of
from tf_simclr.train.checkpoint_files import PREFIX, prefixes_in, readable
from tf_simclr.train.checksums import damage_of, has_checksums
from tf_simclr.weights import locate

if TYPE_CHECKING:
    from tf_simclr.weights.foreign import Foreign

SAVED_MODEL_VALUES = locate.SAVED_MODEL_VALUES
# What TensorFlow calls the value at a path: in our checkpoints, and in the SavedModels we export.
_KEYS = ("variables/{}/.ATTRIBUTES/VARIABLE_VALUE", "named_variables/{}/.ATTRIBUTES/VARIABLE_VALUE")
_MANIFEST_KEY = "manifest/.ATTRIBUTES/py_state"


class UnreadableError(InputError):
    """A checkpoint's files are damaged or gone."""


@contextlib.contextmanager
def _errors_named(prefix: str) -> Iterator[None]:
    """Whatever TensorFlow's reader meets in a damaged file becomes an UnreadableError."""
    import tensorflow as tf

    try:
        yield
    except (tf.errors.OpError, IndexError, RuntimeError) as error:  # the last two: Python's for two C++ statuses
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableError(_unreadable(prefix, reason)) from error


def _unreadable(prefix: str, reason: str) -> str:
    return f"checkpoint {prefix} cannot be read: {reason}. Take another one, or restore its files from a copy"


@contextlib.contextmanager
def _reader_of(prefix: str) -> Iterator[Any]:
    """TensorFlow's reader."""
    import tensorflow as tf

    with _errors_named(prefix), readable(prefix) as name:
        yield tf.train.load_checkpoint(name)


def _path_of(key: str) -> str | None:
    """The path behind TensorFlow's name of a value, in which dictionary keys are escaped; None for another name."""
    for pattern in _KEYS:
        head, tail = pattern.split("{}")
        if key.startswith(head) and key.endswith(tail):
            return re.sub(r"\.([.S])", lambda found: "/" if found[1] == "S" else ".", key[len(head) : -len(tail)])
    return None


def _key_of_each_path(reader: Any) -> dict[str, str]:
    keys = reader.get_variable_to_shape_map()
    return {path: key for key in keys if (path := _path_of(key)) is not None}


def find(path: str) -> list[str]:
    """The prefixes of the checkpoints at a path, oldest first: one, or all those in a directory.

    Args:
        path: a prefix, a directory with checkpoints, an exported SavedModel, whose values are stored as a checkpoint
            is, or another program's weights, of which it is the prefix or the file.

    Raises:
        InputError: there is no checkpoint, or the place cannot be read.
    """
    found = _found(path)
    if not found:
        raise InputError(
            f"`checkpoint` must be a checkpoint prefix (such as DIR/{PREFIX}-1000), a directory that holds one, an "
            "exported SavedModel (such as DIR/saved_model/1000), or a file of the authors' or PyTorch's. "
            f"Received: {path}, where none was found. Check the path"
        )
    return found


def _found(path: str) -> list[str]:
    """What `find` returns; nothing where there is no checkpoint."""
    try:
        if _is_our_export(path):
            return [os.path.join(path, SAVED_MODEL_VALUES)]
        disk = file_system_of(path)
        ours = prefixes_in(path) if disk.is_folder(path) else [p for p in [path] if disk.exists(p + ".index")]
        other = None if ours else locate.find(path)
        return ours if other is None else [other]
    except InputError:
        raise
    except Exception as error:  # no such file system, no rights, no connection
        if not isinstance(error, OSError) and not is_of_tensorflow(error):
            raise
        reason = textwrap.shorten(str(error), 200, placeholder=" ...")
        raise InputError(
            f"`checkpoint` must lie where TensorFlow can read. Received: {path}: {reason}. Copy it to a local disk"
        ) from error


def resolve(path: str, warn: Callable[[str], None] = warnings.warn) -> str:
    """The prefix of the checkpoint to read at a path; of several in a directory the newest that is not damaged.

    Args:
        path: as in `find`.
        warn: receives a line for each damaged one that is passed over.

    Raises:
        InputError: there is no checkpoint.
        UnreadableError: the one that is named, or all those in a directory, are damaged.
    """
    found = find(path)
    if len(found) == 1:
        require_undamaged(found[0])
        return found[0]
    for prefix in reversed(found):
        try:
            require_undamaged(prefix)
            if not has_checksums(prefix):
                require_readable(prefix)
            return prefix
        except UnreadableError as error:
            warn(f"note: {error}; trying the one before it")
    raise UnreadableError(
        f"no checkpoint in {path} can be read. Received: {', '.join(found)}. Restore the files from a copy"
    )


def require_undamaged(prefix: str) -> None:
    """Raises UnreadableError where the files of a checkpoint are not those that were written, as its checksums say."""
    damage = damage_of(prefix)
    if damage:
        raise UnreadableError(_unreadable(prefix, damage))


def require_readable(prefix: str) -> None:
    """Raises UnreadableError where a value of a checkpoint cannot be read; TensorFlow compares its own checksums."""
    with _reader_of(prefix) as reader:
        for key in reader.get_variable_to_shape_map():
            reader.get_tensor(key)


def _is_our_export(path: str) -> bool:
    names = (locate.SAVED_MODEL, "simclr.json")
    return all(file_system_of(path).exists(os.path.join(path, name)) for name in names)


def foreign_at(prefix: str, *, ema: bool = False) -> Foreign | None:
    """The weights of another program behind a path that `resolve` returned; None for a checkpoint of ours.

    Args:
        prefix: of the checkpoint, or the file.
        ema: as in `open_foreign`.

    Raises:
        InputError: they cannot be read, or are of no format or network that is known.
    """
    if _holds_paths(prefix):
        return None
    from tf_simclr.weights import foreign

    with _errors_named(prefix):
        return foreign.open_foreign(prefix, ema=ema)


def _holds_paths(prefix: str) -> bool:
    """Whether it is a checkpoint of ours: of variables under paths, of whatever network."""
    if locate.is_single_file(prefix):
        return False
    if has_checksums(prefix):  # no other program writes them
        return True
    with _reader_of(prefix) as reader:
        return bool(_key_of_each_path(reader))


def read_text(prefix: str) -> str | None:
    """The text that a checkpoint holds beside its variables; None where it was written without.

    Raises:
        UnreadableError: the files are damaged or gone.
    """
    if locate.is_single_file(prefix):
        return None
    with _reader_of(prefix) as reader:
        return reader.get_tensor(_MANIFEST_KEY).decode() if reader.has_tensor(_MANIFEST_KEY) else None


def shapes_in(prefix: str) -> dict[str, tuple[int, ...]]:
    """Path -> shape of everything a checkpoint holds that has a path of ours.

    Raises:
        UnreadableError: the files are damaged or gone.
        InputError: it is another program's, of no format or network that is known.
    """
    other = foreign_at(prefix)
    if other is not None:
        return other.shapes
    with _reader_of(prefix) as reader:
        stored = reader.get_variable_to_shape_map()
        return {path: tuple(stored[key]) for path, key in _key_of_each_path(reader).items()}


def read_values(prefix: str, paths: Iterable[str]) -> dict[str, Any]:
    """A checkpoint's arrays by path; call `check_matches` first.

    Raises:
        UnreadableError: the files are damaged or gone.
    """
    other = foreign_at(prefix)
    if other is not None:
        with _errors_named(prefix):
            return {path: other.read(path) for path in paths}
    with _reader_of(prefix) as reader:
        keys = _key_of_each_path(reader)
        return {path: reader.get_tensor(keys[path]) for path in paths}
