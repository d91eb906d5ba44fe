"""Classes by name: the same examples with the labels of another order of the classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from tf_simclr.data.source import ImageSource, MultiLabel
from tf_simclr.errors import InputError

_SHOWN = 5


def positions(names: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...] | None:
    """For each name its position in `wanted`; None where the two do not hold the same names.

    Of names that occur more than once the first goes to the first.
    """
    if sorted(names) != sorted(wanted):
        return None
    free: dict[str, list[int]] = {}
    for position, name in enumerate(wanted):
        free.setdefault(name, []).append(position)
    return tuple(free[name].pop(0) for name in names)


def describe_difference(there: Sequence[str], here: Sequence[str]) -> str:
    """Which names are missing here, and which are new."""
    missing = [name for name in there if name not in here]
    new = [name for name in here if name not in there]
    words = [f"{what}: {_some(names)}" for what, names in (("missing", missing), ("new", new)) if names]
    return "; ".join(words) or f"{len(there)} classes there, {len(here)} here"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(repr(name) for name in names[:_SHOWN]) + more


def with_class_order(source: ImageSource, names: Sequence[str]) -> ImageSource:
    """The same examples, their labels counted in another order of the same classes.

    Args:
        source: a split with classes; one whose classes have this order already is returned as it is.
        names: of its classes, in the order that is wanted.

    Returns:
        a split with `class_names` equal to `names`.

    Raises:
        InputError: the names are not those of its classes.
    """
    if tuple(names) == source.class_names:
        return source
    place = positions(source.class_names, names)
    if place is None:
        raise InputError(
            f"`names` must be the classes of {source.name}. Received: "
            f"{describe_difference(names, source.class_names)}. Pass each of its class_names once"
        )
    with tf.init_scope():
        new_label = tf.constant(place, tf.int64)

    def relabelled(record: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        label = record["label"]
        return record | {"label": tf.where(label < 0, label, tf.gather(new_label, tf.maximum(label, 0)))}

    records, load, targets = source.records, source.load, source.targets

    def reordered() -> MultiLabel:
        assert targets is not None
        columns = [source.class_names.index(name) for name in names]
        return MultiLabel(targets().positives[:, columns], targets().ignored[:, columns])

    return dataclasses.replace(
        source,
        class_names=tuple(names),
        records=lambda seed: records(seed).map(relabelled),
        load=None if load is None else lambda: with_class_order(load(), names),
        targets=None if targets is None else reordered,
    )
