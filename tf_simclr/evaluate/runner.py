"""Runs the protocols one after the other, keeps what each found, and takes up again what an earlier try has done."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tf_simclr.config import FROZEN_PROTOCOLS, read_labelled_training
from tf_simclr.data.subset import class_balanced
from tf_simclr.errors import InputError, require_choice
from tf_simclr.evaluate import frozen, grid, whole_network
from tf_simclr.evaluate.cells import PRETRAINED, SCRATCH, UNTRAINED, Cell
from tf_simclr.evaluate.features import cached_features, endpoint_names, model_digest
from tf_simclr.evaluate.frozen import FrozenFeatures
from tf_simclr.evaluate.judging import Judging
from tf_simclr.evaluate.trained import load_trained
from tf_simclr.evaluate.two_views import health
from tf_simclr.files import read_json, to_json, write_json
from tf_simclr.nn.model import SimCLRModel

FORMAT = 1
CELLS_DIRECTORY, RUNS_DIRECTORY, FEATURES_DIRECTORY = "cells", "runs", "features"
# What serves pictures with several classes each, and their metric.
FOR_SEVERAL_CLASSES, MULTI_LABEL_METRIC = ("health", "logreg", "untrained"), "map_11_point"
# What of the flags decides a protocol's result, apart from pictures, network, endpoint and seed.
_SETTINGS = {
    "health": (),
    "knn": ("knn_k", "knn_temperature"),
    "linear_cached": ("linear_epochs", "linear_batch_size", "linear_learning_rate"),
    "logreg": ("logreg_iterations", "logreg_strengths", "metric"),
    "linear": ("linear_epochs", "finetune_batch_size", "linear_learning_rate"),
    "finetune": ("finetune_epochs", "finetune_batch_size", "finetune_learning_rate"),
    "supervised": (
        "supervised_epochs",
        "finetune_batch_size",
        "supervised_learning_rate",
        "supervised_weight_decay",
    ),
    "finetune_grid": ("grid_learning_rates", "grid_weight_decays", "grid_steps", "finetune_batch_size", "metric"),
}


@dataclass(frozen=True)
class Planned:
    """One thing to do: a protocol on an encoder, with one seed.

    Attributes:
        protocol: its name.
        encoder: PRETRAINED, UNTRAINED or SCRATCH.
        endpoint: whose features are judged; None where the whole network is trained.
        seed: None where nothing depends on one.
    """

    protocol: str
    encoder: str
    endpoint: str | None
    seed: int | None

    @property
    def title(self) -> str:
        """For a person."""
        seed = None if self.seed is None else f"seed {self.seed}"
        return f"{self.protocol} ({', '.join(part for part in (self.encoder, self.endpoint, seed) if part)})"


def plan(judging: Judging) -> list[Planned]:
    """Everything to do: the pretrained encoder first, then each untrained one, then what trains the whole network."""
    settings = judging.protocols
    names = settings.protocol_names
    on_encoders = [name for name in ("health", *FROZEN_PROTOCOLS, "linear") if name in names]
    planned = [
        Planned(name, PRETRAINED, endpoint, seed)
        for name in on_encoders
        for endpoint in settings.endpoint_names
        for seed in ((None,) if _needs_no_seed(judging, name) else settings.seeds)
    ]
    planned += [
        Planned(name, UNTRAINED, endpoint, seed)
        for seed in settings.seeds * ("untrained" in names)
        for name in on_encoders
        for endpoint in settings.endpoint_names
    ]
    for name in names:
        amount = read_labelled_training(name)
        if amount is not None or name == "finetune_grid":
            encoder = PRETRAINED if amount is None or amount.pretrained else SCRATCH
            planned += [Planned(name, encoder, None, seed) for seed in settings.seeds]
    return planned


def _needs_no_seed(judging: Judging, protocol: str) -> bool:
    """Whether nothing of a protocol on the pretrained encoder is random."""
    return protocol in ("health", "knn") or (protocol == "logreg" and judging.splits.validation is not None)


class Runner:
    """Does what is planned; keeps each result in a file of its own, and the networks it needs in memory.

    Args:
        judging: what is judged, on what.

    Raises:
        InputError: what can be known to fail before any protocol runs.
    """

    def __init__(self, judging: Judging):
        self._judging = judging
        self._directory = judging.runtime.directory
        self._networks: tuple[object, SimCLRModel] | None = None
        model = self._model(PRETRAINED, None)
        check(judging, model)
        self.digest = model_digest(model)

    def run(self) -> tuple[list[Cell], list[str]]:
        """Everything that is planned, as cells, and a line for each protocol that could not be finished.

        Raises:
            StoppedError: somebody asked to stop; what was done is kept.
        """
        cells, failed = [], []
        todo = plan(self._judging)
        say = self._judging.reporter.say
        for number, planned in enumerate(todo, start=1):
            head = f"[{number}/{len(todo)}] {planned.title}"
            stored = self._stored(planned)
            if stored is not None:
                say(f"{head}: kept from an earlier run")
                cells += stored
                continue
            say(head)
            try:
                found = self._run(planned)
            except InputError as error:
                failed.append(f"{planned.title}: {error}")
                say(f"error: {failed[-1]}; going on with the others")
                continue
            self._store(planned, found)
            cells += found
            for cell in found:
                say("    " + self._result_line(cell))
            if self._judging.stop:
                raise whole_network.StoppedError
        return cells, failed

    def _result_line(self, cell: Cell) -> str:
        figures = {self._judging.protocols.metric: 0.0} if cell.protocol != "health" else cell.metrics
        shown = [
            f"{name} {cell.metrics[name]:.3g}" if cell.protocol == "health" else f"{name} {cell.metrics[name]:.1%}"
            for name in figures
        ]
        return f"{cell.setting}: {', '.join(shown)}" if cell.setting else ", ".join(shown)

    # ---- One protocol ----

    def _run(self, planned: Planned) -> list[Cell]:
        began = time.perf_counter()
        found = list(self._found(planned))
        seconds = (time.perf_counter() - began) / len(found)
        return [
            Cell(planned.protocol, planned.encoder, planned.endpoint, setting, planned.seed, seconds=seconds, **fields)
            for setting, fields in found
        ]

    def _found(self, planned: Planned) -> frozen.Found:
        judging, seed = self._judging, planned.seed or 0
        if planned.endpoint is not None and planned.protocol != "linear":
            model = self._model(planned.encoder, planned.seed)
            features = self._features(model, planned.endpoint)
            if planned.protocol == "health":
                warn = planned.encoder == PRETRAINED
                return [("", health(judging, model, features, planned.endpoint, warn=warn))]
            return frozen.RUN[planned.protocol](judging, features, seed)
        directory = os.path.join(self._directory, RUNS_DIRECTORY, self._name(planned))
        return [("", self._trained(planned, seed, directory))]

    def _trained(self, planned: Planned, seed: int, directory: str) -> dict[str, Any]:
        """The fields of a cell of a protocol that trains with pictures."""
        judging = self._judging
        if planned.endpoint is not None:
            pretrained = planned.encoder == PRETRAINED
            return whole_network.linear(
                judging, planned.endpoint, pretrained=pretrained, seed=seed, directory=directory
            )
        amount = read_labelled_training(planned.protocol)
        if amount is None:
            return grid.finetune_grid(judging, seed=seed, directory=directory)
        return whole_network.with_labels(judging, amount, seed=seed, directory=directory)

    def _model(self, encoder: str, seed: int | None) -> SimCLRModel:
        """The networks as they were trained, or as they are initialised with a seed."""
        if self._networks is None or self._networks[0] != (encoder, seed if encoder == UNTRAINED else None):
            self._networks = None  # before the next ones take their memory
            with self._judging.strategy.scope():
                if encoder == UNTRAINED:
                    tf.keras.utils.set_random_seed(seed or 0)
                trained = load_trained(self._judging.prefix, values=encoder == PRETRAINED)
            self._networks = ((encoder, seed if encoder == UNTRAINED else None), trained.model)
        return self._networks[1]

    def _features(self, model: SimCLRModel, endpoint: str) -> FrozenFeatures:
        """Features of every split; all endpoints are computed in one pass, the first time."""
        judging, found = self._judging, {}
        splits = {"train": judging.splits.train, "test": judging.splits.test, "validation": judging.splits.validation}
        for name, source in splits.items():
            if source is None:
                continue
            with judging.reporter.counting(f"features of {source.split}") as count:
                found[name] = cached_features(
                    model,
                    source,
                    judging.protocols.feature_dir or os.path.join(self._directory, FEATURES_DIRECTORY),
                    endpoints=judging.protocols.endpoint_names,
                    strategy=judging.strategy,
                    batch_size=judging.data.eval_batch_size,
                    image_size=judging.data.image_size,
                    eval_crop=judging.data.crop_of_evaluation,
                    data_seed=judging.data.data_seed,
                    say=judging.reporter.say,
                    progress=count,
                )[endpoint]
        return FrozenFeatures(found["train"], found["test"], found.get("validation"))

    # ---- What is kept ----

    def _identity(self, planned: Planned) -> dict[str, Any]:
        """Everything that a result depends on."""
        judging, flags = self._judging, self._judging.protocols.to_flags()
        amount = read_labelled_training(planned.protocol)
        kind = planned.protocol if amount is None else planned.protocol.partition("_")[0]
        splits = judging.splits
        trains = planned.endpoint is None or planned.protocol == "linear"
        return {
            "format": FORMAT,
            "protocol": planned.protocol,
            "encoder": planned.encoder,
            "endpoint": planned.endpoint,
            "seed": planned.seed,
            "settings": {name: flags[name] for name in _SETTINGS[kind]},
            "networks": {part: vars(getattr(judging.origin, part)) for part in ("model", "loss", "augmentation")},
            "checkpoint": self.digest if planned.encoder == PRETRAINED else None,
            "pictures_seen": judging.pictures_seen if planned.encoder == SCRATCH else None,
            "splits": [
                [split.name, split.split, split.num_examples, list(split.class_names)]
                for split in (splits.train, splits.test, splits.validation)
                if split is not None
            ],
            "data_seed": judging.data.data_seed,
            "image_size": judging.data.image_size,
            "precision": judging.runtime.precision if trains else "float32",
        }

    def _name(self, planned: Planned) -> str:
        """A file name that changes with everything the result depends on."""
        text = to_json(self._identity(planned))
        seed = "" if planned.seed is None else f"-seed{planned.seed}"
        return f"{planned.protocol}{seed}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def _path(self, planned: Planned) -> str:
        return os.path.join(self._directory, CELLS_DIRECTORY, f"{self._name(planned)}.json")

    def _stored(self, planned: Planned) -> list[Cell] | None:
        values = read_json(self._path(planned))
        return None if values is None else [Cell.from_json(cell) for cell in values["cells"]]

    def _store(self, planned: Planned, cells: list[Cell]) -> None:
        tf.io.gfile.makedirs(os.path.join(self._directory, CELLS_DIRECTORY))
        values = {"identity": self._identity(planned), "cells": [cell.to_json() for cell in cells]}
        write_json(self._path(planned), values, indent=None)


def _require_fitting_metric(protocols: Sequence[str], metric: str, *, several: bool) -> None:
    """Raises InputError where pictures with several classes, or with one, cannot be judged so."""
    if several and not set(protocols) <= set(FOR_SEVERAL_CLASSES):
        raise InputError(
            f"Pictures with several classes each are judged by: {', '.join(FOR_SEVERAL_CLASSES)}. Received: "
            f"protocols={','.join(protocols)}. Pass --protocols=logreg --metric={MULTI_LABEL_METRIC}"
        )
    if several != (metric == MULTI_LABEL_METRIC):
        wanted = MULTI_LABEL_METRIC if several else "top_1 or mean_per_class"
        kind = "several classes" if several else "one class"
        raise InputError(f"`metric` must be {wanted} for pictures with {kind} each. Received: metric={metric}")


def check(judging: Judging, model: SimCLRModel) -> None:
    """What can be known to fail before any protocol runs.

    Raises:
        InputError: with the flag to change.
    """
    settings, train = judging.protocols, judging.splits.train
    _require_fitting_metric(settings.protocol_names, settings.metric, several=train.targets is not None)
    for endpoint in settings.endpoint_names:
        require_choice("endpoints", endpoint, endpoint_names(model))
        if "linear" in settings.protocol_names:
            whole_network.selector_of(endpoint, judging.origin)
    if "knn" in settings.protocol_names and max(settings.ks) > train.num_examples:
        raise InputError(
            f"`knn_k` must be at most the {train.num_examples} training pictures. Received: knn_k={settings.knn_k}. "
            "Pass a smaller --knn_k"
        )
    for name in settings.protocol_names:
        amount = read_labelled_training(name)
        if amount is not None and not amount.whole:
            for seed in settings.seeds:
                class_balanced(train, fraction=amount.fraction, per_class=amount.per_class, seed=seed)
