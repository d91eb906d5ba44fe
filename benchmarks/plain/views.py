"""Random views written plainly: `tf.image` on one image at a time, stateful random numbers, float32 throughout.

The operators are those of the library: crop, flip, colour jitter in a random order, grey, blur (SimCLR, Appendix A). It
shares no code with the library, so that it can stand beside it in a benchmark.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class PlainViews:
    """Makes views of one image.

    Attributes:
        size: side of a view in pixels.
        strength: of the colour distortion; 0 leaves it out.
        blur: whether half of the views are blurred.
        views: of each image.
    """

    size: int
    strength: float = 1.0
    blur: bool = False
    views: int = 2

    def __call__(self, image: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Views, float32 [size, size, 3] in [0, 1], of an image uint8 [h, w, 3]."""
        image = tf.image.convert_image_dtype(image, tf.float32)
        return tuple(self._view(image) for _ in range(self.views))

    def _view(self, image: tf.Tensor) -> tf.Tensor:
        image = tf.image.random_flip_left_right(random_crop(image, self.size))
        if self.strength > 0:
            image = sometimes(0.8, lambda one: jitter(one, self.strength), image)
            image = sometimes(0.2, lambda one: tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(one)), image)
        if self.blur:
            image = sometimes(0.5, random_blur, image)
        return tf.clip_by_value(tf.ensure_shape(image, [self.size, self.size, 3]), 0.0, 1.0)


def random_crop(image: tf.Tensor, size: int) -> tf.Tensor:
    """A random box of 8% to 100% of the area, resized bicubically to [size, size, 3]."""
    begin, extent, _ = tf.image.sample_distorted_bounding_box(
        tf.shape(image),
        bounding_boxes=tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        min_object_covered=0.1,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        max_attempts=100,
        use_image_if_no_bounding_boxes=True,
    )
    return tf.image.resize(tf.slice(image, begin, extent), [size, size], method="bicubic")


def jitter(image: tf.Tensor, strength: float) -> tf.Tensor:
    """Brightness (added), contrast, saturation and hue in a random order, a clip behind each."""
    operators: list[Callable[[tf.Tensor], tf.Tensor]] = [
        lambda one: tf.image.random_brightness(one, 0.8 * strength),
        lambda one: tf.image.random_contrast(one, 1 - 0.8 * strength, 1 + 0.8 * strength),
        lambda one: tf.image.random_saturation(one, 1 - 0.8 * strength, 1 + 0.8 * strength),
        lambda one: tf.image.random_hue(one, 0.2 * strength),
    ]
    for turn in tf.unstack(tf.random.shuffle(tf.range(4)), num=4):
        branches = [functools.partial(operator, image) for operator in operators]
        image = tf.clip_by_value(tf.switch_case(turn, branches), 0.0, 1.0)
    return image


def random_blur(image: tf.Tensor) -> tf.Tensor:
    """A Gaussian of sigma 0.1 to 2 pixels, 10% of the image wide, along both axes."""
    radius = int(image.shape[0]) // 20
    x = tf.range(-radius, radius + 1, dtype=tf.float32)
    weights = tf.exp(-tf.square(x) / (2.0 * tf.square(tf.random.uniform([], 0.1, 2.0))))
    weights = tf.tile((weights / tf.reduce_sum(weights))[:, tf.newaxis, tf.newaxis, tf.newaxis], [1, 1, 3, 1])
    image = image[tf.newaxis]
    for kernel in (weights, tf.transpose(weights, [1, 0, 2, 3])):
        image = tf.nn.depthwise_conv2d(image, kernel, [1, 1, 1, 1], "SAME")
    return image[0]


def sometimes(probability: float, function: Callable[[tf.Tensor], tf.Tensor], image: tf.Tensor) -> tf.Tensor:
    """`function(image)` with some probability, else the image."""
    return tf.cond(tf.random.uniform([]) < probability, lambda: function(image), lambda: image)
