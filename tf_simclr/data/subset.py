"""Few labels: class-balanced subsets of a split, held-out parts of it, and random choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_simclr.data.label_table import LabelTable, Subset
from tf_simclr.data.source import ImageSource
from tf_simclr.data.tfds_source import MEMORY_BUDGET
from tf_simclr.errors import InputError, require_range

_SHOWN = 8
_ALL_CLASSES = 2**32  # a stream of random numbers that no class has


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
    of indices, not on the order or the kind of the source. Labels are read in one pass that decodes no image.

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
    table = LabelTable.of(source)
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
    members = LabelTable.of(source).members(source.num_classes)
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
    table = LabelTable.of(source)
    members = table.members(source.num_classes)
    single = [label for label, rows in enumerate(members) if len(rows) < 2]
    if single:
        raise InputError(
            "Every class must have an example to keep and one to hold out. Received: at most one of "
            f"{_named(source, single)} in {source.name}, {source.split!r}. Add images, or pass a validation split"
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

    With the same seed a smaller choice is part of a larger one. Labels are read in one pass that decodes no image.

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
    table = LabelTable.of(source)
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
