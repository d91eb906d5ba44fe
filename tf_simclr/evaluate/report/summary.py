"""What a report says: the records of one protocol over its seeds, as one row."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tf_simclr.errors import InputError, require_choice
from tf_simclr.evaluate.measures.baselines import CHANCE, LARGEST_CLASS
from tf_simclr.evaluate.measures.intervals import Interval
from tf_simclr.evaluate.measures.metrics import SeedSummary, over_seeds
from tf_simclr.evaluate.records import PRETRAINED, SCRATCH, UNTRAINED, Record
from tf_simclr.evaluate.report.paper_results import Reference, paper_figure
from tf_simclr.evaluate.report.subject import Subject

HEALTH = "health"
# The names of figures of classification: shares, shown in points. Those of `health` are shown as they are.
TITLES = {"top_1": "top-1", "mean_per_class": "mean per class", "map_11_point": "11-point mAP", "top_5": "top-5"}
ENCODER_OUTPUT = "final_avg_pool"


@dataclass(frozen=True)
class Row:
    """The records of equal protocol, encoder, endpoint and setting, one for each seed.

    Attributes:
        records: at least one, in the order they were measured.
        metrics: over the seeds, by name.
        references: the paper's figure of those metrics it has one for, by name.
        intervals: 95%, over the choice of the test images; the mean of the ends over the seeds.
        without_twins: over the seeds, of the test images without a twin; empty where there are no twins.
        mark: what is wrong with the row, in a few words: see `_mark`; may be empty.
    """

    records: tuple[Record, ...]
    metrics: dict[str, SeedSummary]
    references: dict[str, Reference]
    intervals: dict[str, Interval] = field(default_factory=dict)
    without_twins: dict[str, SeedSummary] = field(default_factory=dict)
    mark: str = ""

    @property
    def first(self) -> Record:
        """The record that speaks for all where they are equal."""
        return self.records[0]

    @property
    def is_health(self) -> bool:
        """Whether its figures are of `health`, which have tables of their own."""
        return self.first.protocol == HEALTH

    @property
    def where(self) -> str:
        """What was evaluated and with which setting, as "final_avg_pool; k=200, T=0.1"."""
        return "; ".join(part for part in (self.first.endpoint or "whole network", self.first.setting) if part)

    @property
    def seconds(self) -> float:
        """Wall-clock time of all seeds together."""
        return sum(record.seconds for record in self.records)

    @property
    def per_class(self) -> list[float | None] | None:
        """Mean over the seeds for each class; None for a class without a test image, or where no record tells."""
        told = [record.per_class for record in self.records if record.per_class is not None]
        if not told:
            return None
        of_classes = ([value for value in values if value is not None] for values in zip(*told, strict=True))
        return [float(np.mean(values)) if values else None for values in of_classes]

    @property
    def confusion(self) -> np.ndarray | None:
        """Counts of images [true class, predicted class], the seeds added up; None where no record has them."""
        counts = [np.array(record.confusion, np.int64) for record in self.records if record.confusion is not None]
        return np.sum(counts, axis=0) if counts else None

    @property
    def warnings(self) -> list[str]:
        """What the records warn of, each once."""
        found = (record.details.get("warning") for record in self.records)
        return list(dict.fromkeys(str(warning) for warning in found if warning))

    def to_json(self) -> dict[str, Any]:
        """The row as JSON values."""
        references = {
            name: {"value": reference.value, "source": reference.source} for name, reference in self.references.items()
        }
        return {
            "protocol": self.first.protocol,
            "encoder": self.first.encoder,
            "endpoint": self.first.endpoint,
            "setting": self.first.setting,
            "metrics": {name: dataclasses.asdict(summary) for name, summary in self.metrics.items()},
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "without_twins": {name: dataclasses.asdict(summary) for name, summary in self.without_twins.items()},
            "mark": self.mark,
            "reference": references or None,
            "per_class": self.per_class,
            "seconds": self.seconds,
            "seeds": [{"seed": record.seed, "details": record.details} for record in self.records],
        }


def summarise(subject: Subject, records: Sequence[Record]) -> list[Row]:
    """The rows of a report, in the order in which their first records come.

    Args:
        subject: what the records are about.
        records: at least one.

    Raises:
        InputError: no record, a record twice, one that does not fit the classes, a figure that is not finite.
    """
    if not records:
        raise InputError("A report needs at least one result. Received: none. Name a protocol, as --protocols=knn")
    groups: dict[tuple[str, str, str | None, str], list[Record]] = {}
    for record in records:
        _check(record, len(subject.class_names))
        group = groups.setdefault((record.protocol, record.encoder, record.endpoint, record.setting), [])
        if record.seed in (other.seed for other in group):
            raise InputError(
                f"Every result must be there once for each seed. Received: {_name_of(record)} twice. Drop one, or tell "
                "them apart by their setting"
            )
        group.append(record)
    return [_row(subject, group) for group in groups.values()]


def _row(subject: Subject, records: Sequence[Record]) -> Row:
    # An order of their own: report.json sorts its keys, and the records read from it must give the same tables.
    known = list(TITLES)
    names = sorted(
        {name for record in records for name in record.metrics},
        key=lambda name: (known.index(name) if name in known else len(known), name),
    )
    summaries = {
        name: over_seeds(record.metrics[name] for record in records if name in record.metrics) for name in names
    }
    found = {name: _reference(subject, records[0], name) for name in names}
    references = {name: reference for name, reference in found.items() if reference is not None}
    main = main_metric(subject, summaries)
    intervals = {name: ends for name in names if (ends := _interval(records, name)) is not None}
    without = [record.without_twins for record in records if record.without_twins]
    without_twins = {name: over_seeds(one[name] for one in without) for name in (without[0] if without else ())}
    mark = _mark(subject, records, main, summaries[main].mean, intervals.get(main))
    return Row(tuple(records), summaries, references, intervals, without_twins, mark)


def main_metric(subject: Subject, metrics: Mapping[str, object]) -> str:
    """The metric that a row shows first: a metric of its own where --metric says nothing of it, as top-1 of images with
    several labels."""
    return subject.metric if subject.metric in metrics else next(iter(metrics))


def _interval(records: Sequence[Record], metric: str) -> Interval | None:
    ends = [record.intervals[metric] for record in records if metric in record.intervals]
    if not ends:
        return None
    low, high = np.mean(ends, axis=0)
    return float(low), float(high)


def _mark(subject: Subject, records: Sequence[Record], metric: str, value: float, interval: Interval | None) -> str:
    """Words for a row that shows no more than a classifier that does not look at the image.

    "one class only" where every test image gets the same class, as by a classifier that was not trained;
    "= largest class" where the figure is that of the largest class; "not above largest class" where the 95% interval
    reaches down to it. Where an image may show several classes, chance stands in for the largest class.
    """
    if records[0].protocol == HEALTH:
        return ""
    matrices = [np.array(record.confusion) for record in records if record.confusion is not None]
    constant = bool(matrices) and all((counts.sum(axis=0) > 0).sum() == 1 for counts in matrices)
    words = ["one class only"] if constant else []
    floor_name = LARGEST_CLASS if LARGEST_CLASS in subject.baselines else CHANCE
    floor = subject.baselines.get(floor_name, {}).get(metric)
    if floor is not None and abs(value - floor) < 1e-9:
        words.append(f"= {floor_name}")
    elif floor is not None and (value if interval is None else interval[0]) <= floor:
        words.append(f"not above {floor_name}")
    return ", ".join(words)


def _reference(subject: Subject, record: Record, metric: str) -> Reference | None:
    """The paper's figure, where the network and what was done with it are the paper's."""
    paper_network = subject.sk_ratio == subject.se_ratio == 0
    if record.encoder == UNTRAINED or record.endpoint not in (None, ENCODER_OUTPUT) or not paper_network:
        return None
    found = paper_figure(subject.dataset, subject.resnet_depth, subject.width_multiplier, record.protocol, metric)
    return found if found is not None and found.stem == subject.stem else None


def _check(record: Record, num_classes: int) -> None:
    """Raises InputError where a record does not fit the classes or has a figure that is not a number."""
    require_choice("encoder", record.encoder, (PRETRAINED, UNTRAINED, SCRATCH))
    if not record.metrics or not np.isfinite(list(record.metrics.values())).all():
        raise InputError(
            f"Every result must have figures, and finite ones. Received: {_name_of(record)}: {record.metrics}. Look at "
            "what this protocol was given"
        )
    for name, values in (("per_class", record.per_class), ("confusion", record.confusion)):
        if values is not None and len(values) != num_classes:
            raise InputError(
                f"`{name}` must have an entry for each of the {num_classes} classes. Received: {_name_of(record)} with "
                f"{len(values)}. Pass the class names of the data set that was evaluated"
            )


def _name_of(record: Record) -> str:
    parts = (record.protocol, record.encoder, record.endpoint, record.setting, f"seed {record.seed}")
    return ", ".join(part for part in parts if part)
