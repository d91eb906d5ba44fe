"""The preprocessing functions of the authors' `data_util`, under their names and with their arguments.

They work on one image, eagerly and inside `tf.data.Dataset.map`. Each random one takes an optional `seed`, a
stateless int32[2]: with it the result is a function of the arguments, without it every call draws a fresh one.
Brightness defaults to the multiplicative "simclrv2" as in the authors' signatures, unlike `ViewPolicy`, which follows
the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import tensorflow as tf

from tf_simclr.data.operators import (
    BLUR_PROBABILITY,
    FLIP_PROBABILITY,
    GRAY_PROBABILITY,
    JITTER_PROBABILITY,
)
from tf_simclr.ops import blur, color, draws
from tf_simclr.ops import image as image_ops

Seed: TypeAlias = "tf.Tensor | Sequence[int] | None"

EVAL_CROP_PROPORTION = 0.875


def preprocess_image(
    image: tf.Tensor,
    height: int,
    width: int,
    is_training: bool = False,
    color_jitter_strength: float = 0.0,
    test_crop: bool = True,
    seed: Seed = None,
) -> tf.Tensor:
    """Prepares a decoded image for training or evaluation.

    Args:
        image: [h, w, 3] or grey [h, w, 1]; integers are scaled by their dtype's range, floats must be in [0, 1].
        height: of the result.
        width: of the result.
        is_training: random crop, flip and colour distortion, or the deterministic evaluation crop.
        color_jitter_strength: s >= 0 of the colour distortion in training; 0 turns it off.
        test_crop: whether evaluation takes the central 87.5% before resizing.
        seed: int32[2], see the module.

    Returns:
        float32 [height, width, 3] in [0, 1].

    Raises:
        InputError: when the image has neither 1 nor 3 channels.
    """
    if is_training:
        return preprocess_for_train(image, height, width, color_jitter_strength, seed=seed)
    return preprocess_for_eval(image, height, width, crop=test_crop)


def preprocess_for_train(
    image: tf.Tensor,
    height: int,
    width: int,
    color_jitter_strength: float = 0.0,
    crop: bool = True,
    flip: bool = True,
    impl: str = "simclrv2",
    seed: Seed = None,
) -> tf.Tensor:
    """Random crop and resize, flip and colour distortion; without `crop` the whole image is resized.

    Args and result as in `preprocess_image`; `impl` as in `random_brightness`.
    """
    crop_key, flip_key, color_key = _keys(seed, 3)
    image = image_ops.to_rgb(image)
    image = random_crop_with_resize(image, height, width, p=float(crop), seed=crop_key)
    if flip:
        flipped = draws.happens(_uniform(flip_key), FLIP_PROBABILITY)
        image = image_ops.flip_left_right(image, flipped)
    if color_jitter_strength > 0.0:
        image = random_color_jitter(image, strength=color_jitter_strength, impl=impl, seed=color_key)
    return _finish(image, height, width)


def preprocess_for_eval(image: tf.Tensor, height: int, width: int, crop: bool = True) -> tf.Tensor:
    """The central 87.5% resized, or the whole image resized when `crop` is false; as `preprocess_image` otherwise."""
    image = image_ops.to_rgb(image)
    if crop:
        image = center_crop(image, height, width, EVAL_CROP_PROPORTION)
    return _finish(image_ops.resize(image, (height, width)), height, width)


def random_crop_with_resize(image: tf.Tensor, height: int, width: int, p: float = 1.0, seed: Seed = None) -> tf.Tensor:
    """With probability p a random crop, else the whole image, resized to [height, width, c]; see `draws.crop_box`."""
    u = draws.uniforms(_key(seed), 5)
    shape = tf.shape(image)
    whole = tf.stack([0, 0, shape[0], shape[1]])
    box = tf.where(draws.happens(u[4], p), draws.crop_box(u[:4], shape[0], shape[1]), whole)
    return image_ops.crop_and_resize(image, box, (height, width))


def crop_and_resize(image: tf.Tensor, height: int, width: int, seed: Seed = None) -> tf.Tensor:
    """A random crop resized to [height, width, c]."""
    return random_crop_with_resize(image, height, width, seed=seed)


def center_crop(image: tf.Tensor, height: int, width: int, crop_proportion: float) -> tf.Tensor:
    """The central part with the target's aspect ratio, scaled by `crop_proportion`, as [height, width, c]."""
    return image_ops.center_crop(image, (height, width), crop_proportion)


def random_color_jitter(
    image: tf.Tensor,
    p: float = 1.0,
    strength: float = 1.0,
    impl: str = "simclrv2",
    seed: Seed = None,
) -> tf.Tensor:
    """With probability p the colour distortion: jitter with probability 0.8, then grey with probability 0.2."""
    u = draws.uniforms(_key(seed), 8)
    chosen = draws.happens(u[0], p)
    jittered = chosen & draws.happens(u[1], JITTER_PROBABILITY)
    image = _jitter(image, u[3:], strength, impl, chosen=jittered)
    return color.to_grayscale(image, chosen & draws.happens(u[2], GRAY_PROBABILITY))


