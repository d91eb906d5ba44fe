"""TensorFlow's decoders, each with what it must be asked for; in graphs, and eagerly."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf_simclr.data.pixels import FACTORS, reduction, too_many, too_many_text

Outcome = tuple[tf.Tensor, tf.Tensor]  # an image, and why there is none: "" where there is one
# Which branch of `open_levels` takes each of header_ops.FORMATS, and any other format.
WAYS = (0, 1, 1, 3, 4, 5)
_OPAQUE, _TRANSPARENT = 1, 2


def way_of(format_number: tf.Tensor | int, transparent: tf.Tensor | bool) -> tf.Tensor:
    """Which branch of `open_levels` a file takes."""
    way = tf.gather(WAYS, format_number)
    return tf.where(tf.logical_and(way == _OPAQUE, transparent), _TRANSPARENT, way)


def open_levels(content: tf.Tensor, way: tf.Tensor) -> Outcome:
    """Opens a file of 8 bits.

    Args:
        content: string scalar, the bytes of the file.
        way: int32 scalar, of WAYS and `way_of`.

    Returns:
        uint8 [h, w, 3 or 4], and why not; it fails where the file is damaged.
    """

    def image(channels: int) -> Callable[[], Outcome]:
        # Only with four channels is the transparent colour of a png turned into alpha.
        options = {"channels": channels, "dtype": tf.uint8, "expand_animations": False}
        return lambda: (tf.ensure_shape(tf.io.decode_image(content, **options), [None, None, None]), tf.constant(""))

    def bmp() -> Outcome:
        # The fourth byte is often unused and 0; one byte is a level of grey.
        return tf.io.decode_bmp(content, channels=0)[..., :3] * tf.ones([1, 1, 3], tf.uint8), tf.constant("")

    return tf.switch_case(way, [lambda: _open_jpeg(content), image(3), image(4), bmp, image(0)])


def _open_jpeg(content: tf.Tensor) -> Outcome:
    """A jpeg, whose size is what the decoder's own library reads, reduced where it is large."""
    height, width = tf.unstack(tf.cast(tf.io.extract_jpeg_shape(content), tf.int64)[:2])
    branches: list[Callable[[], Outcome]] = [
        lambda ratio=ratio: (tf.io.decode_jpeg(content, channels=3, ratio=ratio), tf.constant(""))  # type: ignore[misc]
        for ratio in FACTORS
    ]
    refused = tf.zeros([0, 0, 3], tf.uint8), too_many_text(height, width)
    choice = tf.argmax(reduction(height, width) == FACTORS, output_type=tf.int32)
    return tf.switch_case(tf.where(too_many(height, width), len(FACTORS), choice), [*branches, lambda: refused])


def open_sixteen_bits(content: tf.Tensor) -> Outcome:
    """uint16 [h, w, 4], and why not; fails where the file is damaged."""
    return tf.io.decode_png(content, channels=4, dtype=tf.uint16), tf.constant("")
