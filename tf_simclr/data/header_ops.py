"""The headers of image files in TensorFlow's operations, for graphs that have no Python: what `image_formats` says.

Every file is walked block by block, 64 blocks at most; bytes beyond its end read as zeros. All numbers are scalars.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tf_simclr.data.byte_ops import bytes_at, equals, first_of, inside, long, number, walk
from tf_simclr.data.image_formats import BMP_HEADERS, GREY_RAMP
from tf_simclr.data.orientation_ops import NOWHERE, jpeg_orientation, orientation_at, webp_orientation
from tf_simclr.data.pixels import uninlined

# Those that TensorFlow has decoders for.
FORMATS = ("jpeg", "png", "gif", "bmp", "webp")
# The first bytes of a plain png: signature, header of 8 bits a channel, and the next block. None: any byte.
_PNG_BYTES = [*b"\x89PNG\r\n\x1a\n", 0, 0, 0, 13, *b"IHDR", *[None] * 8, 8, *[None] * 12, *b"IDAT"]
_PLAIN_PNG = [byte or 0 for byte in _PNG_BYTES]
UNKNOWN = "its format is none of jpeg, png, gif, bmp and webp"


class Facts(NamedTuple):
    """What a header says; all scalars.

    Attributes:
        format: int32, position in FORMATS, or their number for any other.
        height: int64, before the orientation is applied; 0 where it is not known, as of a jpeg whose blocks were not
            followed up to its size.
        width: int64, likewise.
        orientation: int32 in 1..8.
        transparent: bool, whether a png has alpha or a transparent colour.
        sixteen_bits: bool, whether a png has 16 bits.
        obstacle: string, why TensorFlow's decoder must not get the file; "" where it may.
    """

    format: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    orientation: tf.Tensor
    transparent: tf.Tensor
    sixteen_bits: tf.Tensor
    obstacle: tf.Tensor

    @classmethod
    def of(cls, numbers: tf.Tensor, obstacle: tf.Tensor) -> Facts:
        """From int64 [6], the other fields in order, and the obstacle."""
        kind, height, width, orientation, transparent, sixteen = tf.unstack(numbers, num=6)
        small = tf.cast(kind, tf.int32), height, width, tf.cast(orientation, tf.int32)
        return cls(*small, transparent > 0, sixteen > 0, obstacle)


def jpeg_facts(
    height: tf.Tensor | None = None, width: tf.Tensor | None = None, orientation: tf.Tensor | int = 1
) -> Facts:
    """The facts of any jpeg."""
    height, width = (long(0) if side is None else side for side in (height, width))
    return _facts("jpeg", height, width, orientation=orientation)


def plain_png(content: tf.Tensor) -> tuple[tf.Tensor, Facts]:
    """Looks for a png of 8 bits, grey or RGB, whose pixels follow its header at once, and for its facts.

    Returns:
        whether the file is one, bool scalar, and its facts, which are of use where it is.
    """
    head = bytes_at(content, 0, len(_PLAIN_PNG))
    sure = tf.reduce_all((head == _PLAIN_PNG) | [byte is None for byte in _PNG_BYTES]) & (
        (head[25] == 0) | (head[25] == 2)
    )
    return sure, _facts("png", number(head[20:24], big=True), number(head[16:20], big=True))


def facts(content: tf.Tensor) -> Facts:
    """The facts of a file, string scalar, without Python."""
    branches = [lambda read=read: read(content) for read in (_jpeg, _png, _gif, _bmp, _webp)]  # type: ignore[misc]
    unknown = _facts("", long(0), long(0), obstacle=UNKNOWN)
    return tf.switch_case(format_number(content), [*branches, lambda: unknown])


def format_number(content: tf.Tensor) -> tf.Tensor:
    """Position of a file's format in FORMATS, int32; len(FORMATS) for any other."""
    head = bytes_at(content, 0, 18)

    def begins(*starts: bytes) -> tf.Tensor:
        return tf.reduce_any([tf.reduce_all(head[: len(start)] == list(start)) for start in starts])

    tests = [
        begins(b"\xff\xd8\xff"),
        begins(b"\x89PNG\r\n\x1a\n"),
        begins(b"GIF87a", b"GIF89a"),
        tf.logical_and(begins(b"BM"), tf.reduce_any(number(head[14:]) == BMP_HEADERS)),
        tf.logical_and(begins(b"RIFF"), tf.reduce_all(head[8:12] == list(b"WEBP"))),
        tf.constant(True),
    ]
    return tf.argmax(tf.stack(tests), output_type=tf.int32)


# ---- Formats ----


@uninlined
def _jpeg(content: tf.Tensor) -> Facts:
    return jpeg_facts(orientation=jpeg_orientation(content))


