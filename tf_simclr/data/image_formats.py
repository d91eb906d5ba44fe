"""What the header of an image file says, and who can decode it. Pure Python, no TensorFlow.

A file is recognised by its content, never by its name. At most 64 KiB of it are read, in at most 200 pieces, and no
bytes make it raise or loop. `header_ops` reads the same facts in TensorFlow's operations, for graphs without Python.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import io
from collections.abc import Callable
from typing import Protocol

# Pillow refuses files above it as decompression bombs. Phones with 108 megapixels are below.
MOST_PIXELS = 178_956_970
MOST_SIDE = 65_535
# Larger images are decoded at a half or a quarter of their sides: 4096 x 4096 pixels take 200 MB as float32. With the
# two bounds above it always suffices, and leaves the smaller side at least 128 pixels.
MOST_DECODED = 1 << 24
DAMAGED = "its content is damaged"
TRUE_ORIENTATIONS = range(1, 9)
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
# Blocks of a file that are walked, and entries of a directory of tags.
MOST_BLOCKS = 64
MOST_ENTRIES = 256
_HEAD = 4096
_MOST_BYTES = 1 << 16
_MOST_READS = 200
_EXIF = b"Exif\0\0"
_ORIENTATION, _WIDTH, _HEIGHT, _SAMPLES = 274, 256, 257, 277
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}
_SEQUENCE_BRANDS = {b"avis", b"hevc", b"hevx", b"msf1"}
# Sizes of the headers of a bmp: any text may begin with the two letters that it begins with.
BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
GREY_RAMP = b"".join(bytes([level, level, level, 0]) for level in range(256))


@dataclasses.dataclass(frozen=True)
class ImageHeader:
    """What the first bytes of a file say.

    Attributes:
        format: a key of PILLOW_FORMATS; "" for anything else.
        width: pixels, before the orientation is applied; 0 where it is not known cheaply.
        height: likewise.
        animated: the file announces several frames.
        transparent: the image has alpha, or a colour that is transparent.
        orientation: 1 to 8, what EXIF asks for; 1 where it says nothing.
        channels: components of a pixel as they are stored, 4 for CMYK; 0 where they are not known cheaply.
        sixteen_bits: a png has 16 bits.
        obstacle: why TensorFlow's decoder is not given the file; "" where it is.
    """

    format: str = ""
    width: int = 0
    height: int = 0
    animated: bool = False
    transparent: bool = False
    orientation: int = 1
    channels: int = 0
    sixteen_bits: bool = False
    obstacle: str = ""

    @property
    def pixels(self) -> int:
        """Width times height; 0 where they are not known."""
        return self.width * self.height


class Readable(Protocol):
    """What of an open binary file is used."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes from the current place on."""

    def seek(self, offset: int, /) -> object:
        """Moves to a place, counted from the beginning."""


def read_header(file: Readable) -> ImageHeader:
    """Reads the header of an open file.

    Args:
        file: readable and seekable.

    Raises:
        OSError: the file cannot be read. No content raises.
    """
    data = _Window(file)
    head = data.at(0, 32)
    for begins, inspect in _INSPECTORS:
        if begins(head):
            return inspect(data)
    return ImageHeader(obstacle="its content is that of no image format that is known here")


def header_of(content: bytes) -> ImageHeader:
    """The header of a file that lies in memory."""
    return read_header(io.BytesIO(content))


def refusal(header: ImageHeader, decoder: str, *, tensorflow_reads_webp: bool) -> str:
    """Why a file cannot be decoded, without a look beyond its header.

    Args:
        header: of the file.
        decoder: "auto", "tensorflow" or "pillow".
        tensorflow_reads_webp: True from TensorFlow 2.20 on.

    Returns:
        half a sentence about the file, with what to do; "" for a file that can be decoded if it is not damaged.
    """
    if not header.format:
        return header.obstacle
    if too_large(header.height, header.width):
        return too_many_pixels(header.width, header.height)
    obstacle = header.obstacle
    if header.format == "webp" and not tensorflow_reads_webp:
        obstacle = obstacle or "this TensorFlow cannot read webp"
    if decoder == "tensorflow":
        return f"{obstacle}: convert it to png, or pass --decoder=auto" if obstacle else ""
    if decoder == "pillow" or obstacle:
        return missing_package(header.format)
    return ""


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


