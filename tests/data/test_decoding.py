"""Image files as they are: formats, transparency, orientation, size, damage; by TensorFlow and by Pillow."""

from __future__ import annotations

import functools
import io
import os
import resource
import struct
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tests.data.one_file import pipeline_of
from tf_simclr.data.decoding import CAN_READ_WEBP, NAMED_IMAGE, decode_image, decode_named
from tf_simclr.data.image_limits import MOST_DECODED
from tf_simclr.data.pillow_images import decode_with_pillow
from tools.fuzz_decoder import encoded, png

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (20, 30, 3), np.uint8)
RGB = Image.fromarray(PIXELS)
SMOOTH = Image.fromarray(np.linspace(0, 255, 40 * 60 * 3).reshape(40, 60, 3).astype(np.uint8))
MOVING = {"save_all": True, "append_images": [RGB.rotate(180)]}
DECODERS = ("auto", "pillow", "tensorflow")


@functools.cache
def pipeline(decoder: str) -> Callable[[bytes], np.ndarray]:
    return pipeline_of(lambda one: decode_named(one, tf.constant("a file"), decoder))


def in_pipeline(content: bytes, decoder: str) -> np.ndarray:
    """Decodes where training does."""
    return pipeline(decoder)(content)


# Without Python.
alone = tf.function(decode_image, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)


def everywhere(content: bytes) -> list[np.ndarray]:
    """By the decoders that must take the file, in a pipeline and without Python."""
    return [alone(tf.constant(content)).numpy(), *(in_pipeline(content, decoder) for decoder in DECODERS)]


def assert_is(image: np.ndarray, wanted: np.ndarray | Image.Image, tolerance: float = 1e-6) -> None:
    assert image.dtype == np.float32
    wanted = np.asarray(wanted) / 255.0 if isinstance(wanted, Image.Image) else wanted
    np.testing.assert_allclose(image, wanted, rtol=0, atol=tolerance)


def refusal_of(content: bytes, decoder: str) -> str:
    with pytest.raises(tf.errors.InvalidArgumentError, match=NAMED_IMAGE.pattern) as caught:
        in_pipeline(content, decoder)
    return str(caught.value)


# ---- What was right stays as it was ----


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "GIF", "BMP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_ordinary_files_are_to_the_last_bit_what_they_were(format_name, mode):
    content = encoded(SMOOTH.convert(mode), format_name)
    before = tf.io.decode_image(content, dtype=tf.float32, expand_animations=False) * tf.ones([1, 1, 3])
    np.testing.assert_array_equal(in_pipeline(content, "auto"), before)
    np.testing.assert_array_equal(decode_image(content), before)


@pytest.mark.parametrize("format_name", ["PNG", "BMP", "TIFF", "WEBP", "JPEG2000"])
@pytest.mark.parametrize("decoder", ["auto", "pillow"])
def test_lossless_colour(format_name, decoder):
    content = encoded(RGB, format_name, **({"lossless": True} if format_name == "WEBP" else {}))
    assert_is(in_pipeline(content, decoder), RGB)


@pytest.mark.parametrize("format_name", ["JPEG", "AVIF", "WEBP"])
def test_lossy_colour_is_that_of_pillow(format_name):
    content = encoded(SMOOTH, format_name, quality=95)
    wanted = Image.open(io.BytesIO(content)).convert("RGB")
    # TensorFlow's jpeg decoder takes the faster inverse transform, which is off by a few levels.
    assert_is(in_pipeline(content, "auto"), wanted, 5 / 255)
    assert_is(in_pipeline(content, "pillow"), wanted)


def test_heic():
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    assert_is(in_pipeline(encoded(SMOOTH, "HEIF", quality=95), "auto"), SMOOTH, 0.05)


