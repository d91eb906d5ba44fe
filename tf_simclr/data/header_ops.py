"""The headers of image files in TensorFlow's operations, for graphs that have no Python: what `image_formats` says.

Every file is walked block by block, 64 blocks at most; bytes beyond its end read as zeros. All numbers are scalars.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tf_simclr.data.image_formats import BMP_HEADERS, GREY_RAMP, MOST_BLOCKS, MOST_ENTRIES
from tf_simclr.data.pixels import uninlined

# Those that TensorFlow has decoders for.
FORMATS = ("jpeg", "png", "gif", "bmp", "webp")
UNKNOWN = "its format is none of jpeg, png, gif, bmp and webp"
_EXIF = list(b"Exif\0\0")
_ORIENTATION = 274
# Markers of a jpeg that begin its frame header, with the size of the image.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# What is looked at of a jpeg before its header is read block by block: most that lack EXIF need less.
_PLAIN_BYTES, _PLAIN_BLOCKS = 4096, 7
# Of its blocks, by marker: those of no interest here, those that begin the frame, and EXIF or filling.
_OTHER, _FRAME, _HIDES = 0, 1, 2
_KINDS = [_FRAME if marker in _FRAMES else _HIDES if marker in (0xE1, 0xFF) else _OTHER for marker in range(256)]
_NOWHERE = -1


class Facts(NamedTuple):
    """What a header says; all scalars.

    Attributes:
        format: int32, position in FORMATS, or their number for any other.
        height: int64, before the orientation is applied; 0 of a jpeg, whose decoder says it as cheaply.
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


def jpeg_facts(orientation: tf.Tensor | int = 1) -> Facts:
    """The facts of any jpeg."""
    return _facts("jpeg", _long(0), _long(0), orientation=orientation)


def is_plain_jpeg(content: tf.Tensor) -> tf.Tensor:
    """Whether a file is a jpeg whose blocks, up to its frame header, surely hold no EXIF; a bool scalar.

    EXIF may stand behind any other block, as a colour profile or XMP. So the first blocks are followed by their
    lengths. False says nothing: the frame header may lie further on.
    """
    is_jpeg = tf.strings.substr(content, 0, 3) == b"\xff\xd8\xff"
    # Zeros, which no marker is, stand behind what is read: a block that ends further on leads there.
    head = _padded(tf.strings.substr(content, 0, _PLAIN_BYTES - 4), _PLAIN_BYTES)
    # Where the next block begins, if one begins here; all at once, because a loop costs more than the rest.
    following = tf.range(2, _PLAIN_BYTES - 1) + head[2:-1] * 256 + head[3:]
    following = tf.minimum(following, _PLAIN_BYTES - 4)
    places = [tf.constant(2)]
    for _ in range(_PLAIN_BLOCKS - 1):
        places.append(tf.gather(following, places[-1]))
    kinds = tf.gather(_KINDS, tf.gather(head[1:], tf.stack(places)))
    return is_jpeg & (tf.gather(kinds, tf.argmax(kinds > _OTHER)) == _FRAME)


def facts(content: tf.Tensor) -> Facts:
    """The facts of a file, string scalar, without Python."""
    branches = [lambda read=read: read(content) for read in (_jpeg, _png, _gif, _bmp, _webp)]  # type: ignore[misc]
    unknown = _facts("", _long(0), _long(0), obstacle=UNKNOWN)
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
        tf.logical_and(begins(b"BM"), tf.reduce_any(_number(head[14:]) == BMP_HEADERS)),
        tf.logical_and(begins(b"RIFF"), tf.reduce_all(head[8:12] == list(b"WEBP"))),
        tf.constant(True),
    ]
    return tf.argmax(tf.stack(tests), output_type=tf.int32)


def bytes_at(content: tf.Tensor, place: tf.Tensor | int, size: int) -> tf.Tensor:
    """int32 [size]: the bytes of a string from `place` (int64) on."""
    piece = tf.strings.substr(content, _inside(content, place), size)
    return _padded(piece, size)


# ---- Formats ----


@uninlined
def _jpeg(content: tf.Tensor) -> Facts:
    return jpeg_facts(_jpeg_orientation(content))


