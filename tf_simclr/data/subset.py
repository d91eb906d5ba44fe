"""Few labels: class-balanced subsets of a split, and lists of their examples that others can use as well."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.data.source import ImageSource, Records, records_from_table
from tf_simclr.data.tfds_source import MEMORY_BUDGET
from tf_simclr.errors import InputError, require_range

FORMAT = 1
_SHOWN = 8
_BATCH = 4096
_ALL_CLASSES = 2**32  # a stream of random numbers that no class has


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


def class_balanced(
    source: ImageSource,
    *,
    fraction: float | None = None,
    per_class: int | None = None,
    seed: int = 0,
    memory_budget: int = MEMORY_BUDGET,
) -> Subset:
    """Chooses examples at random, as many of one class as of another (SimCLR, Appendix B.5).

    A fraction stands for round(fraction * num_examples) examples, halves rounded to even. They are shared out as
    equally as possible: the numbers of two classes differ by one at most, except that a class which has fewer examples
    gives all of them. Which classes have the one more depends on the seed. 1% of ImageNet's 1,281,167 examples are
    12,812: 13 of 812 classes and 12 of the other 188.

    With the same seed a smaller subset is part of a larger one. The choice depends on the seed, and on each class's set
    of indices, not on the order or the kind of the source. Labels are read in one pass that decodes no picture.

    Args:
        source: a split with labels. Examples that are labelled -1, or whose "index" is not unique, are not chosen.
        fraction: share of all examples, in (0, 1].
        per_class: examples of each class, >= 1. Either this or `fraction` must be given.
        seed: the choice depends on it.
        memory_budget: bytes; a choice whose records are smaller is held in memory, a larger one is filtered out of the
            records of the whole split in every pass.

    Returns:
        the subset; its source's split is named after the choice, so that two choices have different names.

    Raises:
        InputError: no labels, both or none of `fraction` and `per_class`, a number out of range, or a class of which
            there would be no example, or fewer than `per_class`.
    """
    _require_one_of(fraction, per_class)
    table = _Table.of(source)
    members = table.members(source.num_classes)
    _require_members(source, [len(m) for m in members])
    sizes = np.array([len(m) for m in members])
    if per_class is not None:
        counts = _exactly(per_class, sizes, source)
    else:
        assert fraction is not None
        counts = _shared_out(round(fraction * source.num_examples), sizes, seed)
        _require_none_empty(fraction, counts, source)
    chosen = [
        row
        for label, rows in enumerate(members)
        for row in rows[_generator(seed, label).permutation(len(rows))[: counts[label]]]
    ]
    return table.subset(source, np.array(chosen), memory_budget)


def require_every_class(source: ImageSource) -> None:
    """Raises InputError for a split that has no labels, or no example of some class, which it names."""
    members = _Table.of(source).members(source.num_classes)
    _require_members(source, [len(m) for m in members])


def hold_out(
    source: ImageSource, fraction: float, *, seed: int = 0, memory_budget: int = MEMORY_BUDGET
) -> tuple[Subset, Subset]:
    """Divides a split into two parts with the same share of every class in each.

    Args:
        source: a split with labels. Examples without one are in neither part.
        fraction: of each class that is held out, in (0, 1), rounded, but at least one example and not all.
        seed: the choice depends on it.
        memory_budget: as in `class_balanced`.

    Returns:
        what is kept, and what is held out.

    Raises:
        InputError: no labels, a fraction out of range, or a class with a single example.
    """
    if not 0 < fraction < 1:
        raise InputError(f"`fraction` must be > 0 and < 1. Received: fraction={fraction}")
    table = _Table.of(source)
    members = table.members(source.num_classes)
    single = [label for label, rows in enumerate(members) if len(rows) < 2]
    if single:
        raise InputError(
            "Every class must have an example to keep and one to hold out. Received: at most one of "
            f"{_named(source, single)} in {source.name}, {source.split!r}. Add pictures, or pass a validation split"
        )
    kept, held = [], []
    for label, rows in enumerate(members):
        count = min(max(round(fraction * len(rows)), 1), len(rows) - 1)
        order = rows[_generator(seed, label).permutation(len(rows))]
        held.append(order[:count])
        kept.append(order[count:])
    first, second = (table.subset(source, np.concatenate(part), memory_budget) for part in (kept, held))
    return first, second


def chosen_at_random(source: ImageSource, number: int, *, seed: int = 0, memory_budget: int = MEMORY_BUDGET) -> Subset:
    """Chooses labelled examples at random, whatever their classes: these are as frequent as in the split, about.

    With the same seed a smaller choice is part of a larger one. Labels are read in one pass that decodes no picture.

    Args:
        source: as in `class_balanced`.
        number: of examples, >= 1; where there are fewer, all are chosen.
        seed: the choice depends on it.
        memory_budget: as in `class_balanced`.

    Returns:
        the subset.

    Raises:
        InputError: no labels, or a number out of range.
    """
    require_range("number", number, at_least=1)
    table = _Table.of(source)
    usable = np.flatnonzero(table.usable)
    if not usable.size:
        raise InputError(
            f"The split must have an example with a label. Received: {source.name}, {source.split!r}, without any. "
            "Choose another split"
        )
    return table.subset(source, usable[_generator(seed, _ALL_CLASSES).permutation(usable.size)[:number]], memory_budget)


# ---- Numbers ----


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([seed % 2**63, stream])


def _shared_out(total: int, sizes: np.ndarray, seed: int) -> np.ndarray:
    """Shares `total` examples out over classes of these sizes, as equally as possible."""
    # The level to which all classes can be filled: the largest whose sum does not exceed the total.
    level = int(np.searchsorted([np.minimum(sizes, k).sum() for k in range(1, sizes.max() + 1)], total, side="right"))
    counts = np.minimum(sizes, level)
    order = _generator(seed, len(sizes)).permutation(len(sizes))
    with_more = order[sizes[order] > level]
    counts[with_more[: total - counts.sum()]] += 1
    return counts


def _exactly(per_class: int, sizes: np.ndarray, source: ImageSource) -> np.ndarray:
    small = np.flatnonzero(sizes < per_class)
    if small.size:
        raise InputError(
            f"`per_class` must not be larger than a class of {source.split!r}. Received: per_class={per_class}, but "
            f"there are {_named(source, small, sizes)}. Pass per_class={sizes.min()} or less"
        )
    return np.full_like(sizes, per_class)


def _named(source: ImageSource, labels: Sequence[int] | np.ndarray, sizes: Any = None) -> str:
    """Some classes by name, with their sizes where they are given."""
    texts = [f"{'' if sizes is None else f'{sizes[i]} of '}{source.class_names[i]!r}" for i in labels[:_SHOWN]]
    more = len(labels) - _SHOWN
    return ", ".join(texts) + (f" and {more} more" if more > 0 else "")


# ---- Checks ----


def _require_one_of(fraction: float | None, per_class: int | None) -> None:
    if (fraction is None) == (per_class is None):
        raise InputError(
            f"Either `fraction` or `per_class` must be given. Received: fraction={fraction}, per_class={per_class}"
        )
    if fraction is not None:
        require_range("fraction", fraction, above=0, at_most=1)
    else:
        require_range("per_class", per_class or 0, at_least=1)


def _require_labels(source: ImageSource) -> None:
    if source.targets is not None:
        raise InputError(
            f"Few labels can only be chosen from a split whose pictures have one class each. Received: {source.name}, "
            f"{source.split!r}, where a picture may have several. Choose another data set"
        )
    if not source.labelled:
        raise InputError(
            f"Few labels can only be chosen from a split with labels. Received: {source.name}, {source.split!r}, "
            "without any. Sort the pictures into one folder a class, or choose another data set"
        )


def _require_members(source: ImageSource, sizes: Sequence[int]) -> None:
    empty = [label for label, size in enumerate(sizes) if size == 0]
    if empty:
        raise InputError(
            f"Every class must have an example in the split. Received: {source.name}, {source.split!r}, without any "
            f"of {_named(source, empty)}. Choose another split, or a larger slice of it"
        )


def _require_none_empty(fraction: float, counts: np.ndarray, source: ImageSource) -> None:
    empty = np.flatnonzero(counts == 0)
    if empty.size:
        raise InputError(
            f"`fraction` must leave at least one example of every class. Received: fraction={fraction:g}, which is "
            f"{counts.sum()} of {source.num_examples} examples for {len(counts)} classes: none of "
            f"{_named(source, empty)}. Pass a larger fraction, or per_class=1"
        )


# ---- Examples ----


@dataclasses.dataclass(frozen=True)
class _Table:
    """Identity, class and size in memory of every record of a split, by ascending index."""

    index: np.ndarray
    label: np.ndarray
    size: np.ndarray
    usable: np.ndarray

    @classmethod
    def of(cls, source: ImageSource) -> _Table:
        """Reads a split once, without decoding a picture."""
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
        return cls(index, label, size, unique & (label >= 0))

    def members(self, num_classes: int) -> list[np.ndarray]:
        """The usable rows of each class."""
        return [np.flatnonzero(self.usable & (self.label == label)) for label in range(num_classes)]

    def subset(self, source: ImageSource, rows: np.ndarray, memory_budget: int) -> Subset:
        """The subset of these rows."""
        rows = np.sort(rows)
        index = self.index[rows]
        in_memory = source.load is None or int(self.size[rows].sum()) <= memory_budget
        return Subset(
            source=_only(source, index, in_memory),
            indices=tuple(index.tolist()),
            labels=tuple(self.label[rows].tolist()),
            num_examples_of_whole=len(self.index),
        )


def _bytes_of(data: tf.Tensor) -> tf.Tensor:
    if data.dtype == tf.string:
        return tf.reduce_sum(tf.cast(tf.strings.length(data), tf.int64))
    return tf.size(data, tf.int64) * data.dtype.size


def _only(source: ImageSource, index: np.ndarray, in_memory: bool) -> ImageSource:
    """The examples with these indices (ascending) as a source of their own."""
    digest = hashlib.sha256(index.astype("<i8").tobytes()).hexdigest()[:8]
    chosen = dataclasses.replace(
        source,
        split=f"{source.split}, {len(index)} chosen ({digest})",
        num_examples=len(index),
        records=_filtered(source.records, index),
        notes=(*source.notes, f"{len(index)} of {source.num_examples} examples of {source.split!r} are used"),
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


# ---- Lists ----


def write_chosen(path: str, subset: Subset) -> None:
    """Writes which examples were chosen, as JSON, so that others can use the same.

    The file holds {"format", "dataset", "split", "num_examples" of the whole split, "chosen": a list of {"index",
    "label", "class"}}. The index is that of the source's records.
    """
    names = subset.source.class_names
    values = {
        "format": FORMAT,
        "dataset": subset.source.name,
        "split": subset.source.split,
        "num_examples": subset.num_examples_of_whole,
        "chosen": [
            {"index": index, "label": label, "class": names[label]}
            for index, label in zip(subset.indices, subset.labels, strict=True)
        ],
    }
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def read_chosen(path: str, source: ImageSource, *, memory_budget: int = MEMORY_BUDGET) -> Subset:
    """Applies a list written by `write_chosen` to a split again.

    Args:
        path: of the list.
        source: the split it was chosen from, opened in the same way. It may lie in another folder.
        memory_budget: as in `class_balanced`.

    Returns:
        the subset, the same as when it was written.

    Raises:
        InputError: there is no such file, it is no such list, or the split has another number of examples, or lacks a
            chosen one, or gives it another class.
    """
    values = _list_in(path)
    table = _Table.of(source)
    if values["num_examples"] != len(table.index):
        raise InputError(
            f"A list of chosen examples must belong to the split. Received: {path}, chosen from "
            f"{values['num_examples']} examples, for {source.split!r} with {len(table.index)}. Open the same split"
        )
    indices = [entry["index"] for entry in values["chosen"]]
    rows = np.minimum(np.searchsorted(table.index, indices), len(table.index) - 1)
    for entry, row in zip(values["chosen"], rows, strict=True):
        _require_fits(path, entry, table, int(row), source)
    return table.subset(source, rows, memory_budget)


def _list_in(path: str) -> dict[str, Any]:
    try:
        with tf.io.gfile.GFile(path) as file:
            values = json.loads(file.read())
        indices = [entry["index"] for entry in values["chosen"]]
        sound = values["format"] == FORMAT and all({"label", "class"} <= set(entry) for entry in values["chosen"])
        sound = sound and "num_examples" in values and len(set(indices)) == len(indices) > 0
        sound = sound and all(isinstance(index, int) for index in indices)
    except tf.errors.OpError as error:
        raise InputError(f"The list of chosen examples cannot be read: check the path. Received: {path}") from error
    except (ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        raise InputError(
            "A list of chosen examples must be as `write_chosen` writes it, each example once. "
            f"Received: {path}, which is not. Write it again"
        )
    return values


def _require_fits(path: str, entry: dict[str, Any], table: _Table, row: int, source: ImageSource) -> None:
    """Raises InputError when an entry of a list is not what the split has at this row."""
    found = "nothing under this index"
    if table.index[row] == entry["index"] and table.usable[row]:
        label = int(table.label[row])
        if (label, source.class_names[label]) == (entry["label"], entry["class"]):
            return
        found = f"class {label} {source.class_names[label]!r}"
    raise InputError(
        f"A list of chosen examples must belong to the split. Received: {path}, where example {entry['index']} is "
        f"class {entry['label']} {entry['class']!r}; {source.split!r} has {found}. Open the same split"
    )
