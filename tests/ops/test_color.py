"""Colour operators against tf.image, NumPy's and the standard library's HSV, and hand-computed cases."""

from __future__ import annotations

import colorsys
import itertools

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.errors import InputError
from tf_simclr.ops import color

RNG = np.random.default_rng(0)


def photos(b=6):
    """Random colours and the corners of the cube, where saturation and hue are undefined or change sector."""
    images = RNG.random([b, 5, 8, 3], dtype=np.float32)
    images[:, 0] = np.array(list(itertools.product([0.0, 1.0], repeat=3)))
    images[:, 1, :4] = np.linspace(0, 1, 4)[:, None]  # greys
    return images


def hsv_map(images, change):
    result = np.empty_like(images)
    for at in np.ndindex(images.shape[:-1]):
        result[at] = colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*images[at].astype(float))))
    return result


def clip(x):
    return np.clip(x, 0, 1)


def tf_clip(x):
    return tf.clip_by_value(x, 0, 1)


ORACLES = {  # operator: amounts, tf.image, NumPy
    "brightness": (
        [-0.8, -0.1, 0, 0.3, 0.8],
        lambda x, a: tf_clip(tf.image.adjust_brightness(x, a)),
        lambda x, a: clip(x + a),
    ),
    "contrast": (
        [0, 0.4, 1, 1.8, 3],
        lambda x, a: tf_clip(tf.image.adjust_contrast(x, a)),
        lambda x, a: clip((x - x.mean((-3, -2), keepdims=True)) * a + x.mean((-3, -2), keepdims=True)),
    ),
    "saturation": (
        [0, 0.4, 1, 1.8, 5],
        lambda x, a: tf_clip(tf.image.adjust_saturation(x, a)),
        lambda x, a: hsv_map(x, lambda h, s, v: (h, min(s * a, 1), v)),
    ),
    "hue": (
        [-0.5, -0.2, 0, 0.07, 1 / 3, 0.5],
        lambda x, a: tf_clip(tf.image.adjust_hue(x, a)),
        lambda x, a: hsv_map(x, lambda h, s, v: ((h + a) % 1, s, v)),
    ),
}


@pytest.mark.parametrize("op", color.JITTER_OPS)
def test_against_two_oracles(op):
    amounts, theirs, numpy = ORACLES[op]
    images = photos(len(amounts))
    batched = getattr(color, op)(tf.constant(images), tf.constant(amounts, tf.float32)).numpy()
    for photo, amount, ours in zip(images, amounts, batched, strict=True):
        np.testing.assert_allclose(ours, theirs(photo, amount), atol=3e-6)
        np.testing.assert_allclose(ours, numpy(photo, amount), atol=3e-6)
        np.testing.assert_allclose(ours, getattr(color, op)(tf.constant(photo), amount), atol=1e-6)
    assert batched.min() >= 0 and batched.max() <= 1


def test_multiplicative_brightness():
    images = photos(3)
    ours = color.brightness(tf.constant(images), tf.constant([0.0, 0.5, 1.8]), "simclrv2")
    np.testing.assert_allclose(ours, clip(images * np.array([0, 0.5, 1.8])[:, None, None, None]), atol=1e-6)


def test_by_hand():
    orange = tf.constant([[[1.0, 0.5, 0.0]]])  # hue 30 degrees, saturation 1, value 1
    np.testing.assert_allclose(color.hue(orange, 1 / 3), [[[0.0, 1.0, 0.5]]], atol=1e-6)
    np.testing.assert_allclose(color.saturation(orange, 0.5), [[[1.0, 0.75, 0.5]]], atol=1e-6)
    np.testing.assert_allclose(color.to_grayscale(orange), [[[0.5924] * 3]], atol=1e-6)
    pair = tf.constant([[[0.2] * 3, [0.6] * 3]])
    np.testing.assert_allclose(color.contrast(pair, 0.5), [[[0.3] * 3, [0.5] * 3]], atol=1e-6)


def test_hue_turns_beyond_the_circle():
    images = tf.constant(photos())
    np.testing.assert_allclose(color.hue(images, 2.2), color.hue(images, 0.2), atol=1e-5)
    np.testing.assert_allclose(color.hue(images, -1.6), color.hue(images, 0.4), atol=1e-5)


def test_grayscale_of_the_chosen_only():
    images = photos(3)
    ours = color.to_grayscale(tf.constant(images), tf.constant([False, True, False])).numpy()
    np.testing.assert_array_equal(ours[[0, 2]], images[[0, 2]])
    np.testing.assert_allclose(ours[1], np.repeat(tf.image.rgb_to_grayscale(images[1]), 3, -1), atol=1e-6)
    np.testing.assert_allclose(ours[1, ..., 0], images[1] @ [0.2989, 0.587, 0.114], atol=1e-6)


@pytest.mark.parametrize("impl", color.BRIGHTNESS_IMPLS)
def test_jitter_applies_each_image_in_its_own_order(impl):
    orders = list(itertools.permutations(range(4)))
    images = photos(len(orders))
    amounts = {
        "brightness": RNG.uniform(0.3, 0.6, len(orders)),
        "contrast": RNG.uniform(0.2, 1.8, len(orders)),
        "saturation": RNG.uniform(0.2, 1.8, len(orders)),
        "hue": RNG.uniform(-0.2, 0.2, len(orders)),
    }
    amounts = {op: values.astype(np.float32) for op, values in amounts.items()}
    chosen = np.arange(len(orders)) % 5 > 0
    ours = color.jitter(tf.constant(images), amounts, tf.constant(orders), tf.constant(chosen), impl)
    for i, order in enumerate(orders):
        expected = tf.constant(images[i])
        for op in [color.JITTER_OPS[k] for k in order if chosen[i]]:
            extra = {"impl": impl} if op == "brightness" else {}
            expected = getattr(color, op)(expected, amounts[op][i], **extra)
        np.testing.assert_allclose(ours[i], expected, atol=2e-6)
        alone = color.jitter(
            tf.constant(images[i]), {op: amounts[op][i] for op in amounts}, tf.constant(order), chosen[i], impl
        )
        np.testing.assert_allclose(ours[i], alone, atol=2e-6)


def test_order_matters_because_every_operator_clips():
    images = tf.constant(photos(1))
    amounts = {"brightness": 0.6, "contrast": 1.7, "saturation": 1.0, "hue": 0.0}
    first = color.jitter(images, amounts, tf.constant([0, 1, 2, 3]))
    second = color.jitter(images, amounts, tf.constant([1, 0, 2, 3]))
    assert np.abs(first - second).max() > 0.1


def test_identity_amounts_change_nothing():
    images = photos()
    amounts = {"brightness": 0.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
    ours = color.jitter(tf.constant(images), amounts, tf.range(4))
    np.testing.assert_allclose(ours, images, atol=1e-6)


def test_unknown_brightness():
    with pytest.raises(InputError, match="simclrv1, simclrv2"):
        color.brightness(tf.zeros([1, 1, 3]), 0.0, "v3")