def test_heic_without_its_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    _, reason = decode_with_pillow(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    assert b"pip install pillow-heif" in reason


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_kept(channels):
    pixels = RNG.integers(0, 65536, (20, 30, channels), np.uint16)
    content = tf.io.encode_png(pixels).numpy()
    for image in (decode_image(content).numpy(), in_pipeline(content, "auto")):
        np.testing.assert_array_equal(np.rint(image.astype(np.float64) * 65535), pixels.repeat(3 // channels, -1))
    if channels == 1:  # Pillow has no colour of 16 bits
        np.testing.assert_array_equal(in_pipeline(content, "pillow"), image)
        tiff = encoded(Image.fromarray(pixels[..., 0]), "TIFF")
        np.testing.assert_array_equal(in_pipeline(tiff, "auto"), image)


# ---- Transparency ----


def test_transparent_colour_of_an_rgb_png_becomes_white():
    content = png(2, 1, 2, 8, b"\0" + bytes([9, 8, 7, 60, 50, 40]), (b"tRNS", struct.pack(">HHH", 9, 8, 7)))
    for image in everywhere(content):
        assert_is(image, np.array([[[255, 255, 255], [60, 50, 40]]]) / 255)


def test_transparent_level_of_a_grey_png_becomes_white():
    content = png(2, 1, 0, 8, b"\0" + bytes([9, 60]), (b"tRNS", struct.pack(">H", 9)))
    for image in everywhere(content):
        assert_is(image, np.array([[[255] * 3, [60] * 3]]) / 255)


def test_transparent_entries_of_a_palette_are_mixed_with_white():
    blocks = (b"PLTE", bytes([0, 0, 0, 100, 100, 100, 10, 20, 30])), (b"tRNS", bytes([0, 51]))
    for image in everywhere(png(3, 1, 3, 8, b"\0" + bytes([0, 1, 2]), *blocks)):
        assert_is(image, np.array([[[1.0] * 3, [(100 * 0.2 + 255 * 0.8) / 255] * 3, [10 / 255, 20 / 255, 30 / 255]]]))


def test_sixteen_bits_with_a_transparent_colour():
    rows = b"\0" + struct.pack(">6H", 1, 2, 3, 40000, 5, 6)
    content = png(2, 1, 2, 16, rows, (b"tRNS", struct.pack(">HHH", 1, 2, 3)))
    wanted = np.array([[[1.0] * 3, [40000 / 65535, 5 / 65535, 6 / 65535]]])
    for image in (decode_image(content).numpy(), in_pipeline(content, "auto")):
        assert_is(image, wanted)


@pytest.mark.parametrize("decoder", ["auto", "pillow"])
def test_transparent_gif_becomes_white(decoder):
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 100, 0])
    image.putdata([0, 1])
    content = encoded(image, "GIF", transparency=0)
    assert_is(in_pipeline(content, decoder), np.array([[[1.0, 1.0, 1.0], [0, 100 / 255, 0]]]))


def test_transparent_gif_is_refused_without_python():
    content = encoded(RGB.quantize(4), "GIF", transparency=0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="transparency of a gif"):
        decode_image(content)
    assert "a file" in refusal_of(content, "tensorflow")


@pytest.mark.parametrize("format_name", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_alpha_is_put_on_white(format_name):
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert_is(in_pipeline(encoded(clear, format_name), "auto"), np.ones([8, 8, 3]), 0.02)


def test_a_fourth_band_need_not_be_alpha():
    for mode, format_name in (("CMYK", "TIFF"), ("CMYK", "JPEG"), ("RGBX", "TIFF")):
        smooth = Image.new("RGB", (16, 16), (200, 100, 50)).convert(mode)
        for decoder in ("auto", "pillow"):
            assert_is(
                in_pipeline(encoded(smooth, format_name), decoder), np.full([16, 16, 3], [200, 100, 50]) / 255, 0.03
            )


def test_the_fourth_byte_of_a_bmp_is_not_alpha():
    content = encoded(Image.fromarray(np.dstack([PIXELS, np.zeros([20, 30], np.uint8)])), "BMP")
    for image in everywhere(content):
        assert_is(image, RGB)


def test_a_bmp_with_a_palette():
    palette = RGB.quantize(7)
    assert_is(in_pipeline(encoded(palette, "BMP"), "auto"), palette.convert("RGB"))


# ---- Orientation ----


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_applied(format_name, orientation):
    tags = Image.Exif()
    tags[274] = orientation
    content = encoded(SMOOTH, format_name, exif=tags, quality=95)
    wanted = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    images = [in_pipeline(content, decoder) for decoder in ("auto", "pillow")]
    if format_name in ("JPEG", "PNG") or (format_name == "WEBP" and CAN_READ_WEBP):
        images.append(alone(tf.constant(content)).numpy())
    for image in images:
        assert_is(image, wanted, 5 / 255)


def test_a_jpeg_without_exif_never_meets_python(monkeypatch):
    def fail(content):
        raise AssertionError("Python was called")

    for name in ("_numbers", "decode_with_pillow"):
        monkeypatch.setattr(f"tf_simclr.data.decoding.{name}", fail)
    assert_is(in_pipeline(encoded(SMOOTH, "JPEG", quality=95), "auto"), SMOOTH, 0.05)


# ---- What must not reach a decoder ----


def test_an_animated_webp_gives_its_first_frame():
    content = encoded(RGB, "WEBP", lossless=True, **MOVING)
    for decoder in ("auto", "pillow"):
        assert_is(in_pipeline(content, decoder), RGB)
    assert "a file" in refusal_of(content, "tensorflow")


def test_an_animated_webp_does_not_end_the_process():
    """In a process of its own: what goes wrong there would end this one. The content is a constant, too, which an
    optimiser may want to fold into the decoder whatever stands around it."""
    program = """
import sys, tensorflow as tf
from tf_simclr.data.decoding import decode_image
content = sys.stdin.buffer.read()
constant = tf.function(lambda _: decode_image(tf.constant(content)))
for function in (decode_image, tf.function(decode_image), constant):
    for _ in range(3):
        try:
            function(tf.constant(content))
            print("decoded")
        except tf.errors.InvalidArgumentError as error:
            print("webp" in str(error))
"""
    frames = [Image.fromarray(RNG.integers(0, 256, (200, 300, 3), np.uint8)) for _ in range(3)]
    content = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], input=content, capture_output=True, env=environment)
    assert (done.returncode, done.stdout.decode().split()) == (0, ["True"] * 9)


