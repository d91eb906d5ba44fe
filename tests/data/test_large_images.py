"""Large images: what a flag refuses, how many are decoded at a time, and that they are the same as in a graph."""

from __future__ import annotations

import io
import threading

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_simclr.config import DataConfig, build_config
from tf_simclr.data import large_images, pixels
from tf_simclr.data.datasets import load_sources
from tf_simclr.data.decoding import decode_image, decode_named
from tf_simclr.data.image_files import Reading, recognise
from tf_simclr.data.image_limits import MOST_DECODED, MOST_PIXELS
from tf_simclr.data.in_flight import IN_FLIGHT, PixelsInFlight
from tf_simclr.data.large_images import decode_in_turn
from tf_simclr.errors import InputError

RNG = np.random.default_rng(0)
LARGE = (4200, 4000)  # width, height: 16.8 million pixels, just above what is decoded whole


def encoded(image, format_name="PNG", **options):
    content = io.BytesIO()
    image.save(content, format=format_name, **options)
    return content.getvalue()


@pytest.fixture(scope="module")
def large():
    """A png of a gradient."""
    return encoded(Image.linear_gradient("L").resize(LARGE), compress_level=1)


# ---- The same image ----


@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("bands", [3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_numpy_finishes_as_a_graph_does(factor, bands, dtype):
    values = RNG.integers(0, np.iinfo(dtype).max, (13, 10, bands), dtype=dtype, endpoint=True)
    scales = (257.0, 1 / 65535) if dtype == np.uint8 else (1.0, 1 / 65535)
    for orientation in range(1, 9):
        numbers = (tf.constant(orientation), tf.constant(factor), *(tf.constant(scale) for scale in scales))
        expected = pixels.finished(tf.constant(values), *numbers)
        found = large_images.finished(values, orientation, factor, *scales)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("format_name", "mode"), [("JPEG", "RGB"), ("PNG", "RGBA"), ("PNG", "L"), ("BMP", "RGB")])
def test_a_file_decodes_as_in_a_graph(format_name, mode):
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {} if format_name == "BMP" else {"exif": exif}
    image = Image.fromarray(RNG.integers(0, 256, (40, 30, 4), np.uint8)).convert(mode)
    content = encoded(image, format_name, **options)
    found, reason = decode_in_turn(content, MOST_PIXELS)
    assert reason == b"" and found.shape[:2] == ((40, 30) if format_name == "BMP" else (30, 40))
    np.testing.assert_array_equal(found, decode_image(content))


def test_a_png_of_16_bits_keeps_them():
    content = encoded(Image.fromarray(RNG.integers(0, 65536, (9, 7), np.uint16)))
    np.testing.assert_array_equal(decode_in_turn(content, MOST_PIXELS)[0], decode_image(content))


def test_a_damaged_file_is_named(large):
    assert decode_in_turn(large[: len(large) // 2], MOST_PIXELS)[1] == b"its content is damaged"
    data = tf.data.Dataset.from_tensors(large[: len(large) // 2])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"damaged, remove or replace it.*a/large\.png"):
        data.map(lambda content: decode_named(content, tf.constant("a/large.png"))).get_single_element()


def test_pillow_reduces_16_bits_of_grey():
    grey = np.repeat(np.arange(4100, dtype=np.uint16)[np.newaxis] * 15, 4100, axis=0)
    content = tf.constant(encoded(Image.fromarray(grey), "TIFF"))
    image = decode_named(content, tf.constant("a file")).numpy()
    assert image.shape == (2050, 2050, 3)
    np.testing.assert_allclose(image[0, :, 0], (grey[0, ::2] + 7.5) / 65535, atol=1 / 65535)


# ---- One at a time ----


@pytest.mark.parametrize("decoder", ["auto", "pillow"])
def test_threads_take_turns_and_none_waits_for_ever(large, decoder, monkeypatch):
    """More images than threads: who has its turn ends although all others of the pipeline wait for theirs."""
    seen = []
    turn = PixelsInFlight.turn

    def noted(self, pixels, most):
        seen.append(IN_FLIGHT._taken)
        return turn(self, pixels, most)

    monkeypatch.setattr(PixelsInFlight, "turn", noted)
    data = tf.data.Dataset.from_tensors(large).repeat(6)
    images = data.map(
        lambda content: decode_named(content, tf.constant("a file"), decoder, LARGE[0] * LARGE[1]), num_parallel_calls=6
    )
    shapes = [image.shape for image in images]
    assert shapes == [(2000, 2100, 3)] * 6 and len(seen) == 6 and IN_FLIGHT._taken == 0
    assert max(seen) <= LARGE[0] * LARGE[1]


def test_as_many_at_a_time_as_the_pixels_allow():
    flight, entered, leave = PixelsInFlight(), threading.Semaphore(0), threading.Event()
    most, now, lock = [0], [0], threading.Lock()

    def work(pixels):
        with flight.turn(pixels, 100):
            with lock:
                now[0] += pixels
                most[0] = max(most[0], now[0])
            entered.release()
            leave.wait(30)
            with lock:
                now[0] -= pixels

    threads = [threading.Thread(target=work, args=(40,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert entered.acquire(timeout=30) and entered.acquire(timeout=30)
    leave.set()
    for thread in threads:
        thread.join(30)
    assert most[0] == 80 and flight._taken == 0
    with flight.turn(1000, 100):  # more than is allowed goes alone
        assert flight._taken == 1000


def test_an_error_gives_the_turn_back():
    flight = PixelsInFlight()
    with pytest.raises(MemoryError), flight.turn(10, 5):
        raise MemoryError
    assert flight._taken == 0


# ---- Refused ----


def test_files_above_the_bound_are_refused_before_anything_is_decoded(tmp_path, large):
    (tmp_path / "a.png").write_bytes(encoded(Image.new("L", (8, 8))))
    for name in ("large.png", "more.png"):
        (tmp_path / name).write_bytes(large)
    options = {"data_dir": str(tmp_path), "eval_split": None}
    with pytest.raises(InputError) as caught:
        load_sources("folder", **options, max_image_pixels=MOST_DECODED)
    text = str(caught.value)
    assert "says 4200 x 4000 pixels, and at most 16777216 are read" in text and "large.png" in text
    assert "or pass --max_image_pixels=16800000" in text and "1 other image" in text
    source, _ = load_sources("folder", **options, max_image_pixels=16_800_000)
    assert source.num_examples == 3 and any("2 images of more than 16.8 megapixels" in note for note in source.notes)


def test_a_jpeg_above_the_bound_is_read_because_its_decoder_reduces_it(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(Image.new("L", LARGE), "JPEG", progressive=True))
    assert recognise(str(path), Reading(most=MOST_DECODED)) == (None, True, "")
    for decoder in ("auto", "pillow"):
        image = decode_named(tf.io.read_file(str(path)), tf.constant("a file"), decoder, MOST_DECODED)
        assert image.shape == (2000, 2100, 3)


@pytest.mark.parametrize("decoder", ["auto", "tensorflow", "pillow"])
def test_a_file_that_was_not_looked_at_is_refused_when_it_is_decoded(large, decoder):
    """As in a data set of TensorFlow Datasets."""
    data = tf.data.Dataset.from_tensors(large)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"4200 x 4000 pixels.*at most 16777216 are read.*a file"):
        data.map(
            lambda content: decode_named(content, tf.constant("a file"), decoder, MOST_DECODED)
        ).get_single_element()


def test_the_flag_has_a_range():
    for value in (0, 2**24 - 1, 178_956_971):
        with pytest.raises(InputError, match="`max_image_pixels` must be"):
            DataConfig(dataset="shapes", max_image_pixels=value).validate()
    assert build_config({}).data.max_image_pixels == 50_000_000
