"""Several ways of doing one thing, measured in turn, so that a busy machine slows all alike."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Spread:
    """Median, least and most of several numbers."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one number."""
        return cls(float(np.median(values)), min(values), max(values))

    def __str__(self) -> str:
        digits = 2 if self.median < 100 else 0
        return f"{self.median:,.{digits}f} ({self.least:,.{digits}f}-{self.most:,.{digits}f})"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What was measured of one piece of work.

    Attributes:
        work: what is done, in words.
        ours: images a second.
        plain: images a second of the plain implementation.
        ratio: ours through plain, each of two measurements that followed each other.
        cpu_ratio: CPU seconds an image of the plain one through ours, likewise: other programs change it less.
    """

    work: str
    ours: Spread
    plain: Spread
    ratio: Spread
    cpu_ratio: Spread


@dataclasses.dataclass(frozen=True)
class Rate:
    """Images a second by the clock, and CPU seconds an image."""

    images_a_second: float
    cpu_an_image: float


def rate(work: Callable[[], int]) -> Rate:
    """Of a function that returns how many images it made."""
    began, cpu = time.perf_counter(), time.process_time()
    images = work()
    return Rate(images / (time.perf_counter() - began), (time.process_time() - cpu) / images)


def in_turn(sides: Sequence[Callable[[], Rate]], repeats: int) -> list[tuple[Rate, ...]]:
    """Measures all sides `repeats` times in turn, after one of each that does not count; who begins changes."""
    for side in sides:
        side()
    rounds = []
    for repeat in range(repeats):
        order = [(repeat + place) % len(sides) for place in range(len(sides))]
        found = {place: sides[place]() for place in order}
        rounds.append(tuple(found[place] for place in range(len(sides))))
    return rounds


def compare(work: str, ours: Callable[[], Rate], plain: Callable[[], Rate], repeats: int) -> Comparison:
    """Measures both in turn."""
    return comparison(work, in_turn((ours, plain), repeats))


def comparison(work: str, pairs: Sequence[tuple[Rate, ...]]) -> Comparison:
    """What pairs of (ours, plain) say that followed each other."""
    return Comparison(
        work,
        Spread.of([one.images_a_second for one, _ in pairs]),
        Spread.of([other.images_a_second for _, other in pairs]),
        Spread.of([one.images_a_second / other.images_a_second for one, other in pairs]),
        Spread.of([other.cpu_an_image / one.cpu_an_image for one, other in pairs]),
    )


def table(comparisons: Sequence[Comparison]) -> str:
    """As a table in Markdown."""
    lines = ["| work | ours, images/s | plain, images/s | ratio | ratio of CPU time |", "|---|---|---|---|---|"]
    lines += [f"| {one.work} | {one.ours} | {one.plain} | {one.ratio} | {one.cpu_ratio} |" for one in comparisons]
    return "\n".join(lines)