@uninlined
def _png(content: tf.Tensor) -> Facts:
    """Facts of a png; what stands behind the pixels is not looked at."""
    head = bytes_at(content, 16, 10)

    def body(place: tf.Tensor, going: tf.Tensor, hidden: tf.Tensor, exif: tf.Tensor, size: tf.Tensor) -> list:
        piece = bytes_at(content, place, 8)
        length = number(piece[:4], big=True)
        ends = tf.reduce_any([equals(piece[4:], name) for name in (b"IDAT", b"IEND", b"\0\0\0\0")])
        found = tf.logical_and(equals(piece[4:], b"eXIf"), exif == NOWHERE)
        return [
            place + 12 + length,
            tf.logical_not(ends),
            tf.logical_or(hidden, equals(piece[4:], b"tRNS")),
            tf.where(found, place + 8, exif),
            tf.where(found, length, size),
        ]

    start = [long(8), tf.constant(True), tf.constant(False), long(NOWHERE), long(0)]
    _, _, hidden, exif, size = walk(body, start)
    colour = head[9]
    return _facts(
        "png",
        number(head[4:8], big=True),
        number(head[:4], big=True),
        orientation=orientation_at(content, exif, size),
        transparent=tf.reduce_any([hidden, colour == 4, colour == 6]),
        sixteen_bits=head[8] == 16,
    )


@uninlined
def _gif(content: tf.Tensor) -> Facts:
    """Facts of a gif: an obstacle where its first image is transparent or smaller than the whole."""
    head = bytes_at(content, 0, 13)
    palette = tf.bitwise.left_shift(3, head[10] % 8 + 1) * (head[10] // 128)

    def body(place: tf.Tensor, going: tf.Tensor, within: tf.Tensor, clear: tf.Tensor, image: tf.Tensor) -> list:
        piece = bytes_at(content, place, 9)
        extends = tf.logical_and(tf.logical_not(within), piece[0] == 0x21)
        found = tf.logical_and(tf.logical_not(within), piece[0] == 0x2C)
        flagged = tf.reduce_all([extends, piece[1] == 0xF9, piece[3] % 2 == 1])
        whole = tf.reduce_all(tf.concat([piece[1:5] == 0, piece[5:9] == head[6:10]], 0))
        return [
            place + tf.cast(tf.where(within, 1 + piece[0], 2), tf.int64),
            tf.logical_or(within, extends),
            tf.where(within, piece[0] > 0, extends),
            tf.reduce_any([clear, flagged, tf.logical_and(found, tf.logical_not(whole))]),
            tf.logical_or(image, found),
        ]

    start = [13 + tf.cast(palette, tf.int64), *(tf.constant(value) for value in (True, False, False, False))]
    _, _, _, clear, image = walk(body, start)
    lost = tf.where(clear, "TensorFlow loses the transparency of a gif", "")
    obstacle = tf.where(image, lost, "no image is found in the gif")
    return _facts("gif", number(head[8:10]), number(head[6:8]), obstacle=obstacle)


@uninlined
def _bmp(content: tf.Tensor) -> Facts:
    """Facts of a bmp: an obstacle unless its pixels are plain bytes of blue, green and red, or of grey."""
    head = bytes_at(content, 0, 54)
    fields, bits, packing = number(head[14:18]), number(head[28:30]), number(head[30:34])
    width, height = (
        tf.cast(tf.bitcast(tf.cast(number(head[a : a + 4]), tf.uint32), tf.int32), tf.int64) for a in (18, 22)
    )
    palette = tf.strings.substr(content, inside(content, 14 + fields), len(GREY_RAMP))
    obstacle = first_of(
        (fields == 12, "TensorFlow cannot read a bmp of this old kind"),
        (packing != 0, "TensorFlow cannot read a bmp that is packed"),
        (tf.reduce_all(bits != [8, 24, 32]), "TensorFlow cannot read a bmp of this many bits"),
        (tf.logical_and(bits == 8, palette != GREY_RAMP), "TensorFlow cannot read a bmp with a palette"),
    )
    return _facts("bmp", tf.abs(height), width, obstacle=obstacle)


@uninlined
def _webp(content: tf.Tensor) -> Facts:
    """Facts of a webp: an obstacle where it is animated, which TensorFlow's decoder does not survive."""
    head = bytes_at(content, 12, 18)
    kinds = [equals(head[:4], kind) for kind in (b"VP8X", b"VP8L", b"VP8 ")]
    extended, flags = kinds[0], head[8]
    packed = number(head[9:13])
    sides = [
        tf.stack([number(head[15:18]) + 1, number(head[12:15]) + 1]),
        tf.stack([packed // 2**14 % 2**14 + 1, packed % 2**14 + 1]),
        tf.stack([number(head[16:18]) % 2**14, number(head[14:16]) % 2**14]),
    ]
    size = tf.add_n([tf.where(kind, side, 0) for kind, side in zip(kinds, sides, strict=True)])
    tagged = tf.logical_and(extended, flags // 8 % 2 == 1)
    obstacle = first_of(
        (tf.logical_not(tf.reduce_any(kinds)), "its content is that of no known kind of webp"),
        (tf.logical_and(extended, flags // 2 % 2 == 1), "TensorFlow crashes on an animated webp"),
    )
    orientation = tf.cond(tagged, lambda: webp_orientation(content), lambda: tf.constant(1))
    return _facts("webp", size[0], size[1], orientation=orientation, obstacle=obstacle)


def _facts(
    name: str,
    height: tf.Tensor,
    width: tf.Tensor,
    orientation: tf.Tensor | int = 1,
    transparent: tf.Tensor | bool = False,
    sixteen_bits: tf.Tensor | bool = False,
    obstacle: tf.Tensor | str = "",
) -> Facts:
    kind = FORMATS.index(name) if name else len(FORMATS)
    rest = (orientation, transparent, sixteen_bits, obstacle)
    return Facts(tf.constant(kind), height, width, *(tf.convert_to_tensor(value) for value in rest))
