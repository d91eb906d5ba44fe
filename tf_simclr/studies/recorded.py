"""What a study's directory says of the study, read without TensorFlow."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from tf_simclr.config import DataConfig, of_recorded
from tf_simclr.files import read_json
from tf_simclr.stored import require_types

STUDY_FILE = "study.json"


def recorded_hold_out(directory: str) -> dict[str, Any]:
    """The flag for the draw of the hold-out that a directory's results began with, where it is not today's."""
    found = read_study(directory)
    draw = DataConfig.hold_out_by if found is None else of_recorded(found.get("flags", {}))["hold_out_by"]
    return {} if draw == DataConfig.hold_out_by else {"hold_out_by": draw}


@dataclass(frozen=True)
class _Recorded:
    """What is read of study.json beside what is only compared."""

    flags: dict[str, Any]
    pictures: dict[str, Any]
    cells: dict[str, Any]


def read_study(directory: str) -> dict[str, Any] | None:
    """What study.json says; None where there is none.

    Raises:
        InputError: it is damaged.
    """
    path = os.path.join(directory, STUDY_FILE)
    found = read_json(path)
    require_types(found or {}, _Recorded, path)
    return found
