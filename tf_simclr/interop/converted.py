"""Weights of another program, written as a run's directory: a checkpoint, its flags, and where it comes from."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_simclr.config import FLAGS_FILE, ExperimentConfig
from tf_simclr.config.identity import recorded_flags
from tf_simclr.config.paths import absolute, is_remote
from tf_simclr.errors import InputError
from tf_simclr.files import remove_tree, write_json
from tf_simclr.processes import own_mark
from tf_simclr.train.checkpoint_store import CheckpointStore
from tf_simclr.unfinished import remove_left_beside
from tf_simclr.weights import locate
from tf_simclr.weights.foreign import Foreign

CONVERSION_FILE = "conversion.json"
FORMAT = 1
_PARTIAL = ".partial-"


def require_new(directory: str) -> None:
    """Raises InputError where there is something already."""
    if tf.io.gfile.exists(directory) and not (tf.io.gfile.isdir(directory) and not tf.io.gfile.listdir(directory)):
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


def write_converted(foreign: Foreign, config: ExperimentConfig, directory: str, lines: Sequence[str]) -> None:
    """Writes the directory; a reader never sees half of it, and after an error nothing is left.

    Args:
        foreign: the weights.
        config: of a run with their network.
        directory: new or empty.
        lines: what was found, assumed and left out, for whoever reads conversion.json.

    Raises:
        InputError: a value that is not finite, or cannot be read.
    """
    with whole_directory(directory) as partial:
        variables = {path: tf.Variable(_finite(foreign, path)) for path in foreign.network.shapes()}
        CheckpointStore(partial, variables, 1).save(locate.step_of(foreign.place))
        write_json(os.path.join(partial, FLAGS_FILE), recorded_flags(config))
        origin = {"format": FORMAT, "source": absolute(foreign.place), "names": foreign.naming.format}
        write_json(os.path.join(partial, CONVERSION_FILE), {**origin, "notes": list(lines)})


@contextlib.contextmanager
def whole_directory(directory: str) -> Iterator[str]:
    """A directory beside the one to write, which takes its place at the end and is removed after an error.

    What a killed process left there is removed first.
    """
    place = directory.rstrip("/") if "://" in directory else os.path.normpath(directory)
    remove_left_beside(place, _PARTIAL)
    partial = f"{place}{_PARTIAL}{own_mark()}"
    try:
        tf.io.gfile.makedirs(partial)
        yield partial
        remove_tree(place)  # empty
        tf.io.gfile.rename(partial, place)
    finally:
        remove_tree(partial)


def _finite(foreign: Foreign, path: str) -> np.ndarray:
    value = foreign.read(path)
    if not np.isfinite(value).all():
        raise InputError(
            f"`checkpoint` must hold finite numbers. Received: {foreign.place}, where "
            f"{foreign.naming.names[path]} has NaN or infinity. Take another file"
        )
    return value
