"""Splits whose damaged images are left out, after every image was decoded once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_simclr.data.label_table import examples
from tf_simclr.data.source import ImageSource
from tf_simclr.errors import InputError

MOST_BAD = 0.01
_NAMED = 10
_AT_A_TIME = 4096
_plain = tf.autograph.experimental.do_not_convert


def without_bad_images(source: ImageSource) -> ImageSource:
    """Decodes every image once, by all cores, and leaves out those that cannot be decoded.

    Whatever comes later meets a split of good images: batches are full, every pass has the same rows, and the views of
    an example are those it has without the bad ones, because an example keeps its index. It costs one pass of decoding
    at every start. An image that breaks later is an error.

    Args:
        source: any split.

    Returns:
        the same split where nothing is bad. Otherwise one of the other images, with a note that names the first ten.

    Raises:
        InputError: more than 1% of the images are bad.
    """
    index, good, note = good_examples(source)
    return _rows(source, index, good, note) if note else source


def good_examples(source: ImageSource, out_of: int | None = None) -> tuple[np.ndarray, np.ndarray, str]:
    """Decodes every image of a split once.

    Args:
        source: any split.
        out_of: how many images 1% is of; None for those of the split.

    Returns:
        of every example, in the canonical order: its index, and whether it can be decoded; and a note that names the
        first ten that cannot, "" where all can.

    Raises:
        InputError: more than 1% of the images are bad.
    """
    index, good, names = attempted(source)
    bad = np.flatnonzero(~good)
    if not bad.size:
        return index, good, ""
    listed = require_few_bad(names[bad].tolist(), out_of or len(index), f"{source.split!r} of {source.name}")
    note = f"left out {bad.size} of {len(index)} images of {source.split!r} that cannot be decoded: {listed}"
    return index, good, note


def require_few_bad(names: Sequence[bytes], out_of: int, what: str) -> str:
    """Checks that few images cannot be decoded; returns the names of the first ten.

    Args:
        names: of those that cannot.
        out_of: number of all images.
        what: they are of, for the message.

    Raises:
        InputError: they are more than 1%.
    """
    listed = ", ".join(name.decode("utf-8", "backslashreplace") for name in names[:_NAMED])
    listed += f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    if len(names) > MOST_BAD * out_of:
        raise InputError(
            f"`on_bad_image` skip leaves out up to {MOST_BAD:.0%} of the images. Received: {len(names)} of {out_of} in "
            f"{what} that cannot be decoded: {listed}. Remove or replace them"
        )
    return listed


def attempted(source: ImageSource) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decodes every image once: index, whether it can be decoded, and name as bytes, in the canonical order."""

    def attempt(record: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        data = record["data"]
        absent = tf.data.Dataset.from_tensors(False)
        decoded = tf.data.Dataset.from_tensors(data).map(lambda data: tf.size(source.decode(data)) > 0)
        # Encoded images come with their names, or are names of files.
        name = tf.reshape(data, [-1])[-1] if data.dtype == tf.string else tf.strings.as_string(record["index"])
        return record["index"], decoded.ignore_errors().concatenate(absent).take(1).get_single_element(), name

    attempts = source.records(None).map(_plain(attempt), tf.data.AUTOTUNE).batch(_AT_A_TIME)
    index, good, names = zip(*attempts.as_numpy_iterator(), strict=True)
    return np.concatenate(index), np.concatenate(good), np.concatenate(names)


def _rows(source: ImageSource, index: np.ndarray, good: np.ndarray, note: str) -> ImageSource:
    """The good examples of a split, under its own name, in memory or not."""
    targets, positions = source.targets, np.flatnonzero(good)

    def described(part: ImageSource) -> ImageSource:
        load = part.load
        return dataclasses.replace(
            part,
            split=source.split,
            notes=(*source.notes, note),
            held_out=source.held_out,
            targets=None if targets is None else lambda: targets().rows(positions),
            load=None if load is None else lambda: described(load()),
        )

    return described(examples(source, np.sort(index[good]), positions))
