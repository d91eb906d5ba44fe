"""How large an image may be, and by how much a large one is reduced."""

from __future__ import annotations

# Pillow refuses files above it as decompression bombs. Phones with 108 megapixels are below.
MOST_PIXELS = 178_956_970
MOST_SIDE = 65_535
# Larger images are decoded at a half or a quarter of their sides: 4096 x 4096 pixels take 200 MB as float32. With the
# two bounds above it always suffices, and leaves the smaller side at least 128 pixels.
MOST_DECODED = 1 << 24


def too_large(height: int, width: int) -> bool:
    """Whether an image is never decoded, because of memory."""
    return height * width > MOST_PIXELS or max(height, width) > MOST_SIDE


def too_many_pixels(width: int | str, height: int | str) -> str:
    """The refusal of an image that is too large."""
    return (
        f"its header says {width} x {height} pixels, and at most {MOST_PIXELS} are read, {MOST_SIDE} in a row or column"
    )


def reduction(height: int, width: int) -> int:
    """By how much the sides of an image are divided while it is decoded: 1, 2 or 4.

    The smallest that leaves MOST_DECODED pixels.
    """
    return next((factor for factor in (1, 2) if height * width <= MOST_DECODED * factor**2), 4)
