"""Two evaluations of the same images, compared row by row."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_simclr.errors import InputError
from tf_simclr.evaluate.measures.paired import Paired, compare_hits, compare_scores
from tf_simclr.evaluate.report.stored import Answers, StoredEvaluation, shown_classes
from tf_simclr.evaluate.report.summary import TITLES, Row
from tf_simclr.evaluate.report.tables import TextRows


@dataclass(frozen=True)
class ComparedRow:
    """One metric of a row of A and a row of B.

    Attributes:
        row_a: the name of A's row, as its table of predictions.
        row_b: of B's.
        metric: top_1, mean_per_class or map_11_point.
        seeds_a: of A, whose answers are averaged; empty text for a protocol without randomness.
        seeds_b: of B.
        images: how many.
        only_a: images that A answers rightly more often than B; None for the mAP.
        only_b: images that B answers rightly more often than A; None for the mAP.
        paired: both figures, their difference, its interval, and the p-value.
    """

    row_a: str
    row_b: str
    metric: str
    seeds_a: tuple[str, ...]
    seeds_b: tuple[str, ...]
    images: int
    only_a: int | None
    only_b: int | None
    paired: Paired

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return dataclasses.asdict(self)


def compare_evaluations(
    a: StoredEvaluation, b: StoredEvaluation, *, row_a: str = "", row_b: str = "", seed: int = 0
) -> list[ComparedRow]:
    """Compares what two evaluations predicted for the same test images.

    Args:
        a: the one evaluation.
        b: the other one; the difference is its figure less that of `a`.
        row_a: a row of `a`, by the name of its table in predictions/. Empty: all that `b` has, too.
        row_b: the row of `b` that it is compared with; empty: that of the same name.
        seed: of the bootstrap and of random swaps.

    Returns:
        one for each metric of each pair of rows: top-1 and mean per class, or the 11-point mAP.

    Raises:
        InputError: other images, no row in common or no such row, or predictions that are missing.
    """
    _require_same_images(a, b)
    found = []
    for first, second in _pairs(a, b, row_a, row_b):
        answers = a.answers(first), b.answers(second)
        if answers[0].images != answers[1].images:
            raise InputError(_other_images(a, b))
        found += _compared(a, b, first, second, *answers, seed)
    return found


def _require_same_images(a: StoredEvaluation, b: StoredEvaluation) -> None:
    known = a.fingerprint and b.fingerprint
    same = a.subject.test_pictures == b.subject.test_pictures and list(a.subject.class_names) == list(
        b.subject.class_names
    )
    if not same or (known and a.fingerprint != b.fingerprint):
        raise InputError(_other_images(a, b))


def _other_images(a: StoredEvaluation, b: StoredEvaluation) -> str:
    return (
        "`run_b` must be an evaluation of the same test images and classes as `run_a`. Received: "
        f"{a.directory} with {a.images}, and {b.directory} with {b.images}. Evaluate both on the same split"
    )


def _pairs(a: StoredEvaluation, b: StoredEvaluation, row_a: str, row_b: str) -> list[tuple[str, str]]:
    """Names of the rows of A and B that are compared."""
    if row_a or row_b:
        pair = row_a or row_b, row_b or row_a
        for flag, name, one in (("row_a", pair[0], a), ("row_b", pair[1], b)):
            if name not in one.rows:
                raise InputError(
                    f"`{flag}` must be one of: {', '.join(one.rows)}. Received: {flag}={name}. These are the tables in "
                    f"predictions/ of {one.directory}"
                )
        return [pair]
    others = {_protocol(row): name for name, row in b.rows.items()}
    found = [(name, others[_protocol(row)]) for name, row in a.rows.items() if _protocol(row) in others]
    if not found:
        raise InputError(
            "`run_a` and `run_b` must have a protocol with the same setting in common. Received: "
            f"{', '.join(a.rows) or 'none'} in {a.directory}, and {', '.join(b.rows) or 'none'} in {b.directory}. "
            "Evaluate both by the same --protocols, or name two rows by --row_a and --row_b"
        )
    return found


def _protocol(row: Row) -> tuple[str, str, str | None, str]:
    return row.first.protocol, row.first.encoder, row.first.endpoint, row.first.setting


def _compared(
    a: StoredEvaluation, b: StoredEvaluation, first: str, second: str, of_a: Answers, of_b: Answers, seed: int
) -> list[ComparedRow]:
    if bool(of_a.scores) != bool(of_b.scores):
        raise InputError(_other_images(a, b))
    if of_a.scores:
        return [_of_scores(a, b, first, second, of_a, of_b, seed)]
    hits = of_a.hits(), of_b.hits()
    for one, name, right in ((a, first, hits[0]), (b, second, hits[1])):
        one.require_figure(name, "top_1", float(right.mean()))
    mine, theirs = (right[list(chosen)].mean(axis=0) for right, chosen in zip(hits, _seeds(of_a, of_b), strict=True))
    labels = np.unique(of_a.labels, return_inverse=True)[1]
    return [
        _row(
            *(first, second, metric, of_a, of_b),
            compare_hits(mine, theirs, grouped, seed=seed),
            only=(int((mine > theirs).sum()), int((theirs > mine).sum())),
        )
        for metric, grouped in (("top_1", None), ("mean_per_class", labels))
    ]


def _of_scores(
    a: StoredEvaluation, b: StoredEvaluation, first: str, second: str, of_a: Answers, of_b: Answers, seed: int
) -> ComparedRow:
    chosen = _seeds(of_a, of_b)
    mine, theirs = ([one.scores[at] for at in seeds] for one, seeds in zip((of_a, of_b), chosen, strict=True))
    if len(mine) != len(theirs):
        raise InputError(
            f"rows of scores must have as many seeds. Received: {len(mine)} of {first} and {len(theirs)} of {second}. "
            "Evaluate both with the same --eval_seeds"
        )
    positives, ignored = of_a.targets(shown_classes(a.subject))
    found = compare_scores(mine, theirs, positives, ignored=ignored, seed=seed)
    if len(mine) == len(of_a.seeds) == len(of_b.seeds):
        a.require_figure(first, "map_11_point", found.a)
        b.require_figure(second, "map_11_point", found.b)
    return _row(first, second, "map_11_point", of_a, of_b, found, only=(None, None))


def _seeds(of_a: Answers, of_b: Answers) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The places of the seeds that are compared: those that both have, or all where they have none in common."""
    both = [seed for seed in of_a.seeds if seed in of_b.seeds]
    a, b = (
        tuple(one.seeds.index(seed) for seed in both) if both else tuple(range(len(one.seeds))) for one in (of_a, of_b)
    )
    return a, b


