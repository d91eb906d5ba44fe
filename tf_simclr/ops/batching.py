"""How one operator serves a single image, a batch, and a batch in which every image gets something else."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

# A branch sees the images of its case and their row numbers in the batch (to look up per-image parameters).
Branch = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class _Depth(threading.local):  # replicas are traced by threads that take turns
    depth = 0


_static = _Depth()


@contextlib.contextmanager
def static_shapes() -> Iterator[None]:
    """Operators called inside keep all shapes known: each works on the whole batch, and its result is chosen by image.

    XLA compiles that. Every image passes through every branch, which an accelerator has the arithmetic for, and which
    takes a CPU several times as long. It acts while Python runs, so for a tf.function it is what holds at trace time.
    """
    _static.depth += 1
    try:
        yield
    finally:
        _static.depth -= 1


def shapes_are_static() -> bool:
    """Whether the caller is inside `static_shapes`."""
    return _static.depth > 0


def flatten_batch(images: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Turns all leading dimensions into one batch dimension.

    Args:
        images: [..., h, w, c].

    Returns:
        images [b, h, w, c], and a function that gives a result [b, h', w', c'] the leading dimensions back.
    """
    images = tf.convert_to_tensor(images)
    if images.shape.is_fully_defined():
        return _flatten_known(images)
    leading = tf.shape(images)[:-3]
    static_leading = images.shape[:-3]

    def restore(flat: tf.Tensor) -> tf.Tensor:
        restored = tf.reshape(flat, tf.concat([leading, tf.shape(flat)[1:]], 0))
        restored.set_shape(static_leading.concatenate(flat.shape[1:]))
        return restored

    if images.shape.rank == 4:
        return images, lambda flat: flat
    flat = tf.reshape(images, tf.concat([[-1], tf.shape(images)[-3:]], 0))
    flat.set_shape([static_leading.num_elements(), *images.shape[-3:]])
    return flat, restore


def _flatten_known(images: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """`flatten_batch` where all sizes are known: operations on sizes would take as long as those on one image."""
    leading = images.shape[:-3].as_list()
    if len(leading) == 1:
        return images, lambda flat: flat
    flat = tf.reshape(images, [math.prod(leading), *images.shape[-3:]])
    return flat, lambda flat: tf.reshape(flat, [*leading, *_sizes(flat)[1:]])


def _sizes(tensor: tf.Tensor) -> list[int | tf.Tensor]:
    if tensor.shape.is_fully_defined():
        return tensor.shape.as_list()
    return tf.unstack(tf.shape(tensor))


def flatten_parameter(parameter: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """Brings a scalar or per-image parameter [...] to one value an image, [b], of images [..., h, w, c]."""
    parameter = tf.convert_to_tensor(parameter)
    if is_one(images):
        return tf.reshape(parameter, [1])
    return tf.reshape(tf.broadcast_to(parameter, tf.shape(images)[:-3]), [-1])


def per_image(parameter: tf.Tensor | float, images: tf.Tensor) -> tf.Tensor:
    """Gives a scalar or per-image parameter [...] the shape [..., 1, 1, 1] in the images' dtype."""
    parameter = tf.convert_to_tensor(parameter, images.dtype)
    return parameter[..., tf.newaxis, tf.newaxis, tf.newaxis]


def is_one(images: tf.Tensor) -> bool:
    """Whether images [..., h, w, c] are surely a single one."""
    shape = tf.TensorShape(images.shape)  # also of an array
    return shape.rank is not None and shape[:-3].num_elements() == 1


def scalar(parameter: tf.Tensor | float) -> tf.Tensor:
    """The parameter of a single image as a scalar float32."""
    return tf.reshape(tf.cast(parameter, tf.float32), [])


def by_case(images: tf.Tensor, case: tf.Tensor, branches: Sequence[Branch]) -> tf.Tensor:
    """Applies branch `case[i]` to image i, so that no image pays for an operator it does not get.

    A batch is split by case and put together again, except in `static_shapes`. One image alone just takes its branch.

    Args:
        images: [b, h, w, c].
        case: int32 [b], in [0, len(branches)).
        branches: each maps (images [n, h, w, c], rows int32 [n]) to images of the same shape.

    Returns:
        images [b, h, w, c].
    """
    if images.shape[0] == 1:
        return _of_one(images, case[0], branches)
    all_rows = tf.range(tf.shape(images)[0])
    if shapes_are_static():
        return _of_all(images, case, branches, all_rows)
    rows = tf.dynamic_partition(all_rows, case, len(branches))
    parts = [_unless_empty(branch, tf.gather(images, mine), mine) for branch, mine in zip(branches, rows, strict=True)]
    result = tf.reshape(tf.dynamic_stitch(rows, parts), tf.shape(images))
    result.set_shape(images.shape)
    return result


def _of_one(images: tf.Tensor, case: tf.Tensor, branches: Sequence[Branch]) -> tf.Tensor:
    row = tf.zeros([1], tf.int32)
    result = tf.switch_case(case, [lambda branch=branch: branch(images, row) for branch in branches])  # type: ignore[misc]
    result.set_shape(images.shape)
    return result


def _of_all(images: tf.Tensor, case: tf.Tensor, branches: Sequence[Branch], rows: tf.Tensor) -> tf.Tensor:
    result = images
    for number, branch in enumerate(branches):
        if branch is not unchanged:
            chosen = tf.reshape(tf.equal(case, number), [-1, 1, 1, 1])
            result = tf.where(chosen, branch(images, rows), result)
    result.set_shape(images.shape)
    return result


def _unless_empty(branch: Branch, images: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Skips a branch nobody takes: a single image takes one of many, and convolutions reject empty batches."""
    if branch is unchanged:
        return images
    return tf.cond(tf.size(rows) > 0, lambda: branch(images, rows), lambda: images)


def unchanged(images: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """The branch of images that an operator leaves alone."""
    del rows
    return images


def where_chosen(images: tf.Tensor, chosen: tf.Tensor, branch: Branch) -> tf.Tensor:
    """Applies `branch` to the images with `chosen` (bool [b]) only; exact: the others stay bit for bit."""
    return by_case(images, tf.cast(chosen, tf.int32), [unchanged, branch])
