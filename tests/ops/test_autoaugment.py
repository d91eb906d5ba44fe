"""AutoAugment: the table, what is drawn from it, and the operations against Pillow."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from tf_simclr.ops import autoaugment, draws
from tf_simclr.ops.autoaugment import IMAGENET_POLICY, OPERATIONS, amount_at

RNG = np.random.default_rng(0)
NAMES = list(OPERATIONS)
NONE = len(NAMES)
GREY = (128, 128, 128)


def pillow_affine(data):
    return lambda p: p.transform(p.size, Image.Transform.AFFINE, data, Image.Resampling.NEAREST, fillcolor=GREY)


def enhance(kind, factor):
    return lambda p: kind(p).enhance(factor)


# Operation -> (amount, Pillow's version, levels that rounding may differ by).
PILLOW = {
    "shear_x": (0.17, pillow_affine((1, 0.17, 0, 0, 1, 0)), 0),
    "shear_y": (-0.23, pillow_affine((1, 0, 0, -0.23, 1, 0)), 0),
    "translate_x": (0.25, pillow_affine((1, 0, 5, 0, 1, 0)), 0),
    "translate_y": (-0.25, pillow_affine((1, 0, 0, 0, 1, -6)), 0),
    "rotate": (26.7, lambda p: p.rotate(26.7, Image.Resampling.NEAREST, fillcolor=GREY), 0),
    "autocontrast": (0.0, ImageOps.autocontrast, 1),
    "invert": (0.0, ImageOps.invert, 0),
    "equalize": (0.0, ImageOps.equalize, 0),
    "solarize": (100 / 255, lambda p: ImageOps.solarize(p, 100), 0),
    "posterize": (4.0, lambda p: ImageOps.posterize(p, 4), 0),
    "contrast": (1.7, enhance(ImageEnhance.Contrast, 1.7), 2),
    "color": (0.1, enhance(ImageEnhance.Color, 0.1), 2),
    "brightness": (1.4, enhance(ImageEnhance.Brightness, 1.4), 2),
    "sharpness": (1.5, enhance(ImageEnhance.Sharpness, 1.5), 2),
}


def test_the_table_is_complete():
    assert len(IMAGENET_POLICY) == 25 and all(len(pair) == 2 for pair in IMAGENET_POLICY)
    used = [operation for pair in IMAGENET_POLICY for operation in pair]
    assert all(name in OPERATIONS and 0 <= p <= 1 and 0 <= level <= 9 for name, p, level in used)
    # Counted in the paper's table.
    count = {name: sum(name == other for other, _, _ in used) for name in NAMES}
    assert {name: n for name, n in count.items() if n} == {
        "shear_x": 1, "rotate": 6, "autocontrast": 2, "invert": 3, "equalize": 17, "solarize": 7, "posterize": 5,
        "contrast": 2, "color": 6, "sharpness": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "level", "expected"),
    [
        ("rotate", 9, 30.0),
        ("rotate", 3, 10.0),
        ("shear_x", 6, 0.2),
        ("translate_y", 9, 150 / 331),
        ("color", 0, 0.1),
        ("contrast", 9, 1.9),
        ("sharpness", 7, 1.5),
        ("solarize", 0, 256 / 255),
        ("solarize", 9, 0.0),
        ("posterize", 0, 8.0),
        ("posterize", 5, 6.0),
        ("posterize", 7, 5.0),
        ("posterize", 8, 4.0),
        ("equalize", 0, 0.0),
    ],
)
def test_amounts_by_hand(name, level, expected):
    assert amount_at(name, level) == pytest.approx(expected)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_against_pillow(name):
    levels = RNG.integers(0, 256, [24, 20, 3], dtype=np.uint8)
    amount, pillow, tolerance = PILLOW[name]
    images = tf.constant(levels / np.float32(255))
    ours = autoaugment.apply_operations(images, tf.constant([NAMES.index(name), NONE]), tf.constant([amount, 0.0]))
    theirs = np.asarray(pillow(Image.fromarray(levels))).astype(np.float64)
    np.testing.assert_allclose(ours.numpy() * 255, theirs, atol=tolerance + 1e-3)


def test_a_draw_by_hand():
    # 2 / 25 = 0.08, so 0.09 is the third row: equalize 0.8, equalize 0.6. 10 / 25 = 0.4: rotate 0.8, color 0.4.
    operations, amounts = autoaugment.draw_operations(
        tf.constant([[0.09, 0.79, 0.61, 0.0, 0.0], [0.41, 0.0, 0.39, 0.49, 0.0], [0.41, 0.81, 0.0, 0.51, 0.9]])
    )
    equalize, rotate, color = (NAMES.index(name) for name in ("equalize", "rotate", "color"))
    np.testing.assert_array_equal(operations, [[equalize, NONE], [rotate, color], [NONE, color]])
    np.testing.assert_allclose(amounts, [[0, 0], [-80 / 3, 0.1], [80 / 3, 0.1]], atol=1e-5)


def test_draws_follow_the_table():
    n = 50_000
    u = draws.uniforms(draws.example_key(0, 0, tf.range(n), 0), 5)
    operations, amounts = (x.numpy() for x in autoaugment.draw_operations(u))
    for turn in range(2):
        for number, name in enumerate(NAMES):
            share = sum(pair[turn][1] for pair in IMAGENET_POLICY if pair[turn][0] == name) / 25
            assert abs((operations[:, turn] == number).mean() - share) <= 4 * np.sqrt(share * (1 - share) / n)
    turned = amounts[operations == NAMES.index("rotate")]
    assert abs((turned > 0).mean() - 0.5) < 4 * np.sqrt(0.25 / len(turned))
    wanted = {amount_at("rotate", level) for level in (3, 8, 9)}
    np.testing.assert_allclose(np.unique(np.abs(turned)), sorted(wanted), rtol=1e-6)


def test_a_batch_in_which_every_image_gets_something_else():
    images = tf.constant(RNG.random([4, 10, 12, 12, 3], dtype=np.float32))
    u = draws.uniforms(draws.example_key(0, 0, tf.reshape(tf.range(40), [4, 10]), 0), 5)
    operations, amounts = autoaugment.draw_operations(u)
    batch = tf.function(autoaugment.apply_operations)(images, operations, amounts)
    assert batch.shape == images.shape and batch.numpy().min() >= 0 and batch.numpy().max() <= 1
    for place in [(0, 0), (1, 3), (2, 7), (3, 9)]:
        alone = autoaugment.apply_operations(images[place], operations[place], amounts[place])
        np.testing.assert_allclose(batch[place], alone, atol=2e-6)
    idle = np.all(operations.numpy() == NONE, axis=-1)
    assert idle.any()
    np.testing.assert_array_equal(batch.numpy()[idle], images.numpy()[idle])
