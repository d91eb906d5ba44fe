"""The source of a listing of images."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_simclr.data import fingerprint
from tf_simclr.data.image_files import read_all
from tf_simclr.data.listing import ListedSplit, relative_paths
from tf_simclr.data.parts import FileDecoder
from tf_simclr.data.shard_source import shard_source
from tf_simclr.data.source import ImageSource, Span, records_from_table
from tf_simclr.escape import as_text


def folder_source(listed: ListedSplit) -> ImageSource:
    """The source of a listed split, whose images are files or records of a prepared folder."""
    return _file_source(listed) if listed.listing.shards is None else shard_source(listed)


def _file_source(listed: ListedSplit) -> ImageSource:
    root, listing = listed.root, listed.listing
    files, classes = listing.files, listing.classes
    index = np.arange(len(files))
    labels = np.array(listing.labels, np.int64)
    paths: Sequence[bytes] = [os.fsencode(file.path) for file in files]
    names = relative_paths(root, listing)
    named_labels = [classes[label] if classes else "" for label in listing.labels]
    sizes = [file.size for file in files]
    source = ImageSource(
        name=listed.name,
        split=listed.split,
        num_examples=listed.num_examples,
        num_classes=listed.num_classes,
        class_names=classes,
        image_shape=None,
        records=records_from_table(index, labels, tf.constant(paths)),
        decode=FileDecoder(listing.reading, _content_and_path),
        notes=listing.notes,
        read=_read,
        location=as_text(root),
        fingerprint=fingerprint.of_files(names, sizes, (file.changed for file in files), named_labels),
        contents=lambda: fingerprint.of_contents(names, sizes, named_labels, paths),
        names=lambda: tuple(as_text(os.fsdecode(name)) for name in names),
        spans=tuple(Span(file.key, 0, 1) for file in files),
        held_out=listed.held_out,
    )

    def load() -> ImageSource:
        data = tf.stack([tf.constant(read_all(paths)), tf.constant(paths)], axis=1)
        return dataclasses.replace(
            source,
            records=records_from_table(index, labels, data),
            load=None,
            read=None,
        )

    return dataclasses.replace(source, load=load)


def _read(path: tf.Tensor) -> tf.Tensor:
    """A path -> [content, path]."""
    return tf.stack([tf.io.read_file(path), path])


def _content_and_path(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Of a path, or of what `_read` makes of it."""
    return tuple(tf.unstack(_read(data) if data.shape.rank == 0 else data))
