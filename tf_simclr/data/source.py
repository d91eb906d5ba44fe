"""What a data set is to the rest of the library: ImageSource."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from tf_simclr.data.decoding import CAN_READ_WEBP as CAN_READ_WEBP
from tf_simclr.data.decoding import DAMAGED_IMAGE as DAMAGED_IMAGE
from tf_simclr.data.decoding import decode_image as decode_image
from tf_simclr.data.decoding import decode_named as decode_named
from tf_simclr.data.hold_out import HeldOut as HeldOut
from tf_simclr.data.known_split import UNLABELLED as UNLABELLED
from tf_simclr.data.split_names import parse_split as parse_split
from tf_simclr.data.splits import Span as Span
from tf_simclr.errors import InputError

_SMALL_SIDE = 64

Records = Callable[["tf.Tensor | None"], tf.data.Dataset]


@dataclasses.dataclass(frozen=True, eq=False)
class MultiLabel:
    """What the images of a split show, where one may show several classes, or none.

    Attributes:
        positives: bool [n, classes], whether an image shows a class.
        ignored: bool [n, classes], whether it counts neither for nor against the class ("difficult" in PASCAL VOC);
            nowhere where `positives` is.
    """

    positives: np.ndarray
    ignored: np.ndarray

    def __post_init__(self) -> None:
        for name, value in (("positives", self.positives), ("ignored", self.ignored)):
            if value.ndim != 2 or value.dtype != bool or value.shape != self.positives.shape:
                raise InputError(
                    f"`{name}` must be booleans [images, classes], as many as `positives`. Received: shape "
                    f"{value.shape}, dtype {value.dtype}. Make it one row an image and one column a class"
                )
        if (self.positives & self.ignored).any():
            raise InputError(
                "`ignored` must be False where `positives` is True. Received: an image that shows a class and is "
                "ignored for it. Leave it out of one of them"
            )

    def rows(self, chosen: np.ndarray) -> MultiLabel:
        """Those images, by their numbers."""
        return MultiLabel(self.positives[chosen], self.ignored[chosen])


@dataclasses.dataclass(frozen=True)
class ImageSource:
    """One split of a data set.

    Attributes:
        name: name of the data set, for messages and results.
        split: name of the split, as the user wrote it.
        num_examples: number of images, >= 1.
        num_classes: 0 when the split has no labels. See `labelled` for whether an image has one of the classes.
        class_names: `num_classes` names, in the order of the labels.
        image_shape: (height, width, 3) when every image has that size, else None.
        records: shuffle seed (int64 scalar, tensor or number) -> one pass over the split as a tf.data.Dataset of
            {"index": int64, "label": int64 (-1 without a label), "data": what `decode` takes}, in an order that
            depends on the seed and on nothing else. None is the canonical order.
        decode: "data" of one record -> float32 [height, width, 3] in [0, 1].
        notes: lines that a person should see: what was left out, how the split was made.
        load: returns the same split with its encoded images held in memory; None when they already are.
        read: "data" that only names a file -> data with the file's content, which `decode` takes as well; None where
            data holds the image itself.
        location: absolute path of the folder or data directory that the examples are read from; None for built-in ones.
        fingerprint: digest of what the examples are made of: name, size, time of change and label of every file, or the
            version and shards of a prepared data set. Two splits with one fingerprint hold the same examples.
        contents: returns a digest of what the examples are made of that a copy of the folder shares: the times of the
            files are not part of it. None where examples are no files.
        names: returns a name for each example, in the canonical order: of a file, its path relative to `location`. None
            where examples have no names. Names are text that any file can hold: bytes that are not UTF-8 stand as
            \\xNN.
        spans: where each example lies, in the canonical order; empty where that is not known.
        held_out: returns what was drawn out of this split for evaluation; None where nothing was drawn.
        targets: given where an image may have several classes: what the images show, in the canonical order of the
            records and read when it is called. `num_classes` and `class_names` are those of its columns, and the label
            of every record is -1, so that pretraining takes the images as unlabelled.
    """

    name: str
    split: str
    num_examples: int
    num_classes: int
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int] | None
    records: Records
    decode: Callable[[tf.Tensor], tf.Tensor]
    notes: tuple[str, ...] = ()
    load: Callable[[], ImageSource] | None = None
    read: Callable[[tf.Tensor], tf.Tensor] | None = None
    location: str | None = None
    fingerprint: str = ""
    contents: Callable[[], str] | None = None
    names: Callable[[], tuple[str, ...]] | None = None
    spans: tuple[Span, ...] = ()
    held_out: Callable[[], HeldOut] | None = None
    targets: Callable[[], MultiLabel] | None = None

    @property
    def labelled(self) -> bool:
        """Whether an image has one class, which training and choosing by label need."""
        return self.num_classes > 0 and self.targets is None


def is_small(image_shape: tuple[int, ...] | None) -> bool:
    """Whether images of this (height, width, 3) are better worked on as a batch than one by one.

    Beyond 64 pixels a side, cropping a batch by weight matrices costs more than slicing image by image. None, for
    images of many sizes, is not small.
    """
    return image_shape is not None and max(image_shape) <= _SMALL_SIDE


@contextlib.contextmanager
def no_global_seed() -> Iterator[None]:
    """In here a shuffle by a tensor depends on that tensor alone, and not on tf.random.set_seed.

    TensorFlow mixes the global seed into a shuffle's, and with a global seed of 0 it compares the tensor with 0 in
    Python, which fails while a pipeline is traced. Outside of a pipeline, eagerly, the global seed still counts.
    """
    if tf.executing_eagerly():
        yield
        return
    graph = tf.compat.v1.get_default_graph()
    before, graph.seed = graph.seed, None
    try:
        yield
    finally:
        graph.seed = before


def records_from_table(index: tf.Tensor, label: tf.Tensor, data: tf.Tensor) -> Records:
    """The records of a table that lies in memory: a full, seeded permutation of its rows for every pass.

    Args:
        index: int64 [n], the identity of each example, which its augmentations depend on.
        label: int64 [n], -1 without a label.
        data: [n, ...], any dtype; row i is what `decode` takes.

    Returns:
        a function that fulfils ImageSource.records.
    """
    with tf.init_scope():
        table = {
            "index": tf.convert_to_tensor(index, tf.int64),
            "label": tf.convert_to_tensor(label, tf.int64),
            "data": tf.convert_to_tensor(data),
        }
    num_rows = int(table["index"].shape[0])

    def records(seed: tf.Tensor | None) -> tf.data.Dataset:
        rows = tf.range(num_rows, dtype=tf.int64)
        if seed is not None:
            key = tf.stack([tf.cast(seed, tf.int64), tf.zeros([], tf.int64)])
            rows = tf.random.experimental.stateless_shuffle(rows, key, alg="philox")
        # Rows are gathered one by one: a permuted copy of the table would double its memory.
        return tf.data.Dataset.from_tensor_slices(rows).map(
            lambda row: {field: tf.gather(values, row) for field, values in table.items()}
        )

    return records
