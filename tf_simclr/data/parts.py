"""Decoding no more of an image than its crops show.

The boxes of the crops are drawn once the size of the image is known, which a jpeg says in its first bytes. Of such a
file the part that holds all boxes is decoded, and stays uint8. Every other file is decoded as a whole.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import tensorflow as tf

from tf_simclr.data.decoding import attempted, decode_known, decode_named, facts_of, named
from tf_simclr.data.header_ops import FORMATS, Facts
from tf_simclr.data.image_files import Reading
from tf_simclr.data.image_header import DAMAGED
from tf_simclr.data.image_limits import MOST_DECODED, MOST_PIXELS
from tf_simclr.data.pixels import stored_box, uninlined, upright

# (height, width), int32 -> boxes int32 [n, 4] in an image of that size: offset_y, offset_x, height, width.
BoxesOf = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
# (pixels [h, w, 3], uint8 or float32 in [0, 1]; boxes int32 [n, 4] in them) -> tensors, of one kind for both.
Cut = Callable[[tf.Tensor, tf.Tensor], Any]

# The decoder takes the colour of a pixel at the edge of its blocks from the block beside it.
_MARGIN = 1
_END_OF_JPEG = b"\xff\xd9"


@dataclasses.dataclass(frozen=True)
class FileDecoder:
    """Decodes what a record holds of an image file, as a whole or in part.

    Attributes:
        reading: what decodes the file, and how large it may be.
        unpack: "data" of a record -> the bytes of the file, and the path that errors name.
        hurried: as in `decode_named`, of images as a whole.
    """

    reading: Reading
    unpack: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
    hurried: bool = False

    def __call__(self, data: tf.Tensor) -> tf.Tensor:
        """The image, float32 [height, width, 3] in [0, 1]."""
        content, path = self.unpack(data)
        return decode_named(content, path, self.reading.decoder, self.reading.most, hurried=self.hurried)

    def cut(self, data: tf.Tensor, boxes_of: BoxesOf, cut: Cut) -> Any:
        """What `cut` makes of the image, or of a part of it that holds all the boxes."""
        content, path = self.unpack(data)
        return cut_file(content, path, self.reading.decoder, boxes_of, cut, self.reading.most)


@runtime_checkable
class PartDecoder(Protocol):
    """A `decode` of a source that can also decode a part."""

    def cut(self, data: tf.Tensor, boxes_of: BoxesOf, cut: Cut) -> Any:
        """As `FileDecoder.cut`."""


def cut_record(decode: Callable[[tf.Tensor], tf.Tensor], data: tf.Tensor, boxes_of: BoxesOf, cut: Cut) -> Any:
    """What `cut` makes of the image of a record, which is decoded in part where that is possible.

    Args:
        decode: of the source.
        data: of the record.
        boxes_of: draws the boxes in an image of some size.
        cut: makes something of the pixels and the boxes in them.
    """
    if isinstance(decode, PartDecoder):
        return decode.cut(data, boxes_of, cut)
    return cut_image(decode(data), boxes_of, cut)


def cut_image(image: tf.Tensor, boxes_of: BoxesOf, cut: Cut) -> Any:
    """`FileDecoder.cut` of an image [h, w, 3] that is decoded already."""
    height, width = tf.unstack(tf.shape(image)[:2])
    return cut(image, boxes_of(height, width))


def cut_file(
    content: tf.Tensor, path: tf.Tensor, decoder: str, boxes_of: BoxesOf, cut: Cut, most: int = MOST_PIXELS
) -> Any:
    """Cuts boxes out of an image file.

    Args:
        content: string scalar, the bytes of the file.
        path: string scalar, for the message of an error.
        decoder: as in `decode_named`.
        boxes_of: draws the boxes in an image of some size.
        cut: makes something of the pixels and the boxes in them.
        most: as in `decode_named`.

    Returns:
        what `cut` returns, the same as of the whole image up to its rounding.

    Raises:
        tf.errors.InvalidArgumentError: with the path, the file is damaged or cannot be decoded.
    """
    if decoder == "pillow":
        return cut_image(decode_named(content, path, decoder, most), boxes_of, cut)
    facts = facts_of(content)
    whole = uninlined(lambda: cut_image(decode_known(content, path, facts, decoder, most), boxes_of, cut))
    return tf.cond(_in_part(content, facts), lambda: _cut_jpeg(content, path, facts, boxes_of, cut), whole)


def _in_part(content: tf.Tensor, facts: Facts) -> tf.Tensor:
    """Whether a file is a jpeg of known size that is complete and is not reduced.

    Where the end is missing all of it is decoded, so that a truncated file is found whatever the boxes are.
    """
    pixels = facts.height * facts.width
    end = tf.strings.substr(content, -tf.minimum(tf.strings.length(content), 2), 2)
    is_jpeg = facts.format == FORMATS.index("jpeg")
    return is_jpeg & (pixels > 0) & (pixels <= MOST_DECODED) & (end == _END_OF_JPEG)


def _cut_jpeg(content: tf.Tensor, path: tf.Tensor, facts: Facts, boxes_of: BoxesOf, cut: Cut) -> Any:
    sides = tf.cast(tf.stack([facts.height, facts.width]), tf.int32)
    size = tf.where(facts.orientation >= 5, sides[::-1], sides)
    boxes = boxes_of(size[0], size[1])
    first = tf.maximum(tf.reduce_min(boxes[:, :2], axis=0) - _MARGIN, 0)
    last = tf.minimum(tf.reduce_max(boxes[:, :2] + boxes[:, 2:], axis=0) + _MARGIN, size)
    window = tf.concat([first, last - first], 0)
    turned = facts.orientation > 1
    stored = tf.cond(turned, lambda: stored_box(window, size[0], size[1], facts.orientation), lambda: window)
    outcome = attempted(_open_window, [content, stored], (tf.zeros([0, 0, 3], tf.uint8), DAMAGED))
    pixels = named(outcome, path)
    pixels = tf.cond(turned, lambda: upright(pixels, facts.orientation), lambda: pixels)
    pixels = tf.ensure_shape(pixels, [None, None, 3])
    return cut(pixels, boxes - tf.concat([first, [0, 0]], 0))


def _open_window(content: tf.Tensor, window: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.io.decode_and_crop_jpeg(content, window, channels=3), tf.constant("")
