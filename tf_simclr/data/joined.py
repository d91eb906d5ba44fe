"""Two splits as one."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tf_simclr.data import fingerprint
from tf_simclr.data.source import ImageSource, no_global_seed
from tf_simclr.data.splits import require_disjoint
from tf_simclr.errors import InputError

# Indices of both parts stay apart, and below the 2**36 that an augmentation's key has room for.
_SECOND_INDEX = 2**35


def joined(first: ImageSource, second: ImageSource) -> ImageSource:
    """The examples of two splits of one data set as one split, shuffled together.

    All records go through one shuffle buffer: names of files, or images that are held in memory.

    Args:
        first: its records keep their index.
        second: another split of the same data set; its indices are moved behind those of `first`.

    Raises:
        InputError: they are not of one data set, or share an example.
    """
    if (first.name, first.class_names) != (second.name, second.class_names):
        raise InputError(
            f"Only splits of one data set can be joined. Received: {first.name}, {first.split!r}, and {second.name}, "
            f"{second.split!r}. Open both in the same way"
        )

    require_disjoint(first, second)

    def moved(record: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return record | {"index": record["index"] + _SECOND_INDEX}

    total = first.num_examples + second.num_examples

    def records(seed: tf.Tensor | None) -> tf.data.Dataset:
        both = first.records(seed).concatenate(second.records(seed).map(moved))
        with no_global_seed():
            return both if seed is None else both.shuffle(total, seed=seed, reshuffle_each_iteration=False)

    first_names, second_names = first.names, second.names
    first_contents, second_contents = first.contents, second.contents

    def load() -> ImageSource:
        return joined(*(source.load() if source.load is not None else source for source in (first, second)))

    return dataclasses.replace(
        first,
        split=f"{first.split}+{second.split}",
        num_examples=total,
        image_shape=first.image_shape if first.image_shape == second.image_shape else None,
        records=records,
        notes=tuple(dict.fromkeys(first.notes + second.notes)),
        load=None if first.load is None and second.load is None else load,
        fingerprint=_both(first.fingerprint, second.fingerprint),
        contents=(
            None
            if first_contents is None or second_contents is None
            else lambda: _both(first_contents(), second_contents())
        ),
        names=None if first_names is None or second_names is None else lambda: first_names() + second_names(),
        spans=first.spans + second.spans if first.spans and second.spans else (),
        held_out=None,
    )


def _both(first: str, second: str) -> str:
    return fingerprint.of_facts("joined", first, second) if first and second else ""
