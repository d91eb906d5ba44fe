"""Copies across splits: exact, near, and images that only look alike to a bad measure."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance

from tf_simclr.data.shapes import render_shapes
from tf_simclr.evaluate.measures import twins as twins_module
from tf_simclr.evaluate.measures.thumbnails import PIXELS, PROJECTIONS, SIDE, mirrored, thumbnails
from tf_simclr.evaluate.measures.twins import NEAR, find_twins

SIZE = 48


def drawing(seed):
    """A few discs and boxes on white, as an icon has them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    image = np.full((SIZE, SIZE, 3), 255, np.uint8)
    for _ in range(4):
        (cy, cx), radius, colour = rng.integers(8, SIZE - 8, 2), rng.integers(5, 14), rng.integers(0, 256, 3)
        inside = (
            np.hypot(y - cy, x - cx) < radius if rng.random() < 0.5 else np.maximum(abs(y - cy), abs(x - cx)) < radius
        )
        image[inside] = colour
    return image


def jpeg(image, quality):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def resized(image):
    small = Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC)
    return np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def of(*images):
    return thumbnails(tf.constant(np.float32(np.stack(images)) / 255)).numpy()


TRAIN = [drawing(seed) for seed in range(30)]
COPIES = {
    "jpeg": lambda image: jpeg(image, 60),
    "resized": resized,
    "darker": lambda image: np.asarray(ImageEnhance.Brightness(Image.fromarray(image)).enhance(0.8)),
    "paler": lambda image: np.asarray(ImageEnhance.Contrast(Image.fromarray(image)).enhance(0.7)),
    "mirrored": lambda image: image[:, ::-1],
    "one pixel": lambda image: np.where(np.arange(SIZE * SIZE * 3).reshape(image.shape) == 99, 0, image),
}


def test_what_a_thumbnail_is():
    image = np.random.default_rng(0).random((1, 2 * SIDE, 2 * SIDE, 3), np.float32)
    found = thumbnails(tf.constant(image)).numpy()
    assert found.shape == (1, PIXELS + PROJECTIONS)
    means = image.reshape(SIDE, 2, SIDE, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(found[0, :PIXELS], (means - means.mean()).ravel(), atol=1e-6)
    np.testing.assert_allclose(mirrored(found[:, :PIXELS]), of(255 * image[0, :, ::-1])[:, :PIXELS], atol=1e-5)


@pytest.mark.parametrize("side", [8, 16, 23, 50])
def test_sizes_that_do_not_divide_keep_the_mean(side):
    ramp = np.tile(np.linspace(0, 1, side, dtype=np.float32)[:, None, None], (1, side, 3))
    small = thumbnails(tf.constant(ramp[None])).numpy()[0, :PIXELS].reshape(SIDE, SIDE, 3)
    assert abs(small.mean()) < 1e-6
    assert (np.diff(small[:, 0, 0]) >= -1e-6).all() and np.ptp(small) > 0.85
    np.testing.assert_allclose(small, -small[::-1], atol=1e-5)


def test_projections_estimate_how_far_two_images_are_apart():
    rng = np.random.default_rng(3)
    image = rng.integers(0, 200, (SIZE, SIZE, 3))
    for distance in (1, 10, 50):
        other = image + rng.choice([-distance, distance], image.shape)
        one, two = of(image, other)[:, PIXELS:] * 255
        assert 0.4 * distance < np.sqrt(np.mean((one - two) ** 2)) < 1.8 * distance


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_found_and_named(kind):
    test = [drawing(1000), COPIES[kind](TRAIN[7]), TRAIN[12], drawing(1001)]
    found = find_twins(of(*test), of(*TRAIN))
    assert found.rows.tolist() == [-1, 7, 12, -1]
    assert found.exact.tolist() == [False, False, True, False]
    assert found.similarity[1] >= NEAR and found.similarity[2] == 1
    values = found.to_json(("a", "b", "c", "d"), tuple(f"t{row}" for row in range(30)))
    assert (values["count"], values["exact"], values["near"]) == (2, 1, 1)
    assert [(pair["test"], pair["train"]) for pair in values["pairs"]] == [("c", "t12"), ("b", "t7")]
    strange = found.describe(("a", "b", "c\udcff", "d"), tuple(map(str, range(30))))
    assert strange[1] == "    c\\xff = 12 (exact)"
    assert "2 of 4 test images are copies of training images (1 exact, 1 near)" in found.describe("abcd", "x" * 30)[0]


def test_the_search_in_small_blocks_and_the_first_of_equal_copies():
    test, train = of(TRAIN[3], drawing(5000)), of(*TRAIN, TRAIN[3])
    for memory in (2**28, 1):
        found = find_twins(test, train, memory_bytes=memory)
        assert found.rows.tolist() == [3, -1] and found.exact.tolist() == [True, False]


def test_the_exact_copy_is_preferred_to_a_brighter_one():
    darker = COPIES["darker"](TRAIN[3])
    found = find_twins(of(TRAIN[3]), of(darker, drawing(7), TRAIN[3], COPIES["paler"](TRAIN[3])))
    assert found.rows.tolist() == [2] and found.exact.all()


def test_images_without_contrast_are_twins_by_their_colour():
    plain = [np.full((SIZE, SIZE, 3), level, np.uint8) for level in (0, 0, 90, 91, 255)]
    found = find_twins(of(plain[0], plain[3], drawing(1)), of(plain[2], plain[4], plain[1]))
    assert found.rows.tolist() == [2, -1, -1] and found.exact.tolist() == [True, False, False]


@pytest.mark.parametrize("side", [16, 32, 64])
def test_images_of_one_kind_are_no_twins(side):
    """The built-in images: ten shapes in all colours and places."""
    train, test = (render_shapes(0, split, 0, 400, side)[0] for split in ("train", "test"))
    assert not find_twins(of(*test), of(*train)).found.any()


def test_distinct_drawings_are_no_twins_where_a_lower_threshold_would_say_so(monkeypatch):
    others = [drawing(seed) for seed in range(100, 400)]
    assert not find_twins(of(*others), of(*TRAIN)).found.any()
    monkeypatch.setattr(twins_module, "NEAR", 0.5)
    assert find_twins(of(*others), of(*TRAIN)).found.any()