def huge(content: bytes, place: int, order: str) -> bytes:
    return content[:place] + struct.pack(order, 65000, 65000) + content[place + struct.calcsize(order) :]


BOMBS = {
    "jpeg": huge(encoded(RGB, "JPEG"), encoded(RGB, "JPEG").index(b"\xff\xc0") + 5, ">HH"),
    "png": png(65000, 65000, 2, 8, bytes(100)),
    "gif": huge(encoded(RGB, "GIF"), 6, "<HH"),
    "bmp": huge(encoded(RGB, "BMP"), 18, "<ii"),
}


@pytest.mark.parametrize("name", ["jpeg", "png", "gif", "bmp"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_header_cannot_reserve_any_memory(name, decoder):
    assert "65000 x 65000" in refusal_of(BOMBS[name], decoder)


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_side_is_bounded(decoder):
    """A strip of 4 million x 20 pixels would be decoded for half a minute, into a gigabyte."""
    assert "4194328 x 20" in refusal_of(png(4194328, 20, 2, 8, bytes(100)), decoder)


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", b"no image", b"%PDF-1.4", bytes(100)])
@pytest.mark.parametrize("decoder", DECODERS)
def test_what_is_no_image_is_named(content, decoder):
    assert "a file" in refusal_of(content, decoder)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "JPEG2000"])
@pytest.mark.parametrize("decoder", ["auto", "pillow"])
def test_a_file_that_breaks_off_is_damaged(format_name, decoder):
    """Whatever TensorFlow or Pillow would fill in: half an image is none."""
    content = encoded(RGB, format_name)
    assert "damaged" in refusal_of(content[: len(content) // 2], decoder)


def test_noise_in_the_middle_of_a_jpeg_is_taken_as_it_comes():
    """A jpeg has no check sums: its decoder warns and goes on, in TensorFlow as in Pillow."""
    content = bytearray(encoded(SMOOTH, "JPEG"))
    middle = len(content) - 40
    content[middle : middle + 2] = bytes([content[middle] ^ 16, content[middle + 1] ^ 16])
    for decoder in DECODERS:
        image = in_pipeline(bytes(content), decoder)
        assert image.shape == (40, 60, 3) and 0 <= image.min() <= image.max() <= 1


def test_a_name_of_any_bytes_is_in_the_error():
    data = tf.data.Dataset.from_tensors(tf.constant('it\'s ["odd"] é.png'))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"odd.*é\.png"):
        data.map(lambda path: decode_named(tf.constant(b"\x89PNG\r\n\x1a\n"), path)).get_single_element()


# ---- Large images ----


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "BMP", "TIFF"])
def test_large_images_are_reduced(format_name):
    """4500 x 4000 pixels are more than 2**24: half the sides are left, and what is seen stays where it was."""
    small = np.array([[[250, 10, 10], [10, 250, 10]], [[10, 10, 250], [200, 200, 10]]], np.uint8)
    large = Image.fromarray(small).resize((4500, 4000), Image.Resampling.NEAREST)
    for decoder in ("auto", "pillow"):
        image = in_pipeline(encoded(large, format_name), decoder)
        assert image.shape == (2000, 2250, 3) and image.shape[0] * image.shape[1] <= MOST_DECODED
        assert_is(image[500::1000, 600::1000], small / 255, 0.03)


def test_the_mean_of_blocks_mixes_what_is_on_white():
    """Hidden colours of transparent pixels do not bleed into their neighbours."""
    pixels = np.zeros([4100, 4100, 4], np.uint8)
    pixels[::2] = [100, 100, 100, 255]
    image = in_pipeline(encoded(Image.fromarray(pixels), "PNG", compress_level=1), "auto")
    assert image.shape == (2050, 2050, 3)
    assert_is(image[::500, ::500], np.full([5, 5, 3], (100 + 255) / 2 / 255))


def test_a_photograph_of_48_megapixels_takes_little_memory():
    """It took 2.1 GB; decoded at half the sides it takes 144 MB as float32, and the file and its bytes besides."""
    program = """
import resource, sys, tensorflow as tf
from tf_simclr.data.decoding import decode_named
content = sys.stdin.buffer.read()
decode = lambda content: decode_named(content, tf.constant("file"))
data = lambda one: tf.data.Dataset.from_tensors(tf.constant(one)).map(decode).get_single_element()
data(tf.io.encode_jpeg(tf.zeros([8, 8, 3], tf.uint8)).numpy())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
shape = data(content).shape
print(*shape, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0
    content = encoded(Image.new("RGB", (8000, 6000), (90, 80, 70)), "JPEG")
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], input=content, capture_output=True, env=environment, check=True
    )
    *shape, megabytes = map(int, done.stdout.split())
    assert shape == [3000, 4000, 3] and megabytes < 400