@uninlined
def _png(content: tf.Tensor) -> Facts:
    """Facts of a png; what stands behind the pixels is not looked at."""
    head = bytes_at(content, 16, 10)

    def body(place: tf.Tensor, going: tf.Tensor, hidden: tf.Tensor, exif: tf.Tensor, size: tf.Tensor) -> list:
        piece = bytes_at(content, place, 8)
        length = _number(piece[:4], big=True)
        ends = tf.reduce_any([_is(piece[4:], name) for name in (b"IDAT", b"IEND", b"\0\0\0\0")])
        found = tf.logical_and(_is(piece[4:], b"eXIf"), exif == _NOWHERE)
        return [
            place + 12 + length,
            tf.logical_not(ends),
            tf.logical_or(hidden, _is(piece[4:], b"tRNS")),
            tf.where(found, place + 8, exif),
            tf.where(found, length, size),
        ]

    start = [_long(8), tf.constant(True), tf.constant(False), _long(_NOWHERE), _long(0)]
    _, _, hidden, exif, size = _walk(body, start)
    colour = head[9]
    return _facts(
        "png",
        _number(head[4:8], big=True),
        _number(head[:4], big=True),
        orientation=_orientation(content, exif, size),
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
    _, _, _, clear, image = _walk(body, start)
    lost = tf.where(clear, "TensorFlow loses the transparency of a gif", "")
    obstacle = tf.where(image, lost, "no image is found in the gif")
    return _facts("gif", _number(head[8:10]), _number(head[6:8]), obstacle=obstacle)


@uninlined
def _bmp(content: tf.Tensor) -> Facts:
    """Facts of a bmp: an obstacle unless its pixels are plain bytes of blue, green and red, or of grey."""
    head = bytes_at(content, 0, 54)
    fields, bits, packing = _number(head[14:18]), _number(head[28:30]), _number(head[30:34])
    width, height = (
        tf.cast(tf.bitcast(tf.cast(_number(head[a : a + 4]), tf.uint32), tf.int32), tf.int64) for a in (18, 22)
    )
    palette = tf.strings.substr(content, _inside(content, 14 + fields), len(GREY_RAMP))
    obstacle = _first(
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
    kinds = [_is(head[:4], kind) for kind in (b"VP8X", b"VP8L", b"VP8 ")]
    extended, flags = kinds[0], head[8]
    packed = _number(head[9:13])
    sides = [
        tf.stack([_number(head[15:18]) + 1, _number(head[12:15]) + 1]),
        tf.stack([packed // 2**14 % 2**14 + 1, packed % 2**14 + 1]),
        tf.stack([_number(head[16:18]) % 2**14, _number(head[14:16]) % 2**14]),
    ]
    size = tf.add_n([tf.where(kind, side, 0) for kind, side in zip(kinds, sides, strict=True)])
    tagged = tf.logical_and(extended, flags // 8 % 2 == 1)
    obstacle = _first(
        (tf.logical_not(tf.reduce_any(kinds)), "its content is that of no known kind of webp"),
        (tf.logical_and(extended, flags // 2 % 2 == 1), "TensorFlow crashes on an animated webp"),
    )
    orientation = tf.cond(tagged, lambda: _webp_orientation(content), lambda: tf.constant(1))
    return _facts("webp", size[0], size[1], orientation=orientation, obstacle=obstacle)


# ---- Orientation ----


def _jpeg_orientation(content: tf.Tensor) -> tf.Tensor:
    def body(place: tf.Tensor, going: tf.Tensor, exif: tf.Tensor, size: tf.Tensor) -> list:
        piece = bytes_at(content, place, 10)
        marker, length = piece[1], _number(piece[2:4], big=True)
        fills, found = marker == 0xFF, tf.logical_and(marker == 0xE1, tf.reduce_all(piece[4:] == _EXIF))
        frame = tf.reduce_all([marker >= 0xC0, marker <= 0xCF, *(marker != other for other in (0xC4, 0xC8, 0xCC))])
        ends = tf.reduce_any([frame, marker == 0xD9, marker == 0xDA, length < 2, found])
        goes_on = tf.logical_and(piece[0] == 0xFF, tf.logical_or(fills, tf.logical_not(ends)))
        found = tf.reduce_all([found, piece[0] == 0xFF, length >= 2])
        return [
            place + tf.where(fills, _long(1), 2 + length),
            goes_on,
            tf.where(found, place + 4, exif),
            tf.where(found, length - 2, size),
        ]

    _, _, exif, size = _walk(body, [_long(2), tf.constant(True), _long(_NOWHERE), _long(0)])
    return _orientation(content, exif, size)


def _webp_orientation(content: tf.Tensor) -> tf.Tensor:
    def body(place: tf.Tensor, going: tf.Tensor, exif: tf.Tensor, size: tf.Tensor) -> list:
        piece = bytes_at(content, place, 8)
        length, found = _number(piece[4:]), _is(piece[:4], b"EXIF")
        ends = tf.logical_or(found, _is(piece[:4], b"\0\0\0\0"))
        return [
            place + 8 + length + length % 2,
            tf.logical_not(ends),
            tf.where(found, place + 8, exif),
            tf.where(found, length, size),
        ]

    _, _, exif, size = _walk(body, [_long(12), tf.constant(True), _long(_NOWHERE), _long(0)])
    return _orientation(content, exif, size)


def _orientation(content: tf.Tensor, start: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """int32: what the EXIF data in `size` bytes from `start` on asks for; 1 where it is nowhere."""
    return tf.cond(start >= 0, lambda: _asked(content, start, size), lambda: tf.constant(1))


def _asked(content: tf.Tensor, start: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    headed = tf.cast(tf.reduce_all(bytes_at(content, start, 6) == _EXIF), tf.int64)
    start, limit = start + 6 * headed, size - 6 * headed
    head = bytes_at(content, start, 8)
    big = _is(head[:4], b"MM\0*")
    known = tf.logical_or(big, _is(head[:4], b"II*\0"))
    offset = _ordered(head[4:], big)
    count = tf.reduce_min(
        [_ordered(bytes_at(content, start + offset, 2), big), (limit - offset - 2) // 12, MOST_ENTRIES]
    )
    count = tf.where(tf.logical_and(known, offset + 2 <= limit), tf.maximum(count, 0), 0)
    entries = tf.strings.substr(content, _inside(content, start + offset + 2), 12 * count)
    rows = tf.reshape(_padded(entries, 12 * MOST_ENTRIES), [MOST_ENTRIES, 12])
    tag, kind = _ordered(rows[:, :2], big), _ordered(rows[:, 2:4], big)
    short, long = _ordered(rows[:, 8:10], big), _ordered(rows[:, 8:], big)
    fits = (tag == _ORIENTATION) & ((kind == 3) | (kind == 4)) & (_ordered(rows[:, 4:8], big) >= 1)
    asked = tf.where(kind == 3, short, long)[tf.argmax(fits)]
    return tf.cast(tf.where(tf.reduce_any(fits) & (asked >= 1) & (asked <= 8), asked, 1), tf.int32)


# ---- Bytes ----


def _facts(
    name: str,
    height: tf.Tensor,
    width: tf.Tensor,
    orientation: tf.Tensor | int = 1,
    transparent: tf.Tensor | bool = False,
    sixteen_bits: tf.Tensor | bool = False,
    obstacle: tf.Tensor | str = "",
) -> Facts:
    number = FORMATS.index(name) if name else len(FORMATS)
    rest = (orientation, transparent, sixteen_bits, obstacle)
    return Facts(tf.constant(number), height, width, *(tf.convert_to_tensor(value) for value in rest))


def _walk(body: Callable[..., list], start: list[tf.Tensor]) -> list[tf.Tensor]:
    """Repeats `body` while its second value, whether it goes on, is True."""
    return tf.while_loop(lambda _, going, *rest: going, body, start, maximum_iterations=MOST_BLOCKS)


def _long(value: int) -> tf.Tensor:
    return tf.constant(value, tf.int64)


def _inside(content: tf.Tensor, place: tf.Tensor | int) -> tf.Tensor:
    return tf.minimum(tf.cast(place, tf.int64), tf.cast(tf.strings.length(content), tf.int64))


def _padded(piece: tf.Tensor, size: int) -> tf.Tensor:
    return tf.cast(tf.io.decode_raw(piece, tf.uint8, fixed_length=size), tf.int32)


def _is(piece: tf.Tensor, name: bytes) -> tf.Tensor:
    return tf.reduce_all(piece == list(name))


def _number(piece: tf.Tensor, *, big: bool = False) -> tf.Tensor:
    """int64: the number that bytes [..., n] write, the last byte first unless `big`."""
    places = range(piece.shape[-1])
    weights = [256**place for place in (reversed(places) if big else places)]
    return tf.reduce_sum(tf.cast(piece, tf.int64) * weights, axis=-1)


def _ordered(piece: tf.Tensor, big: tf.Tensor) -> tf.Tensor:
    return tf.where(big, _number(piece, big=True), _number(piece))


def _first(*cases: tuple[tf.Tensor, str]) -> tf.Tensor:
    """The text of the first condition that holds; "" where none does."""
    text = tf.constant("")
    for holds, says in reversed(cases):
        text = tf.where(holds, says, text)
    return text
