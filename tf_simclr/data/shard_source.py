"""The source of a split of a prepared folder: the images of a folder, read from records."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import tensorflow as tf

from tf_simclr.data import fingerprint
from tf_simclr.data.listing import ListedSplit, Shards, relative_paths
from tf_simclr.data.parts import FileDecoder
from tf_simclr.data.source import ImageSource, Records, Span, no_global_seed, records_from_table
from tf_simclr.data.tfds_source import MEMORY_BUDGET, SHUFFLE_BUFFER
from tf_simclr.escape import as_text

IMAGE, LABEL, PATH, NUMBER = "image", "label", "path", "number"
_FEATURES = {
    IMAGE: tf.io.FixedLenFeature([], tf.string),
    PATH: tf.io.FixedLenFeature([], tf.string),
    NUMBER: tf.io.FixedLenFeature([], tf.int64),
}
_FILES_AT_A_TIME = 16
_PARSED_AT_A_TIME = 64


def shard_source(
    listed: ListedSplit, memory_budget: int = MEMORY_BUDGET, shuffle_buffer: int = SHUFFLE_BUFFER
) -> ImageSource:
    """The source of a listed split of a prepared folder.

    An image has the index that it has in the folder, and with it the views. A split that fits into memory has the
    order of its passes as well.

    Args:
        listed: whose listing has `shards`.
        memory_budget: bytes; a split whose encoded size is below is held in memory and shuffled as a whole.
        shuffle_buffer: images in the shuffle buffer of a larger split, whose files are shuffled besides.
    """
    root, listing = listed.root, listed.listing
    files, classes, total = listing.files, listing.classes, listed.num_examples
    names = relative_paths(root, listing)
    named_labels = [classes[label] if classes else "" for label in listing.labels]
    digest = fingerprint.of_files(names, (f.size for f in files), (f.changed for f in files), named_labels)
    source = ImageSource(
        name=listed.name,
        split=listed.split,
        num_examples=total,
        num_classes=listed.num_classes,
        class_names=classes,
        image_shape=None,
        records=_streamed(listed, min(shuffle_buffer, total)),
        decode=FileDecoder(listing.reading, _image_and_path),
        notes=listing.notes,
        location=as_text(root),
        fingerprint=digest,
        contents=lambda: digest,  # of the stored bytes, which a copy shares
        names=lambda: tuple(as_text(os.fsdecode(name)) for name in names),
        spans=tuple(Span(file.key, 0, 1) for file in files),
        held_out=listed.held_out,
    )
    size = sum(file.size for file in files)

    def load() -> ImageSource:
        table = source.records(None).batch(total).get_single_element()
        records = records_from_table(table["index"], table["label"], table["data"])
        return dataclasses.replace(source, records=records, load=None)

    if size <= memory_budget:
        inside = load()
        # Not None: --cache_dataset then decodes them.
        return dataclasses.replace(inside, load=lambda: inside)
    note = (
        f"{listed.split} ({size / 1e9:.1f} GB) is shuffled by files and then in a buffer of "
        f"{min(shuffle_buffer, total):,} images, not as a whole"
    )
    return dataclasses.replace(source, load=load, notes=(*source.notes, note))


def _image_and_path(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return data[0], data[1]


def _streamed(listed: ListedSplit, shuffle_buffer: int) -> Records:
    """Records of the listed images, in file order, or with shuffled files and a shuffle buffer.

    They are parsed many at a time: one by one, it takes longer than to read files.
    """
    numbers = [file.number for file in listed.listing.files]
    paths = _paths_of(listed.listing.shards, numbers[0], numbers[-1])
    with tf.init_scope():
        wanted, labels = tf.constant(numbers, tf.int64), tf.constant(listed.listing.labels, tf.int64)

    def listed_ones(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        found = tf.io.parse_example(serialized, _FEATURES)
        place = tf.minimum(tf.searchsorted(wanted, found[NUMBER]), len(numbers) - 1)
        among = tf.gather(wanted, place) == found[NUMBER]
        data = tf.stack([found[IMAGE], found[PATH]], axis=1)  # [n, 2]
        fields = {"index": tf.cast(place, tf.int64), "label": tf.gather(labels, place), "data": data}
        return {name: tf.boolean_mask(values, among) for name, values in fields.items()}

    def records(seed: tf.Tensor | None) -> tf.data.Dataset:
        with no_global_seed():
            files = tf.data.Dataset.from_tensor_slices(tf.constant([os.fsencode(path) for path in paths]))
            if seed is not None:
                files = files.shuffle(len(paths), seed=seed, reshuffle_each_iteration=False)
            dataset = files.interleave(
                tf.data.TFRecordDataset,
                cycle_length=1 if seed is None else _FILES_AT_A_TIME,
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
            dataset = dataset.batch(_PARSED_AT_A_TIME).map(listed_ones, tf.data.AUTOTUNE).unbatch()
            if seed is not None:
                dataset = dataset.shuffle(shuffle_buffer, seed=seed, reshuffle_each_iteration=False)
        return dataset

    return records


def _paths_of(shards: Shards | None, first: int, last: int) -> list[str]:
    """The files that hold the records of these numbers and those between."""
    assert shards is not None
    stops = np.cumsum(shards.lengths)
    begin, end = (int(np.searchsorted(stops, number, side="right")) for number in (first, last))
    return list(shards.paths[begin : end + 1])
