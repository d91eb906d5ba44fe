"""How large an image may be, and by how much a large one is reduced."""

from __future__ import annotations

from tf_simclr.config.data import ALWAYS_READ, MOST_READ

MOST_PIXELS = MOST_READ
MOST_SIDE = 65_535
# The decoder of a jpeg reduces it, and never has all of its pixels in memory.
REDUCED_BY_DECODER = "jpeg"
# Larger images are decoded at a half or a quarter of their sides: 4096 x 4096 pixels take 200 MB as float32. With the
# two bounds above it always suffices, and leaves the smaller side at least 128 pixels.
MOST_DECODED = ALWAYS_READ


def limit_of(format_name: str, most: int) -> int:
    """The most pixels that are read of a file of a format, where files that are decoded whole may have `most`."""
    return MOST_PIXELS if format_name == REDUCED_BY_DECODER else min(most, MOST_PIXELS)


def too_large(height: int, width: int, most: int = MOST_PIXELS) -> bool:
    """Whether an image is not decoded, because of memory."""
    return height * width > most or max(height, width) > MOST_SIDE


def too_many_pixels(width: int | str, height: int | str, most: int | str = MOST_PIXELS) -> str:
    """The refusal of an image that is too large."""
    return f"its header says {width} x {height} pixels, and at most {most} are read, {MOST_SIDE} in a row or column"


def takes_much_memory(format_name: str, height: int, width: int, most: int) -> bool:
    """Whether decoding a file takes so much memory that others wait for it."""
    return height * width > (most if format_name == REDUCED_BY_DECODER else MOST_DECODED)


def reduction(height: int, width: int) -> int:
    """By how much the sides of an image are divided while it is decoded: 1, 2 or 4.

    The smallest that leaves MOST_DECODED pixels.
    """
    return next((factor for factor in (1, 2) if height * width <= MOST_DECODED * factor**2), 4)
