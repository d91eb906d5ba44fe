"""What the header of an image file says, and which decoder can read the file."""

from __future__ import annotations

import dataclasses
import importlib.util

from tf_simclr.data.image_limits import MOST_PIXELS, limit_of, too_large, too_many_pixels

DAMAGED = "its content is damaged"
# What is neither of the two decoders' own is named by the package that adds it.
PILLOW_FORMATS = {
    "jpeg": ("JPEG", "MPO"),
    "png": ("PNG",),
    "gif": ("GIF",),
    "bmp": ("BMP",),
    "webp": ("WEBP",),
    "tiff": ("TIFF",),
    "heif": ("HEIF",),
    "avif": ("AVIF",),
    "jpeg2000": ("JPEG2000",),
}


@dataclasses.dataclass(frozen=True)
class ImageHeader:
    """What the first bytes of a file say.

    Attributes:
        format: a key of PILLOW_FORMATS; "" for anything else.
        width: pixels, before the orientation is applied; 0 where it is not known cheaply.
        height: likewise.
        transparent: the image has alpha, or a colour that is transparent.
        orientation: 1 to 8, what EXIF asks for; 1 where it says nothing.
        sixteen_bits: a png has 16 bits.
        obstacle: why TensorFlow's decoder is not given the file; "" where it is.
    """

    format: str = ""
    width: int = 0
    height: int = 0
    transparent: bool = False
    orientation: int = 1
    sixteen_bits: bool = False
    obstacle: str = ""


def refusal(header: ImageHeader, decoder: str, *, tensorflow_reads_webp: bool, most: int = MOST_PIXELS) -> str:
    """Why a file cannot be decoded, without a look beyond its header.

    Args:
        header: of the file.
        decoder: "auto", "tensorflow" or "pillow".
        tensorflow_reads_webp: True from TensorFlow 2.20 on.
        most: pixels of a file that has to be decoded as a whole.

    Returns:
        half a sentence about the file, with what to do; "" for a file that can be decoded if it is not damaged.
    """
    if not header.format:
        return header.obstacle
    limit = limit_of(header.format, most)
    if too_large(header.height, header.width, limit):
        remedy = "make it smaller"
        if not too_large(header.height, header.width):
            remedy += f", or pass --max_image_pixels={header.height * header.width}"
        return f"{too_many_pixels(header.width, header.height, limit)}: {remedy}"
    obstacle = header.obstacle
    if header.format == "webp" and not tensorflow_reads_webp:
        obstacle = obstacle or "this TensorFlow cannot read webp"
    if decoder == "tensorflow":
        return f"{obstacle}: convert it to png, or pass --decoder=auto" if obstacle else ""
    if decoder == "pillow" or obstacle:
        return missing_package(header.format)
    return ""


def missing_package(format_name: str) -> str:
    """What is to be installed for a format; "" where nothing is missing."""
    if format_name == "heif" and importlib.util.find_spec("pillow_heif") is None:
        return "heic is read by a package that is not installed: pip install pillow-heif, or convert it to jpg"
    if format_name == "avif" and importlib.util.find_spec("PIL.AvifImagePlugin") is None:
        return "avif is read by Pillow from 11.3 on: pip install --upgrade pillow, or convert it to jpg"
    return ""
