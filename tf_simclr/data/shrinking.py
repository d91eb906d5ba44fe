"""From an image file to what a prepared folder stores of it."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tf_simclr.data.decoding import decode_named, facts_of
from tf_simclr.data.header_ops import FORMATS, Facts
from tf_simclr.data.image_files import Reading
from tf_simclr.data.image_limits import MOST_DECODED
from tf_simclr.data.prepared_list import CHANGES, ENCODED, KEPT, REDUCED

JPEG_QUALITY = 95
_TIFF = (b"II*\0", b"MM\0*")


class Stored(NamedTuple):
    """What is stored of an image.

    Attributes:
        content: string scalar, a jpeg or png file.
        change: int32 scalar, the place in CHANGES of what was done; -1 for an image that cannot be decoded.
    """

    content: tf.Tensor
    change: tf.Tensor


def shrunk(content: tf.Tensor, path: tf.Tensor, side: int, reading: Reading) -> Stored:
    """Decodes an image file as a folder's images are, and encodes what is to be stored of it.

    - A jpeg or png that is upright and no larger is kept byte for byte: its views stay the same to the bit.
    - An image whose shorter side is longer than `side` is reduced to it (bicubic, antialiased). None is enlarged.
    - Everything else is turned upright and put on white where it is transparent, as whenever it is read.
    - What is encoded becomes a png where it has transparency or 16 bits, and where it is lossless (png, gif, bmp, tiff)
      and not reduced. Otherwise it becomes a jpeg of quality 95 with all of its colour.

    Args:
        content: string scalar, the bytes of the file.
        path: string scalar, for the message of an error.
        side: pixels.
        reading: how the file is decoded.

    Raises:
        tf.errors.InvalidArgumentError: with the path, the file is damaged or cannot be decoded.
    """
    image, facts = decode_named(content, path, reading.decoder, reading.most), facts_of(content)
    shorter = tf.reduce_min(tf.shape(image)[:2])
    reduces = shorter > side
    is_png = facts.format == FORMATS.index("png")
    small = tf.logical_not(reduces) & (facts.height * facts.width <= MOST_DECODED)
    kept = small & (facts.orientation == 1) & (is_png | (facts.format == FORMATS.index("jpeg")))
    as_png = is_png & (facts.transparent | facts.sixteen_bits) | _is_lossless(content, facts) & tf.logical_not(reduces)

    def encoded() -> tf.Tensor:
        smaller = tf.cond(reduces, lambda: reduced(image, side), lambda: image)
        return tf.cond(as_png, lambda: _png(smaller, facts.sixteen_bits), lambda: _jpeg(smaller))

    number = {change: tf.constant(place, tf.int32) for place, change in enumerate(CHANGES)}
    change = tf.where(kept, number[KEPT], tf.where(reduces, number[REDUCED], number[ENCODED]))
    # The image is decoded in any case, so that a damaged one is found now.
    with tf.control_dependencies([image]):
        return Stored(tf.cond(kept, lambda: tf.identity(content), encoded), change)


def reduced(image: tf.Tensor, side: int) -> tf.Tensor:
    """An image with its shorter side reduced to a number of pixels, and the longer one in proportion.

    Args:
        image: float32 [height, width, 3] in [0, 1], both sides at least `side`.
        side: pixels.
    """
    sides = tf.cast(tf.shape(image)[:2], tf.int64)
    shorter = tf.reduce_min(sides)
    size = tf.cast((sides * side + shorter // 2) // shorter, tf.int32)
    resized = tf.image.resize(image, size, tf.image.ResizeMethod.BICUBIC, antialias=True)
    return tf.clip_by_value(resized, 0.0, 1.0)  # bicubic overshoots at edges


def _is_lossless(content: tf.Tensor, facts: Facts) -> tf.Tensor:
    start = tf.strings.substr(content, 0, 4)
    known = [facts.format == FORMATS.index(name) for name in ("png", "gif", "bmp")]
    return tf.reduce_any([*known, *(start == mark for mark in _TIFF)])


def _levels(image: tf.Tensor, most: int, dtype: tf.DType) -> tf.Tensor:
    return tf.cast(tf.round(image * most), dtype)


def _png(image: tf.Tensor, sixteen_bits: tf.Tensor) -> tf.Tensor:
    return tf.cond(
        sixteen_bits,
        lambda: tf.io.encode_png(_levels(image, 65535, tf.uint16)),
        lambda: tf.io.encode_png(_levels(image, 255, tf.uint8)),
    )


def _jpeg(image: tf.Tensor) -> tf.Tensor:
    levels = _levels(image, 255, tf.uint8)
    return tf.io.encode_jpeg(levels, "rgb", quality=JPEG_QUALITY, chroma_downsampling=False)
