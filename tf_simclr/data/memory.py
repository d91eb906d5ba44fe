"""A split that is held in memory: its encoded images, or what they decode to where that fits."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.data.image_formats import header_of
from tf_simclr.data.parts import BoxesOf, Cut, FileDecoder, cut_image
from tf_simclr.data.pixels import scaled
from tf_simclr.data.source import ImageSource, Records, is_small

# Of decoded images; above it they stay encoded, which takes about a tenth of it.
MOST_DECODED_BYTES = 2**30
# A slice of a table that begins at a multiple of it shares the table's memory.
_ALIGNED = 64
_IMAGES_AT_A_TIME = 256


def held(source: ImageSource) -> ImageSource:
    """The same examples, read once, in the orders of `source.load()`.

    What fits into 1 GiB is decoded once as well: small images of one size (`source.is_small`) to float32, and a split
    of jpegs alone to their 8-bit levels. Decoding is most of what a view of 64 pixels costs, a quarter of one of 224.

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
        return _with_levels(loaded)
    index, rows = images
    return dataclasses.replace(
        loaded,
        image_shape=rows.shape[1:],
        records=_looked_up(loaded.records, index, rows),
        decode=tf.identity,
        read=None,
    )


@dataclasses.dataclass(frozen=True)
class HeldLevels:
    """Decodes records whose "data" is a row of a table of decoded images.

    Attributes:
        levels: uint8 [bytes], the pixels of one image behind those of another.
        places: int64 [n, 3]: where an image begins, its height and its width.
    """

    levels: tf.Tensor
    places: tf.Tensor

    def __call__(self, row: tf.Tensor) -> tf.Tensor:
        """The image, float32 [height, width, 3] in [0, 1]."""
        return scaled(self._pixels(row), tf.constant(1.0), tf.constant(1 / 255))

    def cut(self, row: tf.Tensor, boxes_of: BoxesOf, cut: Cut) -> Any:
        """What `cut` makes of the image: nothing is copied but the boxes."""
        return cut_image(self._pixels(row), boxes_of, cut)

    def _pixels(self, row: tf.Tensor) -> tf.Tensor:
        start, height, width = tf.unstack(tf.gather(self.places, row), num=3)
        pixels = tf.slice(self.levels, [start], [height * width * 3])
        return tf.ensure_shape(tf.reshape(pixels, tf.stack([height, width, 3])), [None, None, 3])


def _with_levels(source: ImageSource) -> ImageSource:
    """The split with its images decoded where all are jpegs of 8 bits and fit into memory; else as it is."""
    files = source.decode
    room = _room_for_levels(source) if isinstance(files, FileDecoder) else None
    if room is None or not isinstance(files, FileDecoder):
        return source

    def whole(record: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        def of_levels(pixels: tf.Tensor, boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            del boxes
            exact = pixels.dtype == tf.uint8
            return pixels if exact else tf.zeros([0, 0, 3], tf.uint8), tf.constant(exact)

        return record["index"], *files.cut(
            record["data"], lambda height, width: tf.stack([[0, 0, height, width]]), of_levels
        )

    levels: np.ndarray = np.empty(room, np.uint8)
    indices, places, start = [], [], 0
    passed = source.records(None).map(whole, tf.data.AUTOTUNE)
    for index, pixels, exact in passed.as_numpy_iterator():
        stop = start + pixels.size
        if not exact or stop > room:
            return source
        indices.append(index)
        places.append((start, *pixels.shape[:2]))
        levels[start:stop] = pixels.ravel()
        start = stop + -stop % _ALIGNED
    with tf.init_scope():
        decode = HeldLevels(tf.constant(levels), tf.constant(np.array(places, np.int64)))
    rows = np.arange(len(indices))
    return dataclasses.replace(source, records=_looked_up(source.records, np.array(indices), rows), decode=decode)


def _room_for_levels(source: ImageSource) -> int | None:
    """Bytes that the levels of all images take; None where a header is of no jpeg, or where they do not fit."""
    total = 0
    for data in source.records(None).map(lambda record: record["data"]).as_numpy_iterator():
        header = header_of(data[0])
        total += header.height * header.width * 3 + _ALIGNED
        if header.format != "jpeg" or total > MOST_DECODED_BYTES:
            return None
    return total


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
