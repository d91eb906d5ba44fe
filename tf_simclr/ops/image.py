"""Where pixels go: crops, resizing, flips and quarter turns, exact and deterministic given their parameters.

Images are float32 [..., h, w, c] in [0, 1] with any leading dimensions, and leave in [0, 1]: bicubic interpolation
overshoots at edges and is clipped.
"""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.errors import InputError, require_range
from tf_simclr.ops.batching import by_case, flatten_batch, flatten_parameter, is_one, unchanged, where_chosen
from tf_simclr.ops.resample import bicubic_weights, resample

Size = tuple[int, int]


def clip(images: tf.Tensor) -> tf.Tensor:
    """Clips to [0, 1]."""
    return tf.clip_by_value(images, 0.0, 1.0)


def to_rgb(image: tf.Tensor) -> tf.Tensor:
    """Brings an image as decoded to float32 RGB in [0, 1].

    Args:
        image: [..., h, w, 3] or grey [..., h, w, 1]; integers are scaled by their dtype's range, floats are taken to be
            in [0, 1] already.

    Returns:
        float32 [..., h, w, 3].

    Raises:
        InputError: when the number of channels is known and is neither 1 nor 3.
    """
    image = tf.image.convert_image_dtype(image, tf.float32)
    channels = image.shape[-1]
    if channels not in (1, 3, None):
        raise InputError(
            f"Images must have 1 or 3 channels. Received: shape={image.shape}; drop or merge the others first"
        )
    return tf.image.grayscale_to_rgb(image) if channels == 1 else image


def resize(images: tf.Tensor, size: Size) -> tf.Tensor:
    """Bicubic resize to (height, width) without antialiasing, clipped to [0, 1]; the identity when sizes agree."""
    if tuple(images.shape[-3:-1]) == tuple(size):
        return images
    flat, restore = flatten_batch(images)
    return restore(clip(tf.image.resize(flat, size, method="bicubic")))


def crop_and_resize(images: tf.Tensor, boxes: tf.Tensor, size: Size) -> tf.Tensor:
    """Cuts a box out of every image and resizes it.

    A single image is sliced and resized, which for large images is far cheaper; a batch goes through two weight
    matrices an image, which XLA can compile. The two differ by rounding only (2e-6).

    Args:
        images: float32 [..., h, w, c]; a single one also uint8, whose levels become 0 to 1.
        boxes: int32 [..., 4]: offset_y, offset_x, height, width in pixels, inside the image.
        size: (height, width) wanted.

    Returns:
        float32 [..., height, width, c] in [0, 1].
    """
    height, width = size
    images = tf.convert_to_tensor(images)
    if len(images.shape) == 3:
        y, x, box_height, box_width = tf.unstack(boxes)
        piece = images[y : y + box_height, x : x + box_width]
        top = images.dtype.max if images.dtype.is_integer else 1.0
        # The kernel takes float32 faster than integers, and what is scaled last is the smaller of the two.
        resized = tf.raw_ops.ResizeBicubic(
            images=tf.cast(piece, tf.float32)[tf.newaxis], size=[height, width], half_pixel_centers=True
        )[0]
        resized = tf.clip_by_value(tf.ensure_shape(resized, [height, width, images.shape[-1]]), 0.0, top)
        return resized if top == 1.0 else resized * (1.0 / top)
    flat, restore = flatten_batch(images)
    return restore(crops(flat, tf.reshape(boxes, [-1, 1, 4]), size)[:, 0])


def crops(images: tf.Tensor, boxes: tf.Tensor, size: Size) -> tf.Tensor:
    """Cuts several boxes out of every image of a batch and resizes them, without a copy of the image for each.

    Args:
        images: float32 [b, h, w, c].
        boxes: int32 [b, v, 4], as in `crop_and_resize`.
        size: (height, width) wanted.

    Returns:
        float32 [b, v, height, width, c] in [0, 1].
    """
    height, width = size
    y, x, box_height, box_width = tf.unstack(boxes, axis=-1)  # [b, v] each
    rows = bicubic_weights(y, box_height, _side(images, 1), height)
    columns = bicubic_weights(x, box_width, _side(images, 2), width)
    return clip(resample(images, rows, columns))


def center_crop(images: tf.Tensor, size: Size, proportion: float = 0.875) -> tf.Tensor:
    """Cuts the largest central box of the target's aspect ratio, scaled by `proportion`, and resizes it.

    Source: SimCLR, Appendix B.6 (a 256 resize and a 224 centre crop keep 87.5% of the shorter side).

    Args:
        images: float32 [..., h, w, c].
        size: (height, width) wanted.
        proportion: kept share of the box's sides, in (0, 1].

    Returns:
        float32 [..., height, width, c] in [0, 1].
    """
    require_range("proportion", proportion, above=0.0, at_most=1.0)
    y, x, height, width = tf.unstack(central_box(images, size, proportion))
    return resize(images[..., y : y + height, x : x + width, :], size)


