"""What is recorded of the run behind a checkpoint; no network is built, and of a checkpoint of ours no value is read.

So it needs no TensorFlow, except for what other programs wrote.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

from tf_simclr.config import FLAGS_FILE, ExperimentConfig, known_flags, of_recorded
from tf_simclr.config.identity import read_recorded
from tf_simclr.errors import InputError
from tf_simclr.files import read_json
from tf_simclr.train import checkpoints
from tf_simclr.train.manifest import read_card


def _recorded_flags(prefix: str) -> dict[str, Any] | None:
    """The flags of the run behind a checkpoint: beside it, in an export's card, or as other weights imply; or None."""
    other = checkpoints.foreign_at(prefix)
    if other is not None:
        return other.flags()
    flags = read_json(os.path.join(os.path.dirname(prefix), FLAGS_FILE))
    if flags is None and prefix.endswith(checkpoints.SAVED_MODEL_VALUES):
        flags = read_card(prefix).get("config")
    if not flags:
        return None
    # A flag that a later version dropped says nothing of the networks.
    return {name: value for name, value in of_recorded(flags).items() if name in known_flags()}


def read_config(checkpoint: str, warn: Callable[[str], None] = warnings.warn) -> tuple[ExperimentConfig, str]:
    """The config of the run behind a checkpoint, and the checkpoint's prefix; no network is built.

    Args:
        checkpoint: directory of a run, prefix of a checkpoint, exported SavedModel, or weights of another program.
        warn: receives a line for each damaged checkpoint of a directory that is passed over for the one before it.

    Raises:
        InputError: there is no checkpoint, the one that is named is damaged, or nothing says how its networks were
            built.
    """
    prefix = checkpoints.resolve(checkpoint, warn)
    config = recorded_config(prefix)
    if config is None:
        raise InputError(
            f"`checkpoint` must lie beside the {FLAGS_FILE} of its run, or be an export that records its flags. "
            f"Received: {prefix}, without either. Copy {FLAGS_FILE} there, or pass the run's directory"
        )
    return config, prefix


def recorded_config(prefix: str) -> ExperimentConfig | None:
    """The config of the run behind the prefix of a checkpoint; None where nothing says how its networks were built."""
    flags = _recorded_flags(prefix)
    return None if flags is None else read_recorded(flags, f"what is recorded beside {prefix}")
