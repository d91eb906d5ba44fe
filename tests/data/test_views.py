"""Views: a function of (seed, epoch, example, view) only, alike for one image and a batch, eagerly and in tf.data."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.data import views
from tf_simclr.data.views import ViewPolicy
from tf_simclr.errors import InputError
from tf_simclr.ops import blur, color, image
from tf_simclr.ops.draws import example_key

FULL = ViewPolicy(image_size=16)
POLICIES = [
    FULL,
    ViewPolicy(16, color_jitter_strength=0.5, color_jitter_impl="simclrv2", blur=False),
    ViewPolicy(12, color_jitter_strength=0.0, blur=True),
    ViewPolicy.crop_and_flip(16),
    ViewPolicy(16, color_jitter_strength=4.0),
]


def photos(*shape):
    return tf.constant(np.random.default_rng(0).random(shape, dtype=np.float32))


def keys(n, view=0, epoch=0, seed=1):
    return example_key(seed, epoch, tf.range(n), view)


@pytest.mark.parametrize("policy", POLICIES)
def test_single_equals_batch(policy):
    images = photos(12, 20, 14, 3)
    batch = views.make_view(policy, images, keys(12))
    assert batch.shape == [12, policy.image_size, policy.image_size, 3]
    assert batch.numpy().min() >= 0 and batch.numpy().max() <= 1
    for photo, key, ours in zip(images, keys(12), batch, strict=True):
        np.testing.assert_allclose(ours, views.make_view(policy, photo, key), atol=2e-5)


@pytest.mark.parametrize("parallel", [1, 4])
def test_pipeline_gives_the_eager_views_whatever_the_parallelism(parallel):
    images = photos(24, 18, 18, 3)
    expected = views.make_view(FULL, images, keys(24))

    def crop(index):
        draw = views.draw_view(FULL, example_key(1, 0, index, 0), (18, 18))
        return views.apply_crop(FULL, tf.gather(images, index), draw), draw

    dataset = (
        tf.data.Dataset.range(24)
        .map(crop, num_parallel_calls=parallel)
        .batch(8)
        .map(lambda x, draw: views.apply_batch(FULL, x, draw), num_parallel_calls=parallel)
    )
    assert dataset.element_spec.shape[1:] == [16, 16, 3]
    ours = np.concatenate(list(dataset.as_numpy_iterator()))
    np.testing.assert_allclose(ours, expected, atol=2e-5)


def test_every_part_of_the_key_changes_the_view():
    images = photos(4, 18, 18, 3)
    base = views.make_view(FULL, images, keys(4)).numpy()
    np.testing.assert_array_equal(base, views.make_view(FULL, images, keys(4)))
    for other in (keys(4, view=1), keys(4, epoch=1), keys(4, seed=2), keys(5)[1:]):
        changed = np.abs(base - views.make_view(FULL, images, other).numpy()).max((1, 2, 3))
        assert changed.min() > 0.01


def test_draws_follow_the_paper():
    n = 20_000
    draw = {k: v.numpy() for k, v in views.draw_view(FULL, keys(n), (32, 32)).items()}
    for event, p in {"flip": 0.5, "jitter": 0.8, "gray": 0.2, "blur": 0.5}.items():
        assert abs(draw[event].mean() - p) < 4 * np.sqrt(p * (1 - p) / n)
    ranges = {
        "brightness": (-0.8, 0.8),
        "contrast": (0.2, 1.8),
        "saturation": (0.2, 1.8),
        "hue": (-0.2, 0.2),
        "sigma": (0.1, 2.0),
    }
    for name, (low, high) in ranges.items():
        values = draw[name]
        assert values.min() >= low - 1e-6 and values.max() <= high + 1e-6
        assert abs(values.mean() - (low + high) / 2) < 4 * (high - low) / np.sqrt(12 * n)
        assert len(np.unique(values)) > 0.99 * n  # one of its own for every image
    np.testing.assert_array_equal(np.sort(draw["order"], axis=1), np.tile(np.arange(4), (n, 1)))


def test_draw_of_one_equals_draw_of_many():
    many = views.draw_view(FULL, keys(5), (31, 17))
    one = views.draw_view(FULL, keys(5)[3], tf.constant([31, 17, 3]))
    for name, value in one.items():
        np.testing.assert_allclose(value, many[name][3], rtol=1e-6)


def test_switches_leave_the_other_draws_alone():
    full = views.draw_view(FULL, keys(50), (32, 32))
    for change in ({"blur": False}, {"color_jitter_strength": 0.0}):
        part = views.draw_view(dataclasses.replace(FULL, **change), keys(50), (32, 32))
        assert set(part) < set(full)
        for name, value in part.items():
            np.testing.assert_array_equal(value, full[name])


def test_strength_zero_is_crop_and_flip():
    images = photos(8, 16, 16, 3)
    policy = ViewPolicy.crop_and_flip(16)
    draw = views.draw_view(policy, keys(8), (16, 16))
    assert set(draw) == {"box", "flip"}
    cropped = views.apply_crop(policy, images, draw)
    expected = np.where(draw["flip"].numpy()[:, None, None, None], cropped.numpy()[:, :, ::-1], cropped)
    np.testing.assert_array_equal(views.apply_batch(policy, cropped, draw), expected)


def test_view_is_the_operators_in_the_papers_order():
    photo, key = photos(30, 30, 3), keys(40)[7]
    draw = views.draw_view(FULL, key, (30, 30))
    draw |= {"flip": tf.constant(True), "jitter": tf.constant(True), "blur": tf.constant(True)}
    for gray in (False, True):
        draw["gray"] = tf.constant(gray)
        expected = image.crop_and_resize(photo, draw["box"], (16, 16))[:, ::-1]
        for k in draw["order"].numpy():
            op = color.JITTER_OPS[k]
            expected = getattr(color, op)(expected, draw[op])
        expected = color.to_grayscale(expected) if gray else expected
        expected = blur.gaussian_blur(expected, draw["sigma"], 3)
        ours = views.apply_batch(FULL, views.apply_crop(FULL, photo, draw), draw)
        np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (2, 300), (300, 2), (16, 16)])
def test_any_image_size(shape):
    batch = views.make_view(FULL, photos(6, *shape, 3), keys(6))
    assert batch.shape == [6, 16, 16, 3]
    assert np.isfinite(batch).all() and batch.numpy().min() >= 0 and batch.numpy().max() <= 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"image_size": 0}, "image_size"),
        ({"color_jitter_strength": -1.0}, "color_jitter_strength"),
        ({"color_jitter_impl": "v3"}, "simclrv1, simclrv2"),
    ],
)
def test_policy_rejects(wrong, message):
    with pytest.raises(InputError, match=message):
        ViewPolicy(**{"image_size": 16, **wrong})


@pytest.mark.parametrize("probability", [-0.1, 1.1])
def test_the_probability_of_a_crop_is_one(probability):
    with pytest.raises(InputError, match="crop_probability"):
        ViewPolicy(16, crop_probability=probability)
    assert ViewPolicy(16, crop_probability=0.0) != ViewPolicy(16, crop_probability=1.0)
