"""EXIF behind other blocks of a jpeg: every way of decoding turns the same file alike."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_simclr.data.decoding import decode_image, decode_named
from tf_simclr.data.header_ops import FORMATS, Facts, plain_png
from tf_simclr.data.image_formats import header_of
from tf_simclr.data.orientation_ops import plain_jpeg
from tools.fuzz_decoder import encoded

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8))
PLAIN = encoded(IMAGE, "JPEG")
JFIF, REST = PLAIN[2:20], PLAIN[20:]
assert JFIF.startswith(b"\xff\xe0\x00\x10JFIF") and REST.startswith(b"\xff\xdb")


def block(marker: int, data: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


EXIF = block(0xE1, b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 274, 3, 1, 6, 0) + bytes(4))
XMP = block(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b" " * 3000)
ICC = block(0xE2, b"ICC_PROFILE\0\x01\x01" + b"\xff\xc0" * 2000)
SHORT_ICC = block(0xE2, b"ICC_PROFILE\0\x01\x01" + b"\xff\xc0" * 200)
COMMENT = block(0xFE, b"a comment" * 60)
TABLE = REST[: 2 + int.from_bytes(REST[2:4], "big")]
BEFORE = {
    "nothing": JFIF,
    "no jfif": b"",
    "xmp": JFIF + XMP,
    "icc": JFIF + ICC,
    "icc first": ICC,
    "a short icc": SHORT_ICC,
    "a comment": JFIF + COMMENT,
    "filling": JFIF + b"\xff" * 5,
    "tables": JFIF + TABLE * 3,
    "much": JFIF + XMP + ICC * 4 + COMMENT,
}


@pytest.fixture(scope="module")
def shapes():
    """Content -> the shapes that each way of decoding gives."""

    def every(content):
        by_name = [decode_named(content, tf.constant("a file"), way) for way in ("auto", "tensorflow", "pillow")]
        return [tf.shape(image) for image in (decode_image(content), *by_name)]

    compiled = tf.function(every, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    return lambda content: [tuple(shape.numpy().tolist()) for shape in compiled(content)]


@pytest.mark.parametrize("before", BEFORE)
def test_exif_is_applied_whatever_stands_before_it(shapes, before):
    content = b"\xff\xd8" + BEFORE[before] + EXIF + REST
    assert header_of(content).orientation == 6
    assert shapes(content) == [(40, 20, 3)] * 4


@pytest.mark.parametrize("before", BEFORE)
def test_without_exif_nothing_is_turned(shapes, before):
    content = b"\xff\xd8" + BEFORE[before] + REST
    assert shapes(content) == [(20, 40, 3)] * 4


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}, {"icc_profile": b"x" * 400}])
def test_an_ordinary_jpeg_does_not_need_python(options):
    assert plain_jpeg(tf.constant(encoded(IMAGE, "JPEG", **options))).sure
    assert plain_jpeg(tf.constant(encoded(IMAGE.convert("L"), "JPEG", **options))).sure


@pytest.mark.parametrize("rest", [b"", b"\xff" * 5000, b"\xff\xe0" + bytes(9)])
def test_what_cannot_be_followed_is_not_plain(rest):
    assert not plain_jpeg(tf.constant(b"\xff\xd8" + rest)).sure
    assert not plain_jpeg(tf.constant(rest)).sure


def png(mode, **options):
    return encoded(IMAGE.convert(mode), "PNG", **options)


PNGS = {
    "rgb": (png("RGB"), True),
    "grey": (png("L"), True),
    "with alpha": (png("RGBA"), False),
    "palette": (png("P"), False),
    "a transparent colour": (png("RGB", transparency=(1, 2, 3)), False),
    "16 bits": (encoded(Image.fromarray(np.ones((20, 40), np.uint16)), "PNG"), False),
    "a block before the pixels": (png("RGB", dpi=(72, 72)), False),
    "exif": (png("RGB", exif=EXIF[10:]), False),
    "cut off": (png("RGB")[:30], False),
    "a jpeg": (PLAIN, False),
}


@pytest.mark.parametrize("name", PNGS)
def test_what_is_said_of_a_plain_png_is_what_python_says(name):
    content, wanted = PNGS[name]
    sure, facts = plain_png(tf.constant(content))
    assert bool(sure) == wanted
    if wanted:
        found, header = Facts(*(value.numpy() for value in facts)), header_of(content)
        assert (FORMATS[found.format], found.height, found.width) == (header.format, header.height, header.width)
        assert (found.orientation, found.transparent, found.sixteen_bits) == (1, False, False)
        assert (header.orientation, header.transparent, header.sixteen_bits) == (1, False, False)
        assert found.obstacle.decode() == header.obstacle == ""
