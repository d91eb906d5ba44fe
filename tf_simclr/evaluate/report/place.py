"""Where the report of an evaluation lies; without TensorFlow, so that a wrong path is named at once."""

from __future__ import annotations

import os

from tf_simclr.errors import InputError
from tf_simclr.file_systems import file_system_of

JSON_FILE = "report.json"


def place_of_report(name: str, directory: str) -> str:
    """The directory of a report.

    Args:
        name: of the flag, for messages.
        directory: of the report, or of a run with one evaluation below it.

    Raises:
        InputError: there is no report, or several.
    """
    files = file_system_of(directory)
    if files.exists(os.path.join(directory, JSON_FILE)):
        return directory
    inside = sorted(files.names(directory)) if files.is_folder(directory) else []
    found = [one for one in inside if files.exists(os.path.join(directory, one, JSON_FILE))]
    if len(found) == 1:
        return os.path.join(directory, found[0])
    if found:
        raise InputError(
            f"`{name}` must be one evaluation. Received: {directory}, which has {len(found)}: {', '.join(found)}. Pass "
            "the directory of one of them"
        )
    raise InputError(
        f"`{name}` must be the directory of an evaluation, which has {JSON_FILE}. Received: {directory}, without one. "
        "Run `python -m tf_simclr evaluate --checkpoint=RUN` first"
    )
