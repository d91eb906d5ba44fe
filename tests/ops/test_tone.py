"""AutoAugment's operators on pixel values against Pillow, each on whole 8-bit images.

Where Pillow rounds and we do not, the results may differ by its rounding: one level, and for operators that multiply a
rounded value by up to 1.9, two.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from tf_simclr.ops import tone

RNG = np.random.default_rng(0)


def _smooth(h, w):
    """An image with many pixels of a level, as images have."""
    y, x = np.mgrid[:h, :w]
    waves = [40 * np.sin(x / 5 + c) + 30 * np.cos(y / 4 - c) + 90 + 20 * c for c in range(3)]
    return np.clip(np.stack(waves, -1), 0, 255).astype(np.uint8)


IMAGES = {
    "noise": RNG.integers(0, 256, [20, 31, 3], dtype=np.uint8),
    "narrow": RNG.integers(90, 140, [24, 24, 3], dtype=np.uint8),
    "smooth": _smooth(33, 40),
    "flat": np.full([16, 16, 3], 77, np.uint8),
    "two_levels": RNG.choice([3, 4], [32, 32, 3]).astype(np.uint8),
    "small": RNG.integers(0, 256, [8, 8, 3], dtype=np.uint8),
}
EXACT = {
    "invert": (tone.invert, ImageOps.invert),
    "equalize": (tone.equalize, ImageOps.equalize),
    **{
        f"solarize_{t}": (lambda x, t=t: tone.solarize(x, t / 255), lambda p, t=t: ImageOps.solarize(p, t))
        for t in (0, 85, 128, 256)
    },
    **{
        f"posterize_{b}": (lambda x, b=b: tone.posterize(x, b), lambda p, b=b: ImageOps.posterize(p, b))
        for b in (1, 4, 6, 8)
    },
}
ENHANCERS = {
    "brightness": ImageEnhance.Brightness,
    "contrast": ImageEnhance.Contrast,
    "saturation": ImageEnhance.Color,
    "sharpness": ImageEnhance.Sharpness,
}


def both(ours, theirs, image):
    """Ours in levels, not rounded, and Pillow's."""
    mine = ours(tf.constant(image / np.float32(255))).numpy() * 255
    return mine, np.asarray(theirs(Image.fromarray(image))).astype(np.float64)


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("name", EXACT)
def test_to_the_level(name, image):
    mine, pillow = both(*EXACT[name], IMAGES[image])
    np.testing.assert_allclose(mine, pillow, atol=1e-3)


@pytest.mark.parametrize("image", IMAGES)
def test_autocontrast_to_a_level(image):
    mine, pillow = both(tone.autocontrast, ImageOps.autocontrast, IMAGES[image])
    np.testing.assert_allclose(mine, pillow, atol=1.0)  # it cuts fractions off


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("factor", [0.1, 0.9, 1.0, 1.9])
@pytest.mark.parametrize("name", ENHANCERS)
def test_enhancers_to_their_rounding(name, factor, image):
    ours = getattr(tone, name)
    mine, pillow = both(lambda x: ours(x, factor), lambda p: ENHANCERS[name](p).enhance(factor), IMAGES[image])
    np.testing.assert_allclose(mine, pillow, atol=1.0 + 1.0 * abs(1 - factor))


def test_equalize_by_hand():
    # 4 x 256 pixels: 512 of level 10, 257 of 20, 255 of 30; step (1024 - 255) // 255 = 3, and 1 is half of it.
    # The table: 10 -> (0 + 1) // 3, 20 -> (512 + 1) // 3, 30 -> (769 + 1) // 3, at most 255.
    levels = np.repeat([10, 20, 30], [512, 257, 255]).reshape(4, 256, 1)
    expected = np.repeat([0, 171, 255], [512, 257, 255]).reshape(4, 256, 1)
    ours = tone.equalize(tf.constant(levels / 255, tf.float32)).numpy() * 255
    np.testing.assert_allclose(ours, expected, atol=1e-3)


def test_the_rest_by_hand():
    image = tf.constant([[[0.2, 0.5, 0.9], [0.4, 0.5, 0.1]]])
    np.testing.assert_allclose(tone.invert(image)[0, 0], [0.8, 0.5, 0.1], atol=1e-6)
    np.testing.assert_allclose(tone.solarize(image, 0.5)[0], [[0.2, 0.5, 0.1], [0.4, 0.5, 0.1]], atol=1e-6)
    # 51, 128 and 230 in eight bits; the upper two bits are 0, 128 and 192.
    np.testing.assert_allclose(tone.posterize(image, 2)[0, 0] * 255, [0, 128, 192], atol=1e-3)
    # A channel of one level stays, and a range of rounding errors is one level.
    nearly = image + tf.constant([[[0.0, 1e-6, 0.0], [0.0, 0.0, 0.0]]])
    np.testing.assert_allclose(tone.autocontrast(nearly)[0], [[0, 0.5, 1], [1, 0.5, 0]], atol=1e-5)
    np.testing.assert_allclose(tone.brightness(image, 1.5)[0, 0], [0.3, 0.75, 1.0], atol=1e-6)
    luma = image.numpy()[0] @ [0.2989, 0.587, 0.114]
    np.testing.assert_allclose(tone.saturation(image, 0.5)[0], 0.5 * image[0] + 0.5 * luma[:, None], atol=1e-6)
    np.testing.assert_allclose(tone.contrast(image, 0.5)[0], 0.5 * image[0] + 0.5 * luma.mean(), atol=1e-6)
    dot = np.zeros([5, 5, 3], np.float32)
    dot[2, 2] = 0.13
    smooth = tone.sharpness(tf.constant(dot), 0.0).numpy()[..., 0]
    expected = np.pad(np.full([3, 3], 0.01), 1)
    expected[2, 2] = 0.05
    np.testing.assert_allclose(smooth, expected, atol=1e-6)


TAKING_A_NUMBER = {
    "solarize": [0.1, 0.4, 0.7, 1.1],
    "posterize": [1.0, 3.0, 5.0, 8.0],
    **{name: [0.1, 0.5, 1.2, 1.9] for name in ENHANCERS},
}


@pytest.mark.parametrize("name", [*TAKING_A_NUMBER, "invert", "equalize", "autocontrast"])
def test_every_image_its_own_number_and_one_image_is_a_batch(name):
    images = tf.constant(RNG.random([2, 2, 9, 7, 3], dtype=np.float32))
    numbers = np.float32(TAKING_A_NUMBER.get(name, [])).reshape(-1, 2)
    arguments = [tf.constant(numbers)] if numbers.size else []
    batch = tf.function(getattr(tone, name))(images, *arguments)
    assert batch.shape == images.shape and batch.numpy().min() >= 0 and batch.numpy().max() <= 1
    for place in np.ndindex(2, 2):
        alone = getattr(tone, name)(images[place], *(argument[place] for argument in arguments))
        np.testing.assert_allclose(batch[place], alone, atol=2e-6)
