"""Weights of another program, written as a run's directory: a checkpoint, its flags, and where it comes from."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_simclr.config import FLAGS_FILE, ExperimentConfig
from tf_simclr.config.identity import recorded_flags
from tf_simclr.config.paths import absolute
from tf_simclr.errors import InputError
from tf_simclr.files import write_json
from tf_simclr.interop.new_directory import whole_directory
from tf_simclr.train.checkpoint_store import CheckpointStore
from tf_simclr.weights import locate
from tf_simclr.weights.foreign import Foreign

CONVERSION_FILE = "conversion.json"
FORMAT = 1


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


def _finite(foreign: Foreign, path: str) -> np.ndarray:
    value = foreign.read(path)
    if not np.isfinite(value).all():
        raise InputError(
            f"`checkpoint` must hold finite numbers. Received: {foreign.place}, where "
            f"{foreign.naming.names[path]} has NaN or infinity. Take another file"
        )
    return value
