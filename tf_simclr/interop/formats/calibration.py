"""The images that int8 learns the ranges of its numbers from."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_simclr.data.decoding import decode_named
from tf_simclr.data.pipeline import evaluation_view
from tf_simclr.errors import InputError
from tf_simclr.interop.formats.calibration_files import calibration_files


def calibration_images(directory: str, image_size: int, eval_crop: float) -> np.ndarray:
    """The images of `calibration_files`, as evaluation sees them.

    Args:
        directory: local.
        image_size: side in pixels.
        eval_crop: share of the shorter side, in (0, 1].

    Returns:
        float32 [n, image_size, image_size, 3] in [0, 1].

    Raises:
        InputError: there is no image, or one that cannot be decoded.
    """
    return np.stack([_read(path, image_size, eval_crop) for path in calibration_files(directory)])


def _read(path: str, image_size: int, eval_crop: float) -> np.ndarray:
    try:
        image = decode_named(tf.io.read_file(path), tf.constant(path))
    except tf.errors.OpError as error:
        raise InputError(
            f"`calibration_dir` must hold images that can be decoded. Received: {' '.join(str(error.message).split())}"
            ". Remove the file"
        ) from error
    return evaluation_view(image, image_size, eval_crop).numpy()
