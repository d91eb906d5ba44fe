"""The authors' preprocessing functions: eager and in tf.data, with a seed and without."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import tensorflow as tf

import data_util
from tf_simclr.data import preprocess
from tf_simclr.errors import InputError
from tf_simclr.ops import blur, color

SEED = tf.constant([1, 2], tf.int32)


def photo(*shape):
    return tf.constant(np.random.default_rng(0).random(shape, dtype=np.float32))


def seeds(n):
    return tf.random.split([3, 4], n, alg="philox")


RANDOM = {  # with their smallest calls
    "preprocess_image": lambda x, s: data_util.preprocess_image(
        x, 8, 12, is_training=True, color_jitter_strength=1.0, seed=s
    ),
    "preprocess_for_train": lambda x, s: data_util.preprocess_for_train(x, 8, 12, 0.5, seed=s),
    "random_crop_with_resize": lambda x, s: data_util.random_crop_with_resize(x, 8, 12, seed=s),
    "crop_and_resize": lambda x, s: data_util.crop_and_resize(x, 8, 12, seed=s),
    "random_color_jitter": lambda x, s: data_util.random_color_jitter(x, seed=s),
    "color_jitter": lambda x, s: data_util.color_jitter(x, 1.0, seed=s),
    "random_brightness": lambda x, s: data_util.random_brightness(x, 0.8, seed=s),
    "random_blur": lambda x, s: data_util.random_blur(x, 10, 10, seed=s),
}


@pytest.mark.parametrize("name", RANDOM)
def test_eager_equals_tf_data_and_seeds_decide(name):
    image = photo(10, 14, 3)
    eager = [RANDOM[name](image, seed).numpy() for seed in seeds(6)]
    dataset = tf.data.Dataset.from_tensor_slices(seeds(6)).map(lambda s: RANDOM[name](image, s))
    for ours, theirs in zip(dataset, eager, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert any(not np.array_equal(eager[0], other) for other in eager[1:])
    assert np.min(eager) >= 0 and np.max(eager) <= 1


def test_without_a_seed_every_call_differs():
    image = photo(16, 16, 3)
    # A brightness is drawn from a continuum: a crop is not, and two of four would be equal once in forty times.
    dataset = tf.data.Dataset.range(3).map(lambda _: data_util.random_brightness(image, 0.8))
    results = [*dataset.as_numpy_iterator(), data_util.random_brightness(image, 0.8).numpy()]
    assert len({result.tobytes() for result in results}) == 4


def test_facade_exports_the_authors_names():
    assert sorted(data_util.__all__) == data_util.__all__
    for name in data_util.__all__:
        assert getattr(data_util, name) is getattr(preprocess, name)
    signature = inspect.signature(data_util.preprocess_for_train)
    assert list(signature.parameters)[:7] == [
        "image",
        "height",
        "width",
        "color_jitter_strength",
        "crop",
        "flip",
        "impl",
    ]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("dtype", "channels"), [(tf.uint8, 3), (tf.float32, 3), (tf.uint16, 1)])
def test_preprocess_any_image(training, dtype, channels):
    function = tf.function(
        lambda x: data_util.preprocess_image(x, 8, 12, training, 1.0, seed=SEED),
        input_signature=[tf.TensorSpec([None, None, channels], dtype)],
    )
    assert function.get_concrete_function().output_shapes == [8, 12, 3]
    for height, width in [(1, 1), (4, 5), (40, 30), (3, 200), (200, 3)]:
        image = tf.image.convert_image_dtype(photo(height, width, channels), dtype)
        result = function(image)
        assert result.dtype == tf.float32
        assert result.numpy().min() >= 0 and result.numpy().max() <= 1


def test_preprocess_rejects_other_channels():
    with pytest.raises(InputError, match="channels"):
        data_util.preprocess_image(photo(4, 4, 4), 8, 8)


def test_evaluation_crop():
    image = photo(16, 16, 3)
    cropped = np.clip(tf.image.resize(image[1:15, 1:15], [8, 8], method="bicubic"), 0, 1)
    np.testing.assert_allclose(data_util.preprocess_for_eval(image, 8, 8), cropped, atol=1e-6)
    whole = np.clip(tf.image.resize(image, [8, 8], method="bicubic"), 0, 1)
    ours = data_util.preprocess_image(image, 8, 8, test_crop=False)
    np.testing.assert_allclose(ours, whole, atol=1e-6)
    same = data_util.preprocess_image(image, 16, 16, test_crop=False)
    np.testing.assert_array_equal(same, image)


def test_training_with_everything_off_is_a_resize():
    image = photo(16, 20, 3)
    ours = data_util.preprocess_for_train(image, 8, 8, 0.0, crop=False, flip=False)
    np.testing.assert_allclose(ours, np.clip(tf.image.resize(image, [8, 8], method="bicubic"), 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("function", "share", "tolerance"),
    [
        (lambda x, s: data_util.random_color_jitter(x, p=0.0, seed=s), 0.0, 0.0),
        # All but the 0.2 * 0.8 that get neither jitter nor grey.
        (lambda x, s: data_util.random_color_jitter(x, seed=s), 0.84, 0.07),
        (lambda x, s: data_util.random_blur(x, 4, 4, p=0.0, seed=s), 0.0, 0.0),
        (lambda x, s: data_util.random_blur(x, 4, 4, p=0.5, seed=s), 0.5, 0.1),
        (lambda x, s: data_util.random_crop_with_resize(x, 4, 4, p=0.0, seed=s), 0.0, 0.0),
        (lambda x, s: data_util.random_apply(lambda y: 1 - y, 0.5, x, s), 0.5, 0.1),
    ],
)
def test_probabilities(function, share, tolerance):
    image = photo(4, 4, 3)
    dataset = tf.data.Dataset.from_tensor_slices(seeds(400))
    changed = dataset.map(lambda s: tf.reduce_any(function(image, s) != image))
    assert abs(np.mean(list(changed.as_numpy_iterator())) - share) <= tolerance


def test_fixed_order_of_color_jitter():
    image = photo(5, 5, 3)
    ours = data_util.color_jitter(image, 1.0, random_order=False, impl="simclrv1", seed=SEED)
    u = tf.random.stateless_uniform([5], SEED, alg="philox").numpy()
    expected = color.brightness(image, 1.6 * u[0] - 0.8)
    expected = color.contrast(expected, 1.6 * u[1] + 0.2)
    expected = color.saturation(expected, 1.6 * u[2] + 0.2)
    expected = color.hue(expected, 0.4 * u[3] - 0.2)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_strengths_above_1_25_are_legal():
    for seed in seeds(5):
        result = data_util.color_jitter(photo(4, 4, 3), 5.0, seed=seed).numpy()
        assert np.isfinite(result).all() and result.min() >= 0 and result.max() <= 1


def test_batch_blur_has_a_sigma_for_each_image():
    # The same photo everywhere: equal sigmas would give equal results.
    images = tf.tile(photo(1, 20, 20, 3), [8, 1, 1, 1])
    first, second = data_util.batch_random_blur([images, images], 20, 20, 1.0, seed=SEED)
    results = [*first.numpy(), *second.numpy()]
    assert len({result.tobytes() for result in results}) == 16
    untouched = data_util.batch_random_blur([images], 20, 20, 0.0, seed=SEED)
    np.testing.assert_array_equal(untouched[0], images)


def test_to_grayscale_and_blur_and_brightness():
    image = photo(6, 6, 3)
    gray = tf.image.rgb_to_grayscale(image)
    np.testing.assert_allclose(data_util.to_grayscale(image, keep_channels=False), gray, atol=1e-6)
    assert data_util.to_grayscale(image).shape == [6, 6, 3]
    np.testing.assert_array_equal(data_util.gaussian_blur(image, 5, 1.5), blur.gaussian_blur(image, 1.5, 5))
    np.testing.assert_allclose(data_util.random_brightness(image, 0.0), image, atol=1e-6)
    assert data_util.gaussian_blur(image, 5, 1.5, padding="VALID").shape == [2, 2, 3]
