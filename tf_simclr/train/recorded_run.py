"""What a directory says of the run in it; needs no TensorFlow."""

from __future__ import annotations

import os
from typing import Any

from tf_simclr.config import FLAGS_FILE, ExperimentConfig
from tf_simclr.config.identity import read_recorded
from tf_simclr.errors import InputError
from tf_simclr.files import read_json
from tf_simclr.stored import DamagedFileError
from tf_simclr.train.checkpoint_files import holds_run


def recorded_run_config(directory: str) -> ExperimentConfig | None:
    """What the run in a directory was started with; None without flags.json, and where nothing of a run is left.

    Of a run without a checkpoint nothing can be lost, and its flags may be what has to change.

    Raises:
        InputError: a flags.json that is damaged, or of no use for this version.
    """
    place = os.path.join(directory, FLAGS_FILE)
    values = _read_flags(place)
    return read_recorded(values, place) if values is not None and holds_run(directory) else None


def _read_flags(place: str) -> dict[str, Any] | None:
    """The contents of a flags.json; None where there is none.

    Raises:
        InputError: it is damaged.
    """
    try:
        return read_json(place)
    except DamagedFileError as error:
        raise InputError(f"{error}: the run resumes if its checkpoint fits the given flags") from error
