"""The source of a listing of image files."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_simclr.data import fingerprint
from tf_simclr.data.image_files import read_all
from tf_simclr.data.layout import Listing
from tf_simclr.data.parts import FileDecoder
from tf_simclr.data.source import ImageSource, Span, parse_split, records_from_table
from tf_simclr.escape import as_text

_SLICE_SEED = 20020509


def part_of(listing: Listing, chosen: np.ndarray) -> Listing:
    """The chosen images of a listing, without its notes.

    Args:
        listing: the images.
        chosen: bool [n].
    """
    rows = np.flatnonzero(chosen).tolist()
    files, labels = [listing.files[r] for r in rows], [listing.labels[r] for r in rows]
    return dataclasses.replace(listing, files=files, labels=labels, notes=())


def relative_paths(root: str, listing: Listing) -> list[bytes]:
    """The paths of the images relative to the root."""
    start = len(os.fsencode(os.path.join(root, "")))
    return [os.fsencode(file.path)[start:] for file in listing.files]


def folder_source(root: str, split: str, listing: Listing) -> ImageSource:
    """The images of a listing, or the slice of them that `split` asks for, as a source.

    Args:
        root: absolute path of the folder.
        split: name of the split, perhaps with a slice.
        listing: the images of the whole split.

    Raises:
        InputError: the slice is empty, or cannot be read.
    """
    listing = _sliced(listing, split)
    files, classes = listing.files, listing.classes
    index = np.arange(len(files))
    labels = np.array(listing.labels, np.int64)
    paths: Sequence[bytes] = [os.fsencode(file.path) for file in files]
    names = relative_paths(root, listing)
    named_labels = [classes[label] if classes else "" for label in listing.labels]
    sizes = [file.size for file in files]
    source = ImageSource(
        name=f"folder {as_text(root)}",
        split=split,
        num_examples=len(files),
        num_classes=len(classes),
        class_names=classes,
        image_shape=None,
        records=records_from_table(index, labels, tf.constant(paths)),
        decode=FileDecoder(listing.reading.decoder, _content_and_path),
        notes=listing.notes,
        read=_read,
        location=as_text(root),
        fingerprint=fingerprint.of_files(names, sizes, (file.changed for file in files), named_labels),
        contents=lambda: fingerprint.of_contents(names, sizes, named_labels, paths),
        names=lambda: tuple(as_text(os.fsdecode(name)) for name in names),
        spans=tuple(Span(file.key, 0, 1) for file in files),
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


def _sliced(listing: Listing, split: str) -> Listing:
    """The slice that `split` asks for. It is cut from a fixed random order: the list itself is sorted by class."""
    total = len(listing.files)
    _, start, stop = parse_split(split, lambda _: total)
    chosen: np.ndarray = np.zeros(total, bool)
    chosen[np.random.default_rng(_SLICE_SEED).permutation(total)[start:stop]] = True
    return dataclasses.replace(part_of(listing, chosen), notes=listing.notes)


def _read(path: tf.Tensor) -> tf.Tensor:
    """A path -> [content, path]."""
    return tf.stack([tf.io.read_file(path), path])


def _content_and_path(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Of a path, or of what `_read` makes of it."""
    return tuple(tf.unstack(_read(data) if data.shape.rank == 0 else data))
