"""Recognises an image file by its content and reads its header. Pure Python, no TensorFlow.

The name of a file says nothing. At most 64 KiB of it are read, in at most 200 pieces, and no bytes make it raise or
loop. `header_ops` reads the same facts in TensorFlow's operations, for graphs without Python.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable

from tf_simclr.data.header_window import (
    EXIF,
    MOST_BLOCKS,
    ORIENTATION,
    TRUE_ORIENTATIONS,
    FileWindow,
    Readable,
    orientation_in,
    tiff_tags,
)
from tf_simclr.data.image_header import ImageHeader

_WIDTH, _HEIGHT = 256, 257
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}
# Sizes of the headers of a bmp: any text may begin with the two letters that it begins with.
BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
GREY_RAMP = b"".join(bytes([level, level, level, 0]) for level in range(256))


def read_header(file: Readable) -> ImageHeader:
    """Reads the header of an open file.

    Args:
        file: readable and seekable.

    Raises:
        OSError: the file cannot be read. No content raises.
    """
    data = FileWindow(file)
    head = data.at(0, 32)
    for begins, inspect in _INSPECTORS:
        if begins(head):
            return inspect(data)
    return ImageHeader(obstacle="its content is that of no image format that is known here")


def header_of(content: bytes) -> ImageHeader:
    """The header of a file that lies in memory."""
    return read_header(io.BytesIO(content))


# ---- Formats ----


def _jpeg(data: FileWindow) -> ImageHeader:
    place, orientation = 2, 0
    for _ in range(MOST_BLOCKS):
        piece = data.at(place, 9)
        if piece[0] != 0xFF:
            break
        marker, size = piece[1], int.from_bytes(piece[2:4], "big")
        if marker == 0xFF:  # filling
            place += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(piece[a : a + 2], "big") for a in (5, 7))
            return ImageHeader("jpeg", width, height, orientation=orientation or 1)
        if marker in (0xD9, 0xDA) or size < 2:
            break
        if marker == 0xE1 and not orientation and data.at(place + 4, 6) == EXIF:
            orientation = orientation_in(data, place + 4, size - 2)
        place += 2 + size
    return ImageHeader("jpeg", orientation=orientation or 1)


def _png(data: FileWindow) -> ImageHeader:
    head = data.at(0, 33)
    width, height = (int.from_bytes(head[a : a + 4], "big") for a in (16, 20))
    colour = head[25]
    transparent, orientation = colour in (4, 6), 0
    place = 8
    for _ in range(MOST_BLOCKS):
        piece = data.at(place, 8)
        size, name = int.from_bytes(piece[:4], "big"), piece[4:]
        if name in (b"IDAT", b"IEND", b"\0\0\0\0"):
            break
        transparent |= name == b"tRNS"
        if name == b"eXIf" and not orientation:
            orientation = orientation_in(data, place + 8, size)
        place += 12 + size
    return ImageHeader("png", width, height, transparent, orientation or 1, sixteen_bits=head[24] == 16)


def _gif(data: FileWindow) -> ImageHeader:
    head = data.at(0, 13)
    width, height = (int.from_bytes(head[a : a + 2], "little") for a in (6, 8))
    place = 13 + (3 << (head[10] % 8 + 1) if head[10] & 0x80 else 0)
    header = ImageHeader("gif", width, height, obstacle="no image is found in the gif")
    transparent = within = False
    for _ in range(MOST_BLOCKS):
        piece = data.at(place, 11)
        if within:  # the blocks of an extension, up to an empty one
            place, within = place + 1 + piece[0], piece[0] > 0
        elif piece[0] == 0x21:
            transparent |= piece[1] == 0xF9 and bool(piece[3] & 1)
            place, within = place + 2, True
        elif piece[0] == 0x2C:
            left, top, wide, high = (int.from_bytes(piece[a : a + 2], "little") for a in (1, 3, 5, 7))
            transparent |= (left, top, wide, high) != (0, 0, width, height)
            obstacle = "TensorFlow loses the transparency of a gif" if transparent else ""
            return dataclasses.replace(header, transparent=transparent, obstacle=obstacle)
        else:
            break
    return header


def _bmp(data: FileWindow) -> ImageHeader:
    head = data.at(0, 54)
    fields = int.from_bytes(head[14:18], "little")
    if fields == 12:
        width, height = (int.from_bytes(head[a : a + 2], "little") for a in (18, 20))
        return ImageHeader("bmp", width, height, obstacle="TensorFlow cannot read a bmp of this old kind")
    width, height = (int.from_bytes(head[a : a + 4], "little", signed=True) for a in (18, 22))
    bits, packing = int.from_bytes(head[28:30], "little"), int.from_bytes(head[30:34], "little")
    header = ImageHeader("bmp", width, abs(height))
    obstacle = ""
    if packing:
        obstacle = "TensorFlow cannot read a bmp that is packed"
    elif bits not in (8, 24, 32):
        obstacle = "TensorFlow cannot read a bmp of this many bits"
    elif bits == 8 and data.at(14 + fields, 1024) != GREY_RAMP:
        obstacle = "TensorFlow cannot read a bmp with a palette"
    return dataclasses.replace(header, obstacle=obstacle)


def _webp(data: FileWindow) -> ImageHeader:
    head = data.at(0, 32)
    kind = head[12:16]
    if kind == b"VP8X":
        flags = head[20]
        width, height = (int.from_bytes(head[a : a + 3], "little") + 1 for a in (24, 27))
        obstacle = "TensorFlow crashes on an animated webp" if flags & 2 else ""
        orientation = _webp_orientation(data) if flags & 8 else 1
        return ImageHeader("webp", width, height, bool(flags & 16), orientation, obstacle=obstacle)
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return ImageHeader("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, transparent=bool(bits >> 28 & 1))
    if kind == b"VP8 ":
        width, height = (int.from_bytes(head[a : a + 2], "little") & 0x3FFF for a in (26, 28))
        return ImageHeader("webp", width, height)
    return ImageHeader("webp", obstacle="its content is that of no known kind of webp")


def _webp_orientation(data: FileWindow) -> int:
    place = 12
    for _ in range(MOST_BLOCKS):
        piece = data.at(place, 8)
        if piece[:4] == b"\0\0\0\0":
            break
        size = int.from_bytes(piece[4:], "little")
        if piece[:4] == b"EXIF":
            return orientation_in(data, place + 8, size)
        place += 8 + size + size % 2
    return 1


def _tiff(data: FileWindow) -> ImageHeader:
    tags = tiff_tags(data, 0, {_WIDTH, _HEIGHT, ORIENTATION})
    orientation = tags.get(ORIENTATION, 1)
    return ImageHeader(
        "tiff",
        tags.get(_WIDTH, 0),
        tags.get(_HEIGHT, 0),
        orientation=orientation if orientation in TRUE_ORIENTATIONS else 1,
        obstacle="TensorFlow cannot read tiff",
    )


def _brands(head: bytes) -> set[bytes]:
    if head[4:8] != b"ftyp":
        return set()
    size = min(int.from_bytes(head[:4], "big"), 256)
    return {head[8:12], *(head[place : place + 4] for place in range(16, size, 4))}


def _iso(data: FileWindow) -> ImageHeader:
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
    return ImageHeader(name, width, height, obstacle=f"TensorFlow cannot read {name}")


def _jpeg2000(data: FileWindow) -> ImageHeader:
    head = data.head()
    obstacle = "TensorFlow cannot read jpeg 2000"
    if head[:4] == b"\xff\x4f\xff\x51":
        x, y, left, top = (int.from_bytes(head[a : a + 4], "big") for a in (8, 12, 16, 20))
        return ImageHeader("jpeg2000", max(0, x - left), max(0, y - top), obstacle=obstacle)
    place = head.find(b"ihdr")
    if place < 0:
        return ImageHeader("jpeg2000", obstacle=obstacle)
    height, width = (int.from_bytes(head[place + a : place + a + 4], "big") for a in (4, 8))
    return ImageHeader("jpeg2000", width, height, obstacle=obstacle)


def _starts(*firsts: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(firsts)


_INSPECTORS: tuple[tuple[Callable[[bytes], bool], Callable[[FileWindow], ImageHeader]], ...] = (
    (_starts(b"\xff\xd8\xff"), _jpeg),
    (_starts(b"\x89PNG\r\n\x1a\n"), _png),
    (_starts(b"GIF87a", b"GIF89a"), _gif),
    (lambda head: head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in BMP_HEADERS, _bmp),
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", _webp),
    (_starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _tiff),
    (lambda head: bool(_brands(head) & (_HEIF_BRANDS | _AVIF_BRANDS)), _iso),
    (_starts(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"), _jpeg2000),
)
