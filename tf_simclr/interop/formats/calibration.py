"""The images that int8 learns the ranges of its numbers from."""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf

from tf_simclr.data.decoding import decode_named
from tf_simclr.data.image_files import EXTENSIONS
from tf_simclr.data.pipeline import evaluation_view
from tf_simclr.errors import InputError

_MOST = 128


def calibration_images(directory: str, image_size: int, eval_crop: float) -> np.ndarray:
    """Up to 128 images of a folder and what lies below it, evenly spread over their names, as evaluation sees them.

    Args:
        directory: local.
        image_size: side in pixels.
        eval_crop: share of the shorter side, in (0, 1].

    Returns:
        float32 [n, image_size, image_size, 3] in [0, 1].

    Raises:
        InputError: there is no image, or one that cannot be decoded.
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
    chosen = [found[at] for at in np.linspace(0, len(found) - 1, min(_MOST, len(found))).astype(int)]
    return np.stack([_read(path, image_size, eval_crop) for path in chosen])


def _read(path: str, image_size: int, eval_crop: float) -> np.ndarray:
    try:
        image = decode_named(tf.io.read_file(path), tf.constant(path))
    except tf.errors.OpError as error:
        raise InputError(
            f"`calibration_dir` must hold images that can be decoded. Received: {' '.join(str(error.message).split())}"
            ". Remove the file"
        ) from error
    return evaluation_view(image, image_size, eval_crop).numpy()
