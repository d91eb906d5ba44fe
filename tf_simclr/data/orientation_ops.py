"""The orientation that EXIF asks for, read by TensorFlow's operations."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tf_simclr.data.byte_ops import bytes_at, equals, inside, long, number, ordered, padded, walk
from tf_simclr.data.header_window import EXIF, MOST_ENTRIES, ORIENTATION

# In place of where a block begins.
NOWHERE = -1
_EXIF = list(EXIF)
# Markers of a jpeg that begin its frame header, with the size of the image.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# What is looked at of a jpeg before its header is read block by block: most that lack EXIF need less.
_PLAIN_BYTES, _PLAIN_BLOCKS = 4096, 7
# Bytes of a frame header up to the size of the image.
_FRAME_BYTES = 9
# Of its blocks, by marker: those of no interest here, those that begin the frame, and what is not followed: EXIF,
# filling, and markers that have no length.
_OTHER, _FRAME, _HIDES = 0, 1, 2
_NOT_FOLLOWED = frozenset([0x00, 0x01, *range(0xD0, 0xDB), 0xE1, 0xFF])
_KINDS = [_FRAME if marker in _FRAMES else _HIDES if marker in _NOT_FOLLOWED else _OTHER for marker in range(256)]


class PlainJpeg(NamedTuple):
    """What the first blocks of a file say; all scalars.

    Attributes:
        sure: bool, whether the file is a jpeg whose blocks, up to its frame header, surely hold no EXIF. False says
            nothing: the frame header may lie further on.
        height: int64; of use where `sure` is.
        width: int64, likewise.
    """

    sure: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor


def plain_jpeg(content: tf.Tensor) -> PlainJpeg:
    """Looks for a jpeg without EXIF, and for its size.

    EXIF may stand behind any other block, as a colour profile or XMP. So the first blocks are followed by their
    lengths, as the decoder does.
    """
    is_jpeg = tf.strings.substr(content, 0, 3) == b"\xff\xd8\xff"
    # Zeros, which no marker is, stand behind what is read: a block that ends further on leads there.
    head = padded(tf.strings.substr(content, 0, _PLAIN_BYTES - _FRAME_BYTES), _PLAIN_BYTES)
    # Where the next block begins, if one begins here; all at once, because a loop costs more than the rest.
    following = tf.range(2, _PLAIN_BYTES - 1) + head[2:-1] * 256 + head[3:]
    following = tf.minimum(following, _PLAIN_BYTES - _FRAME_BYTES)
    place = tf.constant(2)
    places = [place]
    for _ in range(_PLAIN_BLOCKS - 1):
        place = tf.gather(following, place)
        places.append(place)
    starts = tf.stack(places)
    marked = tf.gather(head, starts) == 0xFF
    kinds = tf.where(marked, tf.gather(_KINDS, tf.gather(head[1:], starts)), _HIDES)
    first = tf.argmax(kinds > _OTHER)
    sides = tf.reshape(tf.cast(head[starts[first] + 5 : starts[first] + _FRAME_BYTES], tf.int64), [2, 2])
    height, width = tf.unstack(tf.reduce_sum(sides * [256, 1], axis=1))
    return PlainJpeg(is_jpeg & (kinds[first] == _FRAME) & (height * width > 0), height, width)


def jpeg_orientation(content: tf.Tensor) -> tf.Tensor:
    """int32 scalar, 1 to 8: what the EXIF of a jpeg asks for."""

    def body(place: tf.Tensor, going: tf.Tensor, exif: tf.Tensor, size: tf.Tensor) -> list:
        piece = bytes_at(content, place, 10)
        marker, length = piece[1], number(piece[2:4], big=True)
        fills, found = marker == 0xFF, tf.logical_and(marker == 0xE1, tf.reduce_all(piece[4:] == _EXIF))
        frame = tf.reduce_all([marker >= 0xC0, marker <= 0xCF, *(marker != other for other in (0xC4, 0xC8, 0xCC))])
        ends = tf.reduce_any([frame, marker == 0xD9, marker == 0xDA, length < 2, found])
        goes_on = tf.logical_and(piece[0] == 0xFF, tf.logical_or(fills, tf.logical_not(ends)))
        found = tf.reduce_all([found, piece[0] == 0xFF, length >= 2])
        return [
            place + tf.where(fills, long(1), 2 + length),
            goes_on,
            tf.where(found, place + 4, exif),
            tf.where(found, length - 2, size),
        ]

    _, _, exif, size = walk(body, [long(2), tf.constant(True), long(NOWHERE), long(0)])
    return orientation_at(content, exif, size)


def webp_orientation(content: tf.Tensor) -> tf.Tensor:
    """int32 scalar, 1 to 8: what the EXIF of a webp asks for."""

    def body(place: tf.Tensor, going: tf.Tensor, exif: tf.Tensor, size: tf.Tensor) -> list:
        piece = bytes_at(content, place, 8)
        length, found = number(piece[4:]), equals(piece[:4], b"EXIF")
        ends = tf.logical_or(found, equals(piece[:4], b"\0\0\0\0"))
        return [
            place + 8 + length + length % 2,
            tf.logical_not(ends),
            tf.where(found, place + 8, exif),
            tf.where(found, length, size),
        ]

    _, _, exif, size = walk(body, [long(12), tf.constant(True), long(NOWHERE), long(0)])
    return orientation_at(content, exif, size)


def orientation_at(content: tf.Tensor, start: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """int32: what the EXIF data in `size` bytes from `start` on asks for; 1 where it is nowhere."""
    return tf.cond(start >= 0, lambda: _asked(content, start, size), lambda: tf.constant(1))


def _asked(content: tf.Tensor, start: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    headed = tf.cast(tf.reduce_all(bytes_at(content, start, 6) == _EXIF), tf.int64)
    start, limit = start + 6 * headed, size - 6 * headed
    head = bytes_at(content, start, 8)
    big = equals(head[:4], b"MM\0*")
    known = tf.logical_or(big, equals(head[:4], b"II*\0"))
    offset = ordered(head[4:], big)
    count = tf.reduce_min(
        [ordered(bytes_at(content, start + offset, 2), big), (limit - offset - 2) // 12, MOST_ENTRIES]
    )
    count = tf.where(tf.logical_and(known, offset + 2 <= limit), tf.maximum(count, 0), 0)
    entries = tf.strings.substr(content, inside(content, start + offset + 2), 12 * count)
    rows = tf.reshape(padded(entries, 12 * MOST_ENTRIES), [MOST_ENTRIES, 12])
    tag, kind = ordered(rows[:, :2], big), ordered(rows[:, 2:4], big)
    short, long = ordered(rows[:, 8:10], big), ordered(rows[:, 8:], big)
    fits = (tag == ORIENTATION) & ((kind == 3) | (kind == 4)) & (ordered(rows[:, 4:8], big) >= 1)
    asked = tf.where(kind == 3, short, long)[tf.argmax(fits)]
    return tf.cast(tf.where(tf.reduce_any(fits) & (asked >= 1) & (asked <= 8), asked, 1), tf.int32)