def _row(
    first: str,
    second: str,
    metric: str,
    of_a: Answers,
    of_b: Answers,
    paired: Paired,
    only: tuple[int | None, int | None],
) -> ComparedRow:
    seeds_a, seeds_b = (
        tuple(one.seeds[at] for at in chosen) for one, chosen in zip((of_a, of_b), _seeds(of_a, of_b), strict=True)
    )
    return ComparedRow(first, second, metric, seeds_a, seeds_b, len(of_a.images), *only, paired)


def comparison_rows(compared: Sequence[ComparedRow]) -> TextRows:
    """A table of texts, the header first: figures in points."""
    rows = [["row", "metric", "A", "B", "B - A", "95% interval", "p", "only A right", "only B right"]]
    for one in compared:
        found = one.paired
        low, high = (f"{100 * end:+.1f}" for end in found.interval)
        name = one.row_a if one.row_a == one.row_b else f"{one.row_a} and {one.row_b}"
        rows.append(
            [
                *(name, TITLES[one.metric], f"{100 * found.a:.1f}", f"{100 * found.b:.1f}"),
                *(f"{100 * found.difference:+.1f}", f"{low} to {high}", f"{found.p_value:.2g}"),
                *("" if count is None else str(count) for count in (one.only_a, one.only_b)),
            ]
        )
    return rows
