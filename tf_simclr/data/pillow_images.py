"""Decoding by Pillow, which takes what TensorFlow's own operations cannot be given: the first image of a file."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from tf_simclr.data.image_formats import header_of
from tf_simclr.data.image_header import DAMAGED, PILLOW_FORMATS, ImageHeader, refusal
from tf_simclr.data.image_limits import (
    MOST_PIXELS,
    limit_of,
    reduction,
    takes_much_memory,
    too_large,
    too_many_pixels,
)
from tf_simclr.data.in_flight import IN_FLIGHT

_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
# Formats whose orientation both decoders take from the header; of others Pillow knows where it stands.
_TAGGED = ("jpeg", "png", "webp")
_NOTHING: np.ndarray = np.zeros([0, 0, 3], np.uint8)
# How to bring an image upright that EXIF says is stored with this orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_with_pillow(content: bytes, most: int = MOST_PIXELS) -> tuple[np.ndarray, bytes]:
    """Decodes the first image of a file, upright. Never raises, so that TensorFlow can call it.

    Args:
        content: the bytes of the file.
        most: pixels of a file that has to be decoded as a whole, and of all large ones that are decoded at a time.

    Returns:
        uint8 [height, width, c], and why there is none, b"" where there is one. c is 3 for RGB, 4 for RGB and alpha,
        and 6 for RGB of 16 bits, each as two bytes of this machine's order.
    """
    header = header_of(content)
    refused = refusal(header, "pillow", tensorflow_reads_webp=True, most=int(most))
    if refused:
        return _NOTHING, refused.encode()
    try:
        pixels, reason = _decode(content, header, int(most))
    except MemoryError:
        return _NOTHING, b"there is no memory for so large an image"
    except Exception:  # Pillow's plugins raise anything on damaged files: struct.error, SyntaxError, KeyError, ...
        return _NOTHING, DAMAGED.encode()
    return pixels, reason.encode()


def _decode(content: bytes, header: ImageHeader, most: int) -> tuple[np.ndarray, str]:
    if header.format == "heif":
        import pillow_heif

        pillow_heif.register_heif_opener()
    with Image.open(io.BytesIO(content), formats=PILLOW_FORMATS[header.format]) as image:
        width, height = image.size
        limit = limit_of(header.format, most)
        if too_large(height, width, limit):
            return _NOTHING, too_many_pixels(width, height, limit)
        large = takes_much_memory(header.format, height, width, most)
        with IN_FLIGHT.turn(height * width, most) if large else contextlib.nullcontext():
            return _loaded(image, header)


def _loaded(image: Any, header: ImageHeader) -> tuple[np.ndarray, str]:
    width, height = image.size
    factor = reduction(height, width)
    if factor > 1 and header.format == "jpeg":
        image.draft(image.mode, (-(-width // factor), -(-height // factor)))
    image.load()
    if image.mode in ("I", "F"):
        return _NOTHING, "its pixels are numbers of 32 bits, which have no known range: convert it to 8 or 16 bits"
    return np.ascontiguousarray(_pixels(_upright(image, header), header, factor)), ""


def _upright(image: Any, header: ImageHeader) -> Any:
    if header.format not in _TAGGED:
        return ImageOps.exif_transpose(image)
    turn = _TURNS.get(header.orientation)
    return image if turn is None else image.transpose(turn)


def _pixels(image: Any, header: ImageHeader, factor: int) -> np.ndarray:
    """The pixels of a loaded image, as `decode_with_pillow` returns them."""
    if image.mode in _SIXTEEN_BITS:
        grey: np.ndarray = _reduced(np.asarray(image), factor).astype(np.uint16)[:, :, np.newaxis]
        return grey.repeat(3, axis=-1).view(np.uint8)
    # Of a bmp the fourth byte is often unused and 0.
    alpha = header.format != "bmp" and (image.mode in _WITH_ALPHA or "transparency" in image.info)
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode == "RGBa":
        image = image.convert("RGBA")
    image = image.convert("RGBA" if alpha else "RGB")
    if factor > 1 and header.format != "jpeg":
        image = image.reduce(factor)
    return np.asarray(image)


def _reduced(grey: np.ndarray, factor: int) -> np.ndarray:
    """The mean of every factor x factor pixels, which Pillow's `reduce` has not for 16 bits."""
    if factor == 1:
        return grey
    height, width = (side // factor for side in grey.shape)
    blocks = grey[: height * factor, : width * factor].reshape(height, factor, width, factor)
    return np.rint(blocks.mean(axis=(1, 3)))
