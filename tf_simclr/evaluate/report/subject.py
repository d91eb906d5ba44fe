"""What a report is about: the network and the images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SplitFacts:
    """A split as the head of a report names it.

    Attributes:
        role: "train", "test" or "validation".
        name: as the user wrote it.
        images: how many.
        location: absolute path of the folder; None where it has none.
        fingerprint: of the files, see `ImageSource`; empty where there is none.
    """

    role: str
    name: str
    images: int
    location: str | None
    fingerprint: str


@dataclass(frozen=True)
class Subject:
    """What was evaluated, and on what.

    Attributes:
        checkpoint: path it was read from.
        step: of the training that made it; None where that is not known.
        digest: of the networks' values; None where none was taken.
        resnet_depth: as in --resnet_depth.
        width_multiplier: as in --width_multiplier.
        sk_ratio: as in --sk_ratio.
        se_ratio: as in --se_ratio.
        stem: "imagenet" or "cifar", as `ModelConfig.stem_for` resolves it.
        dataset: as in --dataset.
        class_names: in the order of the labels.
        train_pictures: labelled images that the protocols may train on.
        test_pictures: images that are evaluated.
        image_size: in pixels.
        metric: as in --metric.
        splits: which images; empty in reports of earlier versions, as the following are.
        eval_crop: share of an image's shorter side that was seen; None where that is not known.
        baselines: figures of classifiers that learn nothing, as in `Baselines.metrics`.
        largest_class: name of the class that one of them always predicts; None where there is none.
        twins: as in `Twins.to_json`; None where they were not looked for.
        date: of the report, in ISO 8601.
        command: that gave it, as it can be pasted into a shell.
        version: of this package.
    """

    checkpoint: str
    step: int | None
    digest: str | None
    resnet_depth: int
    width_multiplier: float
    sk_ratio: float
    se_ratio: float
    stem: str
    dataset: str
    class_names: Sequence[str]
    train_pictures: int
    test_pictures: int
    image_size: int
    metric: str
    splits: tuple[SplitFacts, ...] = ()
    eval_crop: float | None = None
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    largest_class: str | None = None
    twins: dict[str, Any] | None = None
    date: str = ""
    command: str = ""
    version: str = ""

    @property
    def network(self) -> str:
        """As "ResNet-50 x4", with what was added to it."""
        added = [f"{name} {ratio:g}" for name, ratio in (("SK", self.sk_ratio), ("SE", self.se_ratio)) if ratio > 0]
        return ", ".join([f"ResNet-{self.resnet_depth} x{self.width_multiplier:g}", *added])

    def to_json(self) -> dict[str, Any]:
        """The fields, and the network by its name, as JSON values."""
        values = {**dataclasses.asdict(self), "class_names": list(self.class_names), "network": self.network}
        return values | {"splits": [dataclasses.asdict(split) for split in self.splits]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Subject:
        """The subject that `to_json` wrote, here or in an earlier version, which said less."""
        known = {one.name: values[one.name] for one in dataclasses.fields(cls) if one.name in values}
        return cls(**known | {"splits": tuple(SplitFacts(**split) for split in values.get("splits", ()))})
