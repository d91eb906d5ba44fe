"""Splits side by side: what they share, and what must not be shared."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tf_simclr.data.scan import some
from tf_simclr.errors import InputError

if TYPE_CHECKING:
    from tf_simclr.data.source import ImageSource


class Span(NamedTuple):
    """Neighbouring examples of one file: what a split is made of, comparable between splits.

    Attributes:
        container: the file that holds them. Two paths to one file are one container.
        start: the first example in it.
        stop: the last one, exclusive.
    """

    container: str
    start: int
    stop: int


class SplitSources(NamedTuple):
    """The splits of a data set, opened together.

    Attributes:
        train: what is trained on.
        evaluation: what is measured on; None without labels in a folder, or where none was asked for.
        validation: what settings are chosen on; None where none was asked for.
    """

    train: ImageSource
    evaluation: ImageSource | None
    validation: ImageSource | None = None


class OverlapError(InputError):
    """Two splits share an example."""


def require_disjoint(*sources: ImageSource | None) -> None:
    """Raises OverlapError where two splits share an example: a network would be measured on what it was trained on.

    Two paths to one file are one example. Splits that do not say what they are made of are not compared.
    """
    given = [source for source in sources if source is not None]
    for first, second in itertools.combinations(given, 2):
        positions = shared(first, second)
        if positions.size:
            raise OverlapError(
                f"Two splits must not share images. Received: {first.split!r} and {second.split!r} of {first.name}, "
                f"with {positions.size} images in both{_examples(second, positions)}. {_remedy(first, second)}"
            )


def shared(first: ImageSource, second: ImageSource) -> np.ndarray:
    """int64 [n]: the positions, in the canonical order of `second`, of the examples that are in `first`, too."""
    known: dict[str, list[tuple[int, int]]] = {}
    for span in first.spans:
        known.setdefault(span.container, []).append((span.start, span.stop))
    found: set[int] = set()
    position = 0
    for container, start, stop in second.spans:
        for other_start, other_stop in known.get(container, ()):
            common = range(max(start, other_start), min(stop, other_stop))
            found.update(position + example - start for example in common)
        position += stop - start
    return np.array(sorted(found), np.int64)


def _examples(source: ImageSource, positions: np.ndarray) -> str:
    if source.names is None:
        return ""
    names = source.names()
    return f", such as {some((names[p] for p in positions.tolist()), 3)}"


def _remedy(first: ImageSource, second: ImageSource) -> str:
    if first.split == second.split:
        return "Name another split for evaluation, as in --eval_split=test"
    if "[" in first.split + second.split:
        return "Choose slices that do not meet, as in train[:80%] and train[80%:]"
    return "Choose other splits, or remove the copies from one of them"


def spans_of_part(spans: Sequence[Span], positions: np.ndarray) -> tuple[Span, ...]:
    """The spans of some examples.

    Args:
        spans: of all examples, in the canonical order.
        positions: int [n], places in that order, ascending.
    """
    return tuple(_joined_up(spans, positions)) if spans else ()


def _joined_up(spans: Sequence[Span], positions: np.ndarray) -> Iterator[Span]:
    firsts = [0, *itertools.accumulate(span.stop - span.start for span in spans)]
    current: Span | None = None
    for position in positions.tolist():
        place = bisect.bisect_right(firsts, position) - 1
        container, start, _ = spans[place]
        example = start + position - firsts[place]
        if current is not None and (current.container, current.stop) == (container, example):
            current = current._replace(stop=example + 1)
            continue
        if current is not None:
            yield current
        current = Span(container, example, example + 1)
    if current is not None:
        yield current
