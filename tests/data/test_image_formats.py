"""Headers, as Python and as TensorFlow's operations read them."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tf_simclr.data import header_ops
from tf_simclr.data.image_formats import header_of, read_header
from tf_simclr.data.image_header import PILLOW_FORMATS, refusal
from tf_simclr.data.image_limits import MOST_PIXELS, reduction
from tools.fuzz_decoder import base_files, encoded, mutated, png

RGB = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))
RGBA = RGB.convert("RGBA")
MOVING = {"save_all": True, "append_images": [RGB.rotate(180)]}


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[271] = "a maker"
    tags[274] = orientation
    return tags


@pytest.mark.parametrize(
    ("format_name", "options", "name"),
    [
        ("JPEG", {}, "jpeg"),
        ("JPEG", {"progressive": True}, "jpeg"),
        ("PNG", {}, "png"),
        ("GIF", {}, "gif"),
        ("BMP", {}, "bmp"),
        ("WEBP", {}, "webp"),
        ("WEBP", {"lossless": True}, "webp"),
        ("WEBP", MOVING, "webp"),
        ("TIFF", {}, "tiff"),
        ("AVIF", {}, "avif"),
        ("JPEG2000", {}, "jpeg2000"),
        ("JPEG2000", {"no_jp2": True}, "jpeg2000"),
    ],
)
def test_format_and_size(format_name, options, name):
    header = header_of(encoded(RGB, format_name, **options))
    assert (header.format, header.width, header.height) == (name, 30, 20)


def test_heic():
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    header = header_of(encoded(Image.new("RGB", (128, 96)), "HEIF"))
    assert (header.format, header.width, header.height) == ("heif", 128, 96)


@pytest.mark.parametrize(
    ("content", "transparent"),
    [
        (encoded(RGB, "PNG"), False),
        (encoded(RGBA, "PNG"), True),
        (encoded(RGBA.convert("LA"), "PNG"), True),
        (encoded(RGB.quantize(5), "PNG", transparency=1), True),
        (png(1, 1, 2, 8, bytes(4), (b"tRNS", bytes(6))), True),
        (encoded(RGB, "GIF"), False),
        (encoded(RGB.quantize(5), "GIF", transparency=1), True),
        (encoded(RGB, "WEBP"), False),
        (encoded(RGBA, "WEBP", lossless=True, exact=True), False),
        (encoded(Image.new("RGBA", (4, 4), (1, 2, 3, 4)), "WEBP"), True),
    ],
)
def test_transparency(content, transparent):
    assert header_of(content).transparent == transparent


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation(format_name, orientation):
    content = encoded(RGB, format_name, exif=exif(orientation))
    assert header_of(content).orientation == orientation


def test_orientation_that_is_none_counts_as_upright():
    assert header_of(encoded(RGB, "JPEG", exif=exif(9))).orientation == 1
    assert header_of(encoded(RGB, "JPEG", exif=exif(0))).orientation == 1


def test_a_frame_header_behind_much_else_is_found():
    """EXIF, a thumbnail in it, and a colour profile take more than the first 4 KiB."""
    content = encoded(RGB, "JPEG", exif=exif(6), icc_profile=bytes(150_000))
    header = header_of(content)
    assert (header.width, header.height, header.orientation) == (30, 20, 6)


def test_reading_is_bounded():
    class Counting(io.BytesIO):
        total = 0

        def read(self, size=-1):
            data = super().read(size)
            self.total += len(data)
            return data

    block = b"\xff\xe2" + struct.pack(">H", 60_000) + bytes(59_998)
    for content in (b"\xff\xd8" + block * 100, b"GIF89a" + bytes(7) + b"\x21\xff" + b"\x01\x00" * 10**6, bytes(10**6)):
        file = Counting(content)
        read_header(file)
        assert file.total <= 70_000


def test_what_is_no_image():
    for content in (b"", b"\xff", b"BM for Bernd Meier", b"RIFF\0\0\0\0WAVE", b"%PDF-1.4", bytes(64)):
        header = header_of(content)
        assert header.format == "" and header.obstacle


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (encoded(RGBA, "WEBP", **MOVING), "animated webp"),
        (encoded(RGB.quantize(5), "GIF", transparency=1), "transparency of a gif"),
        (encoded(RGB.quantize(5), "BMP"), "bmp with a palette"),
        (encoded(RGB, "TIFF"), "tiff"),
    ],
)
def test_what_tensorflow_is_not_given(content, words):
    header = header_of(content)
    assert words in header.obstacle
    assert refusal(header, "auto", tensorflow_reads_webp=True) == ""
    assert words in refusal(header, "tensorflow", tensorflow_reads_webp=True)


def test_webp_needs_pillow_where_tensorflow_cannot_read_it():
    header = header_of(encoded(RGB, "WEBP"))
    assert refusal(header, "auto", tensorflow_reads_webp=False) == ""
    assert "webp" in refusal(header, "tensorflow", tensorflow_reads_webp=False)


def test_too_many_pixels_are_refused_by_every_decoder():
    content = bytearray(encoded(RGB, "JPEG"))
    place = content.index(b"\xff\xc0")
    content[place + 5 : place + 9] = b"\xff\xff\xff\xff"
    for decoder in ("auto", "tensorflow", "pillow"):
        text = refusal(header_of(bytes(content)), decoder, tensorflow_reads_webp=True)
        assert "65535 x 65535" in text and str(MOST_PIXELS) in text


def test_reduction():
    sizes = {(4096, 4096): 1, (4097, 4097): 2, (6000, 8000): 2, (9000, 12000): 4, (255, 65535): 1, (257, 65535): 2}
    for (height, width), factor in sizes.items():
        assert reduction(height, width) == factor


# ---- Two readers ----


@pytest.fixture(scope="module")
def facts():
    return tf.function(header_ops.facts, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)


def assert_same_facts(facts, content):
    got, want = facts(content), header_of(content)
    known = want.format in header_ops.FORMATS
    assert int(got.format) == (header_ops.FORMATS.index(want.format) if known else len(header_ops.FORMATS))
    if known:
        assert int(got.orientation) == want.orientation
        assert got.obstacle.numpy().decode() == want.obstacle
        assert bool(got.sixteen_bits) == want.sixteen_bits
        # The size of a jpeg is left to the decoder's own library.
        size = (0, 0) if want.format == "jpeg" else (want.width, want.height)
        assert (int(got.width), int(got.height)) == size
    if want.format == "png":
        assert bool(got.transparent) == want.transparent


def test_both_readers_agree_on_good_files(facts):
    for content in base_files():
        assert header_of(content).format in PILLOW_FORMATS
        assert_same_facts(facts, content)
    for orientation in range(10):
        for format_name in ("JPEG", "PNG", "WEBP"):
            assert_same_facts(facts, encoded(RGB, format_name, exif=exif(orientation)))


@settings(derandomize=True, deadline=None, max_examples=400, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=True))
def test_both_readers_agree_on_any_file(facts, rng):
    assert_same_facts(facts, mutated(rng, FILES))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff", b"GIF89a", b"BM", b"II*\0", b"\0\0\0\x1cftypavif"])
)
def test_no_bytes_raise(content, start):
    header_of(start + content)


FILES = base_files()