def color_jitter(
    image: tf.Tensor,
    strength: float,
    random_order: bool = True,
    impl: str = "simclrv2",
    seed: Seed = None,
) -> tf.Tensor:
    """Brightness, contrast, saturation and hue with random amounts, in random order or in this one."""
    return _jitter(image, draws.uniforms(_key(seed), 5), strength, impl, random_order)


def random_brightness(image: tf.Tensor, max_delta: float, impl: str = "simclrv2", seed: Seed = None) -> tf.Tensor:
    """Random brightness, clipped to [0, 1].

    Args:
        image: float32 [h, w, 3] in [0, 1].
        max_delta: >= 0.
        impl: "simclrv2" multiplies by a factor in [max(1 - max_delta, 0), 1 + max_delta], "simclrv1" adds an amount in
            [-max_delta, max_delta].
        seed: int32[2], see the module.

    Returns:
        float32 [h, w, 3].
    """
    u = _uniform(_key(seed))
    return color.brightness(image, draws.brightness_amount(u, max_delta, impl), impl)


def to_grayscale(image: tf.Tensor, keep_channels: bool = True) -> tf.Tensor:
    """Luma, repeated over three channels or, without `keep_channels`, as [h, w, 1]."""
    gray = color.to_grayscale(image)
    return gray if keep_channels else gray[..., :1]


def gaussian_blur(image: tf.Tensor, kernel_size: int, sigma: tf.Tensor | float, padding: str = "SAME") -> tf.Tensor:
    """Blurs [..., h, w, c] with a Gaussian; `padding` "SAME" pads with zeros; see `blur.gaussian_blur`."""
    return blur.gaussian_blur(image, sigma, kernel_size, padding)


def random_blur(image: tf.Tensor, height: int, width: int, p: float = 1.0, seed: Seed = None) -> tf.Tensor:
    """With probability p a blur with sigma in [0.1, 2]; the kernel is 10% of `height`, `width` plays no role."""
    [blurred] = batch_random_blur([image[tf.newaxis]], height, width, p, seed)
    return blurred[0]


def batch_random_blur(
    images_list: Sequence[tf.Tensor],
    height: int,
    width: int,
    blur_probability: float = BLUR_PROBABILITY,
    seed: Seed = None,
) -> list[tf.Tensor]:
    """Blurs each image with some probability and a sigma in [0.1, 2] of its own.

    Args:
        images_list: batches [b, h, w, c].
        height: of the images; the kernel is 10% of it.
        width: unused, part of the authors' signature.
        blur_probability: of each image.
        seed: int32[2], see the module.

    Returns:
        a list of batches like `images_list`.
    """
    del width
    blurred = []
    for images, key in zip(images_list, _keys(seed, len(images_list)), strict=True):
        u = tf.reshape(draws.uniforms(key, 2 * tf.shape(images)[0]), [-1, 2])
        chosen = draws.happens(u[:, 0], blur_probability)
        sigma = draws.between(u[:, 1], *draws.BLUR_SIGMAS)
        blurred.append(blur.blur_chosen(images, chosen, sigma, blur.blur_kernel_size(height)))
    return blurred


def random_apply(func: Callable[[tf.Tensor], tf.Tensor], p: float, x: tf.Tensor, seed: Seed = None) -> tf.Tensor:
    """`func(x)` with probability p, else x; the result's shape must not depend on it."""
    return tf.cond(draws.happens(_uniform(_key(seed)), p), lambda: func(x), lambda: x)


def _key(seed: Seed) -> tf.Tensor:
    """The seed as a key, or a fresh one from TensorFlow's global generator (`tf.random.set_seed` fixes it)."""
    if seed is None:
        return tf.random.uniform([2], maxval=tf.int32.max, dtype=tf.int32)
    return tf.convert_to_tensor(seed)


def _keys(seed: Seed, n: int) -> list[tf.Tensor]:
    """n independent keys from one seed."""
    return tf.unstack(tf.random.split(_key(seed), n, alg="philox"), num=n)


def _uniform(key: tf.Tensor) -> tf.Tensor:
    return draws.uniforms(key, 1)[0]


def _jitter(
    image: tf.Tensor,
    u: tf.Tensor,
    strength: float,
    impl: str,
    random_order: bool = True,
    chosen: tf.Tensor | bool = True,
) -> tf.Tensor:
    """Colour jitter from five numbers."""
    order = draws.order_of_four(u[4]) if random_order else tf.range(len(color.JITTER_OPS))
    amounts = draws.jitter_amounts(u[:4], strength, impl)
    return color.jitter(image, amounts, order, chosen, impl)


def _finish(image: tf.Tensor, height: int, width: int) -> tf.Tensor:
    return image_ops.clip(tf.ensure_shape(image, [height, width, 3]))