def missing_package(format_name: str) -> str:
    """What is to be installed for a format; "" where nothing is missing."""
    if format_name == "heif" and importlib.util.find_spec("pillow_heif") is None:
        return "heic is read by a package that is not installed: pip install pillow-heif, or convert it to jpg"
    if format_name == "avif" and importlib.util.find_spec("PIL.AvifImagePlugin") is None:
        return "avif is read by Pillow from 11.3 on: pip install --upgrade pillow, or convert it to jpg"
    return ""


class _Window:
    """Pieces of a file. What lies beyond its end, or beyond what may be read, is missing."""

    def __init__(self, file: Readable):
        self._file = file
        self._head = file.read(_HEAD)
        self._whole = len(self._head) < _HEAD
        self._reads, self._bytes = _MOST_READS, _MOST_BYTES

    def at(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on; zeros take the place of what is missing."""
        if self._whole or offset + size <= _HEAD:
            piece = self._head[offset : offset + size]
        elif self._reads <= 0 or size > self._bytes:
            piece = b""
        else:
            self._reads, self._bytes = self._reads - 1, self._bytes - size
            self._file.seek(offset)
            piece = self._file.read(size)
        return piece.ljust(size, b"\0")

    def head(self) -> bytes:
        """The first 4 KiB."""
        return self._head


def _tiff_tags(data: _Window, start: int, wanted: set[int], limit: int = 1 << 62) -> dict[int, int]:
    """Tags of one SHORT or LONG in the first directory of a TIFF structure, which EXIF is as well.

    Args:
        data: the file.
        start: where the structure begins.
        wanted: numbers of the tags.
        limit: bytes that belong to the structure.
    """
    order = {b"II*\0": "little", b"MM\0*": "big"}.get(data.at(start, 4))
    if order is None:
        return {}
    number: Callable[[bytes], int] = lambda piece: int.from_bytes(piece, order)  # type: ignore[arg-type] # noqa: E731
    offset = number(data.at(start + 4, 4))
    if offset + 2 > limit:
        return {}
    count = min(number(data.at(start + offset, 2)), MOST_ENTRIES, max(0, (limit - offset - 2) // 12))
    entries = data.at(start + offset + 2, 12 * count)
    tags: dict[int, int] = {}
    for entry in (entries[place : place + 12] for place in range(0, len(entries) - 11, 12)):
        tag, kind, values = number(entry[:2]), number(entry[2:4]), number(entry[4:8])
        if tag in wanted and tag not in tags and kind in (3, 4) and values >= 1:
            tags[tag] = number(entry[8:10] if kind == 3 else entry[8:12])
    return tags


def _orientation(data: _Window, start: int, size: int) -> int:
    """What the EXIF data in some bytes asks for."""
    if data.at(start, len(_EXIF)) == _EXIF:
        start, size = start + len(_EXIF), size - len(_EXIF)
    asked = _tiff_tags(data, start, {_ORIENTATION}, size).get(_ORIENTATION, 1)
    return asked if asked in TRUE_ORIENTATIONS else 1


# ---- Formats ----


def _jpeg(data: _Window) -> ImageHeader:
    place, orientation = 2, 0
    for _ in range(MOST_BLOCKS):
        piece = data.at(place, 10)
        if piece[0] != 0xFF:
            break
        marker, size = piece[1], int.from_bytes(piece[2:4], "big")
        if marker == 0xFF:  # filling
            place += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(piece[a : a + 2], "big") for a in (5, 7))
            return ImageHeader("jpeg", width, height, orientation=orientation or 1, channels=piece[9])
        if marker in (0xD9, 0xDA) or size < 2:
            break
        if marker == 0xE1 and not orientation and data.at(place + 4, 6) == _EXIF:
            orientation = _orientation(data, place + 4, size - 2)
        place += 2 + size
    return ImageHeader("jpeg", orientation=orientation or 1)


def _png(data: _Window) -> ImageHeader:
    head = data.at(0, 33)
    width, height = (int.from_bytes(head[a : a + 4], "big") for a in (16, 20))
    colour = head[25]
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 0)
    animated, transparent, orientation = False, colour in (4, 6), 0
    place = 8
    for _ in range(MOST_BLOCKS):
        piece = data.at(place, 8)
        size, name = int.from_bytes(piece[:4], "big"), piece[4:]
        if name in (b"IDAT", b"IEND", b"\0\0\0\0"):
            break
        animated |= name == b"acTL"
        transparent |= name == b"tRNS"
        if name == b"eXIf" and not orientation:
            orientation = _orientation(data, place + 8, size)
        place += 12 + size
    return ImageHeader("png", width, height, animated, transparent, orientation or 1, channels, head[24] == 16)


def _gif(data: _Window) -> ImageHeader:
    head = data.at(0, 13)
    width, height = (int.from_bytes(head[a : a + 2], "little") for a in (6, 8))
    place = 13 + (3 << (head[10] % 8 + 1) if head[10] & 0x80 else 0)
    header = ImageHeader("gif", width, height, channels=1, obstacle="no image is found in the gif")
    animated = transparent = within = False
    for _ in range(MOST_BLOCKS):
        piece = data.at(place, 11)
        if within:  # the blocks of an extension, up to an empty one
            place, within = place + 1 + piece[0], piece[0] > 0
        elif piece[0] == 0x21:
            transparent |= piece[1] == 0xF9 and bool(piece[3] & 1)
            animated |= piece[1] == 0xFF and piece[3:11] in (b"NETSCAPE", b"ANIMEXTS")
            place, within = place + 2, True
        elif piece[0] == 0x2C:
            left, top, wide, high = (int.from_bytes(piece[a : a + 2], "little") for a in (1, 3, 5, 7))
            transparent |= (left, top, wide, high) != (0, 0, width, height)
            obstacle = "TensorFlow loses the transparency of a gif" if transparent else ""
            return dataclasses.replace(header, animated=animated, transparent=transparent, obstacle=obstacle)
        else:
            break
    return header


def _bmp(data: _Window) -> ImageHeader:
    head = data.at(0, 54)
    fields = int.from_bytes(head[14:18], "little")
    if fields == 12:
        width, height = (int.from_bytes(head[a : a + 2], "little") for a in (18, 20))
        return ImageHeader("bmp", width, height, obstacle="TensorFlow cannot read a bmp of this old kind")
    width, height = (int.from_bytes(head[a : a + 4], "little", signed=True) for a in (18, 22))
    bits, packing = int.from_bytes(head[28:30], "little"), int.from_bytes(head[30:34], "little")
    header = ImageHeader("bmp", width, abs(height), channels=bits // 8)
    obstacle = ""
    if packing:
        obstacle = "TensorFlow cannot read a bmp that is packed"
    elif bits not in (8, 24, 32):
        obstacle = "TensorFlow cannot read a bmp of this many bits"
    elif bits == 8 and data.at(14 + fields, 1024) != GREY_RAMP:
        obstacle = "TensorFlow cannot read a bmp with a palette"
    return dataclasses.replace(header, obstacle=obstacle)


def _webp(data: _Window) -> ImageHeader:
    head = data.at(0, 32)
    kind = head[12:16]
    if kind == b"VP8X":
        flags = head[20]
        width, height = (int.from_bytes(head[a : a + 3], "little") + 1 for a in (24, 27))
        animated = bool(flags & 2)
        obstacle = "TensorFlow crashes on an animated webp" if animated else ""
        orientation = _webp_orientation(data) if flags & 8 else 1
        return ImageHeader("webp", width, height, animated, bool(flags & 16), orientation, obstacle=obstacle)
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return ImageHeader("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, transparent=bool(bits >> 28 & 1))
    if kind == b"VP8 ":
        width, height = (int.from_bytes(head[a : a + 2], "little") & 0x3FFF for a in (26, 28))
        return ImageHeader("webp", width, height)
    return ImageHeader("webp", obstacle="its content is that of no known kind of webp")


def _webp_orientation(data: _Window) -> int:
    place = 12
    for _ in range(MOST_BLOCKS):
        piece = data.at(place, 8)
        if piece[:4] == b"\0\0\0\0":
            break
        size = int.from_bytes(piece[4:], "little")
        if piece[:4] == b"EXIF":
            return _orientation(data, place + 8, size)
        place += 8 + size + size % 2
    return 1


def _tiff(data: _Window) -> ImageHeader:
    tags = _tiff_tags(data, 0, {_WIDTH, _HEIGHT, _SAMPLES, _ORIENTATION})
    orientation = tags.get(_ORIENTATION, 1)
    return ImageHeader(
        "tiff",
        tags.get(_WIDTH, 0),
        tags.get(_HEIGHT, 0),
        orientation=orientation if orientation in TRUE_ORIENTATIONS else 1,
        channels=tags.get(_SAMPLES, 0),
        obstacle="TensorFlow cannot read tiff",
    )


def _brands(head: bytes) -> set[bytes]:
    if head[4:8] != b"ftyp":
        return set()
    size = min(int.from_bytes(head[:4], "big"), 256)
    return {head[8:12], *(head[place : place + 4] for place in range(16, size, 4))}


def _iso(data: _Window) -> ImageHeader:
    """HEIF and AVIF share a container; the largest of the sizes in it is the image's."""
    head = data.head()
    brands = _brands(head)
    name = "avif" if brands & _AVIF_BRANDS else "heif"
    width = height = 0
    place = head.find(b"ispe")
    for _ in range(MOST_BLOCKS):
        if place < 0:
            break
        size = tuple(int.from_bytes(head[place + a : place + a + 4], "big") for a in (8, 12))
        if size[0] * size[1] > width * height:
            width, height = size
        place = head.find(b"ispe", place + 4)
    animated = bool(brands & _SEQUENCE_BRANDS)
    return ImageHeader(name, width, height, animated, obstacle=f"TensorFlow cannot read {name}")


def _jpeg2000(data: _Window) -> ImageHeader:
    head = data.head()
    obstacle = "TensorFlow cannot read jpeg 2000"
    if head[:4] == b"\xff\x4f\xff\x51":
        x, y, left, top = (int.from_bytes(head[a : a + 4], "big") for a in (8, 12, 16, 20))
        return ImageHeader("jpeg2000", max(0, x - left), max(0, y - top), obstacle=obstacle)
    place = head.find(b"ihdr")
    if place < 0:
        return ImageHeader("jpeg2000", obstacle=obstacle)
    height, width = (int.from_bytes(head[place + a : place + a + 4], "big") for a in (4, 8))
    channels = int.from_bytes(head[place + 12 : place + 14], "big")
    return ImageHeader("jpeg2000", width, height, channels=channels, obstacle=obstacle)


def _starts(*firsts: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(firsts)


_INSPECTORS: tuple[tuple[Callable[[bytes], bool], Callable[[_Window], ImageHeader]], ...] = (
    (_starts(b"\xff\xd8\xff"), _jpeg),
    (_starts(b"\x89PNG\r\n\x1a\n"), _png),
    (_starts(b"GIF87a", b"GIF89a"), _gif),
    (lambda head: head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in BMP_HEADERS, _bmp),
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", _webp),
    (_starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _tiff),
    (lambda head: bool(_brands(head) & (_HEIF_BRANDS | _AVIF_BRANDS)), _iso),
    (_starts(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"), _jpeg2000),
)
