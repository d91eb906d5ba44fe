"""Which images int8 learns the ranges of its numbers from. Listing them needs no TensorFlow."""

from __future__ import annotations

import os

import numpy as np

from tf_simclr.data.image_files import EXTENSIONS
from tf_simclr.errors import InputError

_MOST = 128


def calibration_files(directory: str) -> list[str]:
    """Paths of up to 128 images of a folder and what lies below it, evenly spread over their names.

    Args:
        directory: local.

    Raises:
        InputError: there is none.
    """
    found = sorted(
        os.path.join(place, name)
        for place, _, names in os.walk(directory)
        for name in names
        if name.lower().endswith(EXTENSIONS)
    )
    if not found:
        raise InputError(
            f"`calibration_dir` must be a folder with images. Received: {directory}, without any. Pass a folder of "
            "about 100"
        )
    return [found[at] for at in np.linspace(0, len(found) - 1, min(_MOST, len(found))).astype(int)]
