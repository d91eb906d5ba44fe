"""Which examples a split has, read without decoding an image, and some of them as a split of their own."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.data import fingerprint
from tf_simclr.data.source import ImageSource, Records, records_from_table
from tf_simclr.data.splits import spans_of_part
from tf_simclr.errors import InputError

_BATCH = 4096


@dataclasses.dataclass(frozen=True)
class Subset:
    """Some labelled examples of a split.

    Attributes:
        source: only these examples: the same classes, and records under the same contract.
        indices: the "index" of each example, ascending.
        labels: the class of each, in the order of `indices`.
        num_examples_of_whole: number of examples of the split they were chosen from.
    """

    source: ImageSource
    indices: tuple[int, ...]
    labels: tuple[int, ...]
    num_examples_of_whole: int

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of examples of each class."""
        return tuple(np.bincount(self.labels, minlength=self.source.num_classes).tolist())


@dataclasses.dataclass(frozen=True)
class LabelTable:
    """Identity, class and size in memory of every record of a split, by ascending index.

    `position` is the record's place in the canonical order of the split.
    """

    index: np.ndarray
    label: np.ndarray
    size: np.ndarray
    usable: np.ndarray
    position: np.ndarray

    @classmethod
    def of(cls, source: ImageSource) -> LabelTable:
        """Reads a split once, without decoding an image."""
        _require_labels(source)
        records = source.records(None).map(
            lambda record: (record["index"], record["label"], _bytes_of(record["data"])), tf.data.AUTOTUNE
        )
        index, label, size = (
            np.concatenate(column) for column in zip(*records.batch(_BATCH).as_numpy_iterator(), strict=True)
        )
        order = np.argsort(index, kind="stable")
        index, label, size = index[order], label[order], size[order]
        same_as_next = index[1:] == index[:-1]
        unique = ~(np.append(same_as_next, False) | np.append(False, same_as_next))
        return cls(index, label, size, unique & (label >= 0), order)

    def members(self, num_classes: int) -> list[np.ndarray]:
        """The usable rows of each class."""
        return [np.flatnonzero(self.usable & (self.label == label)) for label in range(num_classes)]

    def subset(self, source: ImageSource, rows: np.ndarray, memory_budget: int) -> Subset:
        """The subset of these rows."""
        rows = np.sort(rows)
        index = self.index[rows]
        in_memory = source.load is None or int(self.size[rows].sum()) <= memory_budget
        return Subset(
            source=_only(source, index, np.sort(self.position[rows]), in_memory),
            indices=tuple(index.tolist()),
            labels=tuple(self.label[rows].tolist()),
            num_examples_of_whole=len(self.index),
        )


def examples(source: ImageSource, index: np.ndarray, positions: np.ndarray) -> ImageSource:
    """Some examples of a split, labelled or not, as a source of their own.

    Args:
        source: any split.
        index: int64 [n], ascending, the "index" of each.
        positions: int64 [n], ascending, their places in the canonical order of the split.
    """
    # Names of files are held; of images that are read from a stream, the others are passed over in every pass.
    return _only(source, index, positions, in_memory=source.load is None or source.read is not None)


def _bytes_of(data: tf.Tensor) -> tf.Tensor:
    if data.dtype == tf.string:
        return tf.reduce_sum(tf.cast(tf.strings.length(data), tf.int64))
    return tf.size(data, tf.int64) * data.dtype.size


def _only(source: ImageSource, index: np.ndarray, positions: np.ndarray, in_memory: bool) -> ImageSource:
    """The examples with these indices, at these positions (both ascending), as a source of their own."""
    names, contents = source.names, source.contents
    digest = hashlib.sha256(index.astype("<i8").tobytes()).hexdigest()[:8]
    chosen = dataclasses.replace(
        source,
        split=f"{source.split}, {len(index)} chosen ({digest})",
        num_examples=len(index),
        records=_filtered(source.records, index),
        notes=(*source.notes, f"{len(index)} of {source.num_examples} examples of {source.split!r} are used"),
        fingerprint=fingerprint.of_part(source.fingerprint, positions),
        contents=None if contents is None else lambda: fingerprint.of_part(contents(), positions),
        names=None if names is None else lambda: _at(names(), positions),
        spans=spans_of_part(source.spans, positions),
        held_out=None,
    )

    def load() -> ImageSource:
        records = chosen.records if source.read is None else _with_content(chosen.records, source.read)
        return dataclasses.replace(chosen, records=_held(records, len(index)), load=None, read=None)

    if not in_memory:
        return dataclasses.replace(chosen, load=load)
    if source.read is None:
        return load()
    # What is held are names of files: their content may be much larger, and is read when it is asked for.
    return dataclasses.replace(chosen, records=_held(chosen.records, len(index)), load=load)


def _at(names: tuple[str, ...], positions: np.ndarray) -> tuple[str, ...]:
    return tuple(names[position] for position in positions.tolist())


def _filtered(records: Records, index: np.ndarray) -> Records:
    """Only the records with these indices (ascending), in the order of the whole."""
    with tf.init_scope():
        wanted = tf.constant(index, tf.int64)

    def is_wanted(record: dict[str, tf.Tensor]) -> tf.Tensor:
        place = tf.searchsorted(wanted, record["index"][tf.newaxis])[0]
        return tf.equal(wanted[tf.minimum(place, len(index) - 1)], record["index"])

    return lambda seed: records(seed).filter(is_wanted)


def _with_content(records: Records, read: Any) -> Records:
    def with_content(record: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return record | {"data": read(record["data"])}

    return lambda seed: records(seed).map(with_content, tf.data.AUTOTUNE)


def _held(records: Records, number: int) -> Records:
    """The same records, in memory."""
    table = records(None).batch(number).get_single_element()
    return records_from_table(table["index"], table["label"], table["data"])


def _require_labels(source: ImageSource) -> None:
    if source.targets is not None:
        raise InputError(
            f"Few labels can only be chosen from a split whose images have one class each. Received: {source.name}, "
            f"{source.split!r}, where an image may have several. Choose another data set"
        )
    if not source.labelled:
        raise InputError(
            f"Few labels can only be chosen from a split with labels. Received: {source.name}, {source.split!r}, "
            "without any. Sort the images into one folder a class, or choose another data set"
        )
