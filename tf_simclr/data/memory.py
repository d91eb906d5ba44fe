"""A split that is held in memory: its encoded images, or where they are small what they decode to."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from tf_simclr.data.source import ImageSource, Records, is_small

# Of decoded images, as float32; above it they stay encoded, which takes a tenth of it.
MOST_DECODED_BYTES = 2**30
_IMAGES_AT_A_TIME = 256


def held(source: ImageSource) -> ImageSource:
    """The same examples, read once, in the orders of `source.load()`.

    Small images of one size (`source.is_small`) are decoded once as well when they fit into 1 GiB. Decoding is most
    of what a view of 64 pixels costs, and images of one size are augmented a batch at a time.

    Args:
        source: any split; one that is in memory already is returned as it is.

    Returns:
        a split whose `load` is None.
    """
    if source.load is None:
        return source
    loaded = source.load()
    images = _decoded(loaded)
    if images is None:
        return loaded
    index, rows = images
    return dataclasses.replace(
        loaded,
        image_shape=rows.shape[1:],
        records=_looked_up(loaded.records, index, rows),
        decode=tf.identity,
        read=None,
    )


def _decoded(source: ImageSource) -> tuple[np.ndarray, np.ndarray] | None:
    """Indices [n] and images float32 [n, h, w, 3] of a whole split; None unless they are small and of one size."""
    first = next(iter(source.records(None).take(1).map(lambda record: source.decode(record["data"]))))
    shape = tuple(first.shape)
    if not is_small(shape) or source.num_examples * first.shape.num_elements() * 4 > MOST_DECODED_BYTES:
        return None

    def of_that_size(record: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        image = source.decode(record["data"])
        fits = tf.reduce_all(tf.shape(image) == shape)
        return record["index"], tf.ensure_shape(tf.cond(fits, lambda: image, lambda: tf.zeros(shape)), shape), fits

    indices: np.ndarray = np.empty(source.num_examples, np.int64)
    rows: np.ndarray = np.empty([source.num_examples, *shape], np.float32)
    position = 0
    passed = source.records(None).map(of_that_size, tf.data.AUTOTUNE).batch(_IMAGES_AT_A_TIME)
    for index, images, fit in passed.as_numpy_iterator():
        if not fit.all():
            return None
        indices[position : position + len(index)], rows[position : position + len(index)] = index, images
        position += len(index)
    return indices, rows


def _looked_up(records: Records, index: np.ndarray, rows: np.ndarray) -> Records:
    """The records with their images from a table in place of their data."""
    order = np.argsort(index)
    with tf.init_scope():
        known, places, table = tf.constant(index[order]), tf.constant(order), tf.constant(rows)

    def with_image(record: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        place = places[tf.searchsorted(known, record["index"][tf.newaxis])[0]]
        return record | {"data": tf.gather(table, place)}

    return lambda seed: records(seed).map(with_image)
