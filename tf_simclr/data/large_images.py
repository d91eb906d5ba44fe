"""Large image files: as few at a time as a bound on their pixels allows, each reduced before the next one is decoded.

Whoever waits for its turn holds a thread of TensorFlow's. So whoever has its turn must not need another one: here
single operations run eagerly, where they are called, and NumPy does the rest. The image is the same as in a graph, to
the bit.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_simclr.data.header_ops import FORMATS
from tf_simclr.data.image_formats import header_of
from tf_simclr.data.image_header import DAMAGED, ImageHeader
from tf_simclr.data.image_limits import REDUCED_BY_DECODER, reduction
from tf_simclr.data.in_flight import IN_FLIGHT
from tf_simclr.data.openers import open_levels, open_sixteen_bits, way_of

_NOTHING: np.ndarray = np.zeros([0, 0, 3], np.float32)


def decode_in_turn(content: bytes, most: int) -> tuple[np.ndarray, bytes]:
    """Decodes a file that TensorFlow can decode, when it is its turn. Never raises, so that TensorFlow can call it.

    Args:
        content: the bytes of the file.
        most: pixels of all files that are decoded here at a time.

    Returns:
        float32 [height, width, 3] in [0, 1], upright, and why there is none, b"" where there is one.
    """
    header = header_of(content)
    with IN_FLIGHT.turn(header.height * header.width, int(most)), tf.device("CPU:0"):
        try:
            return _decode(content, header)
        except MemoryError:
            return _NOTHING, b"there is no memory for so large an image"
        except tf.errors.OpError:
            return _NOTHING, DAMAGED.encode()


def _decode(content: bytes, header: ImageHeader) -> tuple[np.ndarray, bytes]:
    factor = 1 if header.format == REDUCED_BY_DECODER else reduction(header.height, header.width)
    if header.sixteen_bits:
        pixels, reason = open_sixteen_bits(tf.constant(content))
        widened, scale = 1.0, 1 / 65535
    else:
        way = way_of(FORMATS.index(header.format), header.transparent)
        pixels, reason = open_levels(tf.constant(content), way)
        widened, scale = (257.0, 1 / 65535) if header.format == "png" else (1.0, 1 / 255)
    shared = np.asarray(memoryview(pixels))  # numpy() would copy all of them
    return finished(shared, header.orientation, factor, widened, scale), reason.numpy()


def finished(pixels: np.ndarray, orientation: int, factor: int, widened: float, scale: float) -> np.ndarray:
    """`pixels.finished` in NumPy."""
    pixels = upright(pixels, orientation)
    if pixels.shape[-1] == 3 and factor == 1:
        return _scaled(pixels, widened, scale)
    height, width = (side // factor for side in pixels.shape[:2])
    total: np.ndarray = np.zeros([height, width, 3], np.float32)
    for number in range(factor**2):
        rows = slice(number // factor, height * factor, factor)
        columns = slice(number % factor, width * factor, factor)
        part = _scaled(pixels[rows, columns], widened, scale)
        if part.shape[-1] == 4:
            alpha = part[..., 3:]
            part = part[..., :3] * alpha + (np.float32(1) - alpha)
        total += part
    return total / np.float32(factor**2)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """`pixels.upright` in NumPy."""
    lying = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    rows, columns = (slice(None, None, -1 if orientation in turned else 1) for turned in ((3, 4, 7, 8), (2, 3, 6, 7)))
    return lying[rows, columns]


def _scaled(pixels: np.ndarray, widened: float, scale: float) -> np.ndarray:
    return pixels.astype(np.float32) * np.float32(widened) * np.float32(scale)