def central_box(images: tf.Tensor, size: Size, proportion: float) -> tf.Tensor:
    """The box that `center_crop` cuts out of images [..., h, w, c], int32 [4]: offset_y, offset_x, height, width."""
    height, width = tf.unstack(tf.shape(images)[-3:-1])
    return central_box_in(height, width, size, proportion)


def central_box_in(height: tf.Tensor, width: tf.Tensor, size: Size, proportion: float) -> tf.Tensor:
    """`central_box` of images of these sides, int32."""
    h, w = (tf.cast(side, tf.float32) for side in (height, width))
    scale = proportion * tf.minimum(h / size[0], w / size[1])
    box_height = tf.cast(tf.clip_by_value(tf.round(scale * size[0]), 1.0, h), tf.int32)
    box_width = tf.cast(tf.clip_by_value(tf.round(scale * size[1]), 1.0, w), tf.int32)
    # An odd margin leaves the extra pixel above and to the left, as in the reference code.
    y = (height - box_height + 1) // 2
    x = (width - box_width + 1) // 2
    return tf.stack([y, x, box_height, box_width])


def flip_left_right(images: tf.Tensor, flip: tf.Tensor | bool = True) -> tf.Tensor:
    """Mirrors those images [..., h, w, c] whose `flip` (bool scalar or [...]) is true."""
    flat, restore = flatten_batch(images)
    chosen = flatten_parameter(flip, images)
    return restore(where_chosen(flat, chosen, lambda part, _: _mirrored(part)))


def _mirrored(images: tf.Tensor) -> tf.Tensor:
    if is_one(images):  # there is a kernel for the rows of one image that takes a third of the time
        return tf.reverse(images[0], [1])[tf.newaxis]
    return tf.reverse(images, [2])


def rotate_quarters(images: tf.Tensor, turns: tf.Tensor | int) -> tf.Tensor:
    """Turns every image by a multiple of 90 degrees against the clock, as `np.rot90` (SimCLR, Section 3).

    Args:
        images: float32 [..., s, s, c]; a batch has one shape, so only squares can be turned.
        turns: int32 scalar or [...], in {0, 1, 2, 3}.

    Returns:
        float32 [..., s, s, c], the same pixels.

    Raises:
        InputError: when the sides are known and differ.
    """
    height, width = images.shape[-3:-1]
    if None not in (height, width) and height != width:
        raise InputError(f"Only square images can be turned. Received: shape={images.shape}; crop or resize them first")
    flat, restore = flatten_batch(images)
    branches = [
        unchanged,
        lambda part, _: tf.reverse(tf.transpose(part, [0, 2, 1, 3]), [1]),
        lambda part, _: tf.reverse(part, [1, 2]),
        lambda part, _: tf.transpose(tf.reverse(part, [1]), [0, 2, 1, 3]),
    ]
    return restore(by_case(flat, flatten_parameter(turns, images), branches))


def cutout(images: tf.Tensor, boxes: tf.Tensor, fill: float = 0.0) -> tf.Tensor:
    """Covers a box of every image with one value (DeVries & Taylor 2017; an operator of SimCLR, Section 3).

    Args:
        images: float32 [..., h, w, c].
        boxes: int32 [..., 4]: offset_y, offset_x, height, width in pixels; what lies outside the image covers nothing.
        fill: the value, in [0, 1].

    Returns:
        float32 [..., h, w, c].
    """
    flat, restore = flatten_batch(images)
    y, x, box_height, box_width = tf.unstack(tf.reshape(boxes, [-1, 4, 1]), axis=1)  # [b, 1] each
    rows = tf.range(_side(flat, 1))[tf.newaxis]
    columns = tf.range(_side(flat, 2))[tf.newaxis]
    in_rows = (rows >= y) & (rows < y + box_height)  # [b, h]
    in_columns = (columns >= x) & (columns < x + box_width)  # [b, w]
    covered = in_rows[:, :, tf.newaxis, tf.newaxis] & in_columns[:, tf.newaxis, :, tf.newaxis]
    return restore(tf.where(covered, fill, flat))


def _side(images: tf.Tensor, axis: int) -> int | tf.Tensor:
    return images.shape[axis] or tf.shape(images)[axis]
