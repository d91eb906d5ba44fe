"""Gaussian blur with a sigma of each image's own."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.errors import require_choice
from tf_simclr.ops.batching import flatten_batch, flatten_parameter, is_one, per_image, shapes_are_static, where_chosen
from tf_simclr.ops.image import clip

PADDINGS = ("SAME", "VALID")


def blur_kernel_size(height: int) -> int:
    """10% of the image's height, made odd, at least 3 (SimCLR, Appendix A): 23 at 224, 3 at 32."""
    return 2 * max(height // 10 // 2, 1) + 1


def gaussian_weights(sigma: tf.Tensor, kernel_size: int) -> tf.Tensor:
    """Samples of a Gaussian at whole pixels, summing to one: sigma [...] > 0 -> [..., kernel_size] (odd)."""
    radius = kernel_size // 2
    x = tf.range(-radius, radius + 1, dtype=tf.float32)
    logits = -0.5 * tf.square(x / tf.convert_to_tensor(sigma, tf.float32)[..., tf.newaxis])
    return tf.nn.softmax(logits)


def gaussian_blur(images: tf.Tensor, sigma: tf.Tensor | float, kernel_size: int, padding: str = "SAME") -> tf.Tensor:
    """Blurs every image with its own sigma, first along the height, then along the width.

    "SAME" pads with zeros, as the authors' depthwise convolution does, so borders darken with a large sigma; it stays
    the default because the published models were trained on it and the paper does not ask for anything else.

    Args:
        images: float32 [..., h, w, c].
        sigma: standard deviation in pixels > 0, a scalar or [...].
        kernel_size: width of the kernel; an even one is made odd by adding one, as in the reference code.
        padding: "SAME", or "VALID" (the result is smaller by kernel_size - 1, and has no dark border).

    Returns:
        float32 [..., h, w, c], or [..., h - k + 1, w - k + 1, c] for "VALID".
    """
    require_choice("padding", padding, PADDINGS)
    flat, restore = flatten_batch(images)
    kernel_size = 2 * (kernel_size // 2) + 1
    weights = gaussian_weights(flatten_parameter(sigma, images), kernel_size)  # [b, k]
    convolve = _convolve_one if is_one(flat) else _convolve
    if shapes_are_static():
        convolve = _sum_of_shifts
    # Rounding can leave white a little above one.
    return restore(clip(convolve(flat, weights, padding)))


def blur_chosen(images: tf.Tensor, chosen: tf.Tensor | bool, sigma: tf.Tensor | float, kernel_size: int) -> tf.Tensor:
    """`gaussian_blur` of those images [..., h, w, c] whose `chosen` (bool scalar or [...]) is true."""
    flat, restore = flatten_batch(images)
    sigma = flatten_parameter(sigma, images)
    return restore(
        where_chosen(
            flat,
            flatten_parameter(chosen, images),
            lambda part, rows: gaussian_blur(part, tf.gather(sigma, rows), kernel_size),
        )
    )


def _convolve(images: tf.Tensor, weights: tf.Tensor, padding: str) -> tf.Tensor:
    """Separable convolution of images [b, h, w, c] with one kernel an image, [b, k].

    The batch moves into the channels of one depthwise convolution, which has a kernel a channel: several times faster
    than a convolution an image or a sum of shifted copies.
    """
    b, h, w, c = tf.unstack(tf.shape(images))
    planes = tf.reshape(tf.transpose(images, [1, 2, 0, 3]), [1, h, w, b * c])
    kernels = tf.repeat(tf.transpose(weights), c, axis=1)[..., tf.newaxis]  # [k, b * c, 1]
    for kernel in (kernels[:, tf.newaxis], kernels[tf.newaxis]):
        planes = tf.nn.depthwise_conv2d(planes, kernel, [1, 1, 1, 1], padding)
    _, h, w, _ = tf.unstack(tf.shape(planes))
    blurred = tf.transpose(tf.reshape(planes, [h, w, b, c]), [2, 0, 1, 3])
    if padding == "SAME":
        blurred.set_shape(images.shape)
    return blurred


def _convolve_one(images: tf.Tensor, weights: tf.Tensor, padding: str) -> tf.Tensor:
    """`_convolve` of a single image [1, h, w, c] with its kernel [1, k].

    All that stands beside each other across an axis are the channels of one depthwise convolution along it: three
    channels alone would leave most of a vector register empty.
    """

    def along(planes: tf.Tensor) -> tf.Tensor:
        """Convolves the first axis of [n, ...]."""
        length, *rest = tf.unstack(tf.shape(planes))
        channels = rest[0] * rest[1]
        kernel = tf.broadcast_to(weights[0, :, tf.newaxis, tf.newaxis, tf.newaxis], [weights.shape[1], 1, channels, 1])
        lines = tf.reshape(planes, [1, length, 1, channels])
        lines = tf.nn.depthwise_conv2d(lines, kernel, [1, 1, 1, 1], padding)
        return tf.reshape(lines, tf.stack([-1, *rest]))

    # "VALID" leaves a width of one as it is: only the first axis gets shorter.
    across = tf.transpose(along(images[0]), [1, 0, 2])
    blurred = tf.transpose(along(across), [1, 0, 2])[tf.newaxis]
    if padding == "SAME":
        blurred.set_shape(images.shape)
    return blurred


def _sum_of_shifts(images: tf.Tensor, weights: tf.Tensor, padding: str) -> tf.Tensor:
    """`_convolve` as a sum of shifted copies, which XLA makes one kernel an axis.

    It has no name for a convolution whose kernels belong to the images, and a product may be rounded to ten bits on an
    accelerator.
    """
    margin = weights.shape[1] // 2 if padding == "SAME" else 0
    for axis in (1, 2):
        images = tf.pad(images, [[margin, margin] if axis == place else [0, 0] for place in range(4)])
        length = images.shape[axis] - weights.shape[1] + 1
        windows = (slice(start, start + length) for start in range(weights.shape[1]))
        shifted = [images[:, window] if axis == 1 else images[:, :, window] for window in windows]
        images = tf.add_n([per_image(weights[:, place], one) * one for place, one in enumerate(shifted)])
    return images
