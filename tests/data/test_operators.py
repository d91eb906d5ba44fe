"""Compositions of operators: what is drawn, and which views get it."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.config import OPERATORS, AugmentationConfig, read_augmentation
from tf_simclr.data import views
from tf_simclr.data.operators import CROP_NUMBERS, OPERATOR_TYPES, Flip, build_operator
from tf_simclr.data.pipeline import train_batches
from tf_simclr.data.shapes import shapes_source
from tf_simclr.data.views import ViewPolicy
from tf_simclr.ops import blur, color, draws, image
from tf_simclr.ops.draws import example_key

NAMES = list(OPERATORS)
ALL = ",".join(NAMES)


def composed(text, size=16, **options):
    return ViewPolicy.composed(size, read_augmentation(text), **options)


def photos(*shape):
    return tf.constant(np.random.default_rng(0).random(shape, dtype=np.float32))


def keys(n, view=0):
    return example_key(1, 0, tf.range(n), view)


def test_the_config_and_the_operators_know_the_same_names():
    assert set(OPERATOR_TYPES) == set(OPERATORS)
    with_strength = {name for name, bounds in OPERATORS.items() if bounds is not None}
    fields = {name: {field.name for field in dataclasses.fields(kind)} for name, kind in OPERATOR_TYPES.items()}
    assert {name for name in fields if "strength" in fields[name]} == with_strength
    assert AugmentationConfig().min_crop_area == draws.MIN_CROP_AREA
    assert OPERATORS["blur"] == {"above": draws.BLUR_SIGMAS[0]}
    assert build_operator("noise", strength=0.5, probability=None, impl="simclrv2").strength == 0.5


def test_no_number_of_a_key_serves_two_operators():
    places = [CROP_NUMBERS, *(kind.numbers for kind in OPERATOR_TYPES.values())]
    used = [number for numbers in places for number in numbers]
    assert sorted(used) == list(range(len(used)))


@pytest.mark.parametrize("blurred", [True, False])
@pytest.mark.parametrize("strength", [1.0, 0.0])
def test_the_default_views_are_those_of_14_numbers_bit_for_bit(blurred, strength):
    """What runs from before operators had names saw: the numbers at their old places, the old calls in order."""
    images, policy = photos(12, 20, 14, 3), ViewPolicy(16, color_jitter_strength=strength, blur=blurred)
    u = tf.stack([tf.random.stateless_uniform([14], key, alg="philox") for key in keys(12)])
    expected = image.crop_and_resize(images, draws.crop_box(u[:, 0:4], 20, 14), (16, 16))
    expected = image.flip_left_right(expected, u[:, 4] < 0.5)
    if strength:
        amounts, order = draws.jitter_amounts(u[:, 7:11], strength), draws.order_of_four(u[:, 6])
        expected = color.jitter(expected, amounts, order, u[:, 5] < 0.8)
        expected = color.to_grayscale(expected, u[:, 11] < 0.2)
    if blurred:
        expected = blur.blur_chosen(expected, u[:, 12] < 0.5, draws.between(u[:, 13], 0.1, 2.0), 3)
    np.testing.assert_array_equal(views.make_view(policy, images, keys(12)), expected)


def test_the_default_composition_by_its_names_is_the_default():
    images = photos(12, 18, 18, 3)
    policy = composed("crop,flip,color_jitter,color_drop,blur", color_jitter_strength=0.5)
    assert policy.operators == ViewPolicy(16, color_jitter_strength=0.5).operators
    expected = views.make_view(ViewPolicy(16, color_jitter_strength=0.5), images, keys(12))
    np.testing.assert_array_equal(views.make_view(policy, images, keys(12)), expected)


def test_numbers_of_the_text_reach_the_operators():
    policy = composed(
        "crop@0.5,color_jitter:0.25@0.5,cutout:0.3,flip@1,noise:0.2,blur:1.5", color_jitter_impl="simclrv2"
    )
    jitter, cutout, flip, noise, blurring = policy.operators
    assert (jitter.strength, jitter.probability, jitter.impl) == (0.25, 0.5, "simclrv2")
    assert (cutout.strength, cutout.probability) == (0.3, 1.0) and flip == Flip(1.0)
    assert noise.strength == 0.2 and (blurring.strength, blurring.probability) == (1.5, 0.5)
    assert policy.crop_probability == 0.5 and not policy.one_branch


@pytest.mark.parametrize("one_branch", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_every_operator_in_range_and_one_image_is_a_batch(name, one_branch):
    images, policy = photos(6, 18, 18, 3), composed(name, one_branch=one_branch)
    batch = views.make_view(policy, images, keys(6))
    assert batch.shape == [6, 16, 16, 3] and batch.numpy().min() >= 0 and batch.numpy().max() <= 1
    for photo, key, ours in zip(images, keys(6), batch, strict=True):
        # AutoAugment rounds to 8 bits, where the rounding of two ways to crop may show.
        atol = 0.02 if name == "autoaugment" else 2e-5
        alone = views.make_view(policy, photo, key)
        assert (np.abs(ours - alone) > atol).mean() < (0.05 if name == "autoaugment" else 1e-9)


def test_what_is_drawn():
    n = 20_000
    draw = {k: v.numpy() for k, v in views.draw_view(composed(ALL), keys(n), (32, 32)).items()}
    for event in ("rotate", "cutout", "noise", "sobel", "autoaugment"):
        assert draw[event].all()
    shares = np.bincount(draw["turns"], minlength=4) / n
    assert len(shares) == 4 and np.abs(shares - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / n)
    middle = draw["cutout_box"][:, :2] + 4  # of a box of 8 pixels in a view of 16
    assert draw["cutout_box"][:, 2:].min() == draw["cutout_box"][:, 2:].max() == 8
    assert middle.min() == 0 and middle.max() == 15 and np.abs(middle.mean(0) - 7.5).max() < 4 * 4.61 / np.sqrt(n)
    assert len(np.unique(draw["noise_key"], axis=0)) == n
    half = views.draw_view(composed(",".join(f"{name}@0.5" for name in NAMES)), keys(n), (32, 32))
    for event in ("flip", "gray", "jitter", "rotate", "cutout", "noise", "blur", "sobel", "autoaugment"):
        assert abs(half[event].numpy().mean() - 0.5) < 4 * np.sqrt(0.25 / n), event
    whole = (half["box"].numpy() == [0, 0, 32, 32]).all(axis=1)
    assert 0.49 < whole.mean() < 0.53  # a random crop is now and then the whole photo


def test_without_crop_the_photo_is_resized():
    images = photos(4, 18, 18, 3)
    np.testing.assert_allclose(
        views.make_view(composed("flip@1"), images, keys(4)), image.resize(images, (16, 16))[:, :, ::-1], atol=2e-6
    )


def test_order_and_company_leave_the_draws_alone():
    alone = {name: views.draw_view(composed(name), keys(20), (18, 18)) for name in NAMES[1:]}
    together = views.draw_view(composed(ALL), keys(20), (18, 18))
    backwards = views.draw_view(composed(",".join(NAMES[:0:-1])), keys(20), (18, 18))
    for drawn in alone.values():
        for field in set(drawn) - {"box"}:
            np.testing.assert_array_equal(drawn[field], together[field])
            np.testing.assert_array_equal(drawn[field], backwards[field])


def test_operators_act_in_the_order_of_the_text():
    images = photos(4, 16, 16, 3)
    for order in itertools.permutations(["cutout", "noise", "sobel"]):
        policy = composed(",".join(order))
        draw = views.draw_view(policy, keys(4), (16, 16))
        expected = views.apply_crop(policy, images, draw)
        for name in order:
            expected = build_operator(name).apply(expected, draw)
        np.testing.assert_array_equal(views.make_view(policy, images, keys(4)), expected)
    last_black = composed("noise,cutout"), composed("cutout,noise")
    black = [(views.make_view(policy, images, keys(4)).numpy() == 0).all(-1).mean((1, 2)) for policy in last_black]
    assert (black[0] >= 16 / 256).all() and (black[1] < black[0]).all()


@pytest.mark.parametrize("name", NAMES)
def test_one_branch_leaves_the_other_view_alone(name):
    """Both views show one crop, and the operators act on the first (SimCLR, Figure 5)."""
    images = tf.repeat(photos(8, 1, 18, 18, 3), 2, axis=1)
    both_keys = example_key(1, 0, tf.range(8)[:, tf.newaxis], tf.range(2))
    policy = composed(f"{name}@1", one_branch=True)
    draw = views.draw_view(policy, both_keys, (18, 18))
    np.testing.assert_array_equal(draw["box"][:, 0], draw["box"][:, 1])
    np.testing.assert_array_equal(draw["box"][:, 0], views.draw_view(ViewPolicy(16), keys(8), (18, 18))["box"])
    crops = views.apply_crop(policy, images, draw)
    ours = views.make_view(policy, images, both_keys).numpy()
    np.testing.assert_array_equal(ours[:, 1], crops[:, 1])
    changed = (ours[:, 0] != crops.numpy()[:, 0]).any((1, 2, 3))
    # Among the angles is 0, and a sub-policy of AutoAugment may do nothing.
    assert changed.any() if name in ("rotate", "autoaugment") else changed.all()


def test_the_crop_of_one_branch_is_a_crop_of_the_shared_one():
    images = photos(6, 18, 18, 3)
    policy = composed("crop", one_branch=True)
    draw = views.draw_view(policy, keys(6), (18, 18))
    shared = image.crop_and_resize(images, draw["box"], (16, 16))
    expected = image.crop_and_resize(shared, draw["inner_box"], (16, 16))
    np.testing.assert_allclose(views.make_view(policy, images, keys(6)), expected, atol=2e-6)
    area = draw["inner_box"].numpy()[:, 2:].prod(axis=1) / 256
    assert area.min() > 0.04 and len(np.unique(draw["inner_box"].numpy(), axis=0)) == 6


@pytest.mark.parametrize("one_branch", [False, True])
def test_in_tf_data_parallelism_changes_nothing(one_branch):
    source, policy = shapes_source("train[:8]"), composed(ALL, one_branch=one_branch)

    def batches(parallelism):
        dataset = train_batches(source, policy=policy, batch_size=4, seed=2, parallelism=parallelism)
        return [batch["views"] for batch in dataset.take(3).as_numpy_iterator()]

    for alone, parallel in zip(batches(1), batches(4), strict=True):
        np.testing.assert_array_equal(alone, parallel)
