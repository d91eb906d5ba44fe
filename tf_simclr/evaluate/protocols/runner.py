"""Runs the protocols one after the other, keeps what each found, and takes up again what an earlier try has done."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tf_simclr.config import FROZEN_PROTOCOLS, read_labelled_training
from tf_simclr.data.source import ImageSource
from tf_simclr.data.subset import class_balanced
from tf_simclr.errors import InputError, require_choice
from tf_simclr.evaluate.feature_store import Features
from tf_simclr.evaluate.features import cached_features, endpoint_names, model_digest
from tf_simclr.evaluate.load import load_trained
from tf_simclr.evaluate.measures.linear import PROBE
from tf_simclr.evaluate.measures.thumbnails import THUMBNAIL
from tf_simclr.evaluate.measures.twins import NEAR, Twins, find_twins
from tf_simclr.evaluate.predictions import EvaluatedImages
from tf_simclr.evaluate.protocols import frozen, grid, whole_network
from tf_simclr.evaluate.protocols.context import EvaluationContext
from tf_simclr.evaluate.protocols.frozen import FrozenFeatures
from tf_simclr.evaluate.protocols.health import health
from tf_simclr.evaluate.protocols.whole_network import DECAY
from tf_simclr.evaluate.record_store import RecordStore
from tf_simclr.evaluate.records import PRETRAINED, SCRATCH, UNTRAINED, Record
from tf_simclr.files import to_json
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.resumable import Task, run_tasks, short_digest

# 2: a result says what the images are made of, and what was predicted for each.
FORMAT = 2
RUNS_DIRECTORY, FEATURES_DIRECTORY = "runs", "features"
# What serves images with several classes each, and their metric.
FOR_SEVERAL_CLASSES, MULTI_LABEL_METRIC = ("health", "logreg", "untrained"), "map_11_point"
# What of the flags decides a protocol's result, apart from images, network, endpoint and seed.
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
        endpoint: whose features are evaluated; None where the whole network is trained.
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


def plan(context: EvaluationContext) -> list[Planned]:
    """Everything to do: the pretrained encoder first, then each untrained one, then what trains the whole network."""
    settings = context.protocols
    names = settings.protocol_names
    on_encoders = [name for name in ("health", *FROZEN_PROTOCOLS, "linear") if name in names]
    planned = [
        Planned(name, PRETRAINED, endpoint, seed)
        for name in on_encoders
        for endpoint in settings.endpoint_names
        for seed in ((None,) if _needs_no_seed(context, name) else settings.seeds)
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


def _needs_no_seed(context: EvaluationContext, protocol: str) -> bool:
    """Whether nothing of a protocol on the pretrained encoder is random."""
    return protocol in ("health", "knn") or (protocol == "logreg" and context.splits.validation is not None)


class Runner:
    """Does what is planned; keeps each result in a file of its own, and the networks it needs in memory.

    Args:
        context: what is evaluated, on what.

    Raises:
        InputError: what can be known to fail before any protocol runs.
    """

    def __init__(self, context: EvaluationContext):
        self._context = context
        self._directory = context.runtime.directory
        self._networks: tuple[object, SimCLRModel] | None = None
        self._images: EvaluatedImages | None = None
        model = self._model(PRETRAINED, None)
        check(context, model)
        self.digest = model_digest(model)
        self._store = RecordStore(self._directory, context.reporter.say)

    @property
    def images(self) -> EvaluatedImages:
        """The test images, by name and label; with their twins once `run` has looked for them."""
        if self._images is None:
            self._images = EvaluatedImages.of(self._context.splits.test, self._context.splits.train)
        return self._images

    def run(self) -> tuple[list[Record], list[str]]:
        """Everything that is planned, as records, and a line for each protocol that could not be finished.

        Raises:
            StoppedError: somebody asked to stop; what was done is kept.
        """
        planned = plan(self._context)
        say = self._context.reporter.say
        self._note_fewer_neighbours()
        self._store.note_older_results(FORMAT)
        self._find_twins(planned)
        found, failed = run_tasks([self._task(one) for one in planned], say=say, stop=lambda: bool(self._context.stop))
        return [record.with_twins(self.images) for records in found for record in records], failed

    def _task(self, planned: Planned) -> Task[list[Record]]:
        """A protocol with what is kept of it, under a name that changes with all that its result depends on."""
        name = self._name(planned)
        return Task(
            planned.title,
            read=lambda: self._store.read(name),
            run=lambda: self._run(planned),
            keep=lambda found: self._store.write(name, self._identity(planned), found),
            describe=lambda found: [self._result_line(record) for record in found],
        )

    def _note_fewer_neighbours(self) -> None:
        context = self._context
        reduced = [k for k in context.protocols.ks if k not in context.ks]
        if "knn" in context.protocols.protocol_names and reduced:
            context.reporter.say(
                f"note: kNN takes k = {context.splits.train.num_examples}, all training images, in place of "
                f"{', '.join(map(str, reduced))}"
            )

    def _result_line(self, record: Record) -> str:
        figures = {self._context.protocols.metric: 0.0} if record.protocol != "health" else record.metrics
        shown = [
            f"{name} {record.metrics[name]:.3g}"
            if record.protocol == "health"
            else f"{name} {record.metrics[name]:.1%}"
            for name in figures
        ]
        return f"{record.setting}: {', '.join(shown)}" if record.setting else ", ".join(shown)

    # ---- Twins ----

    def _find_twins(self, todo: Sequence[Planned]) -> None:
        """Looks for twins where that was asked for and a protocol predicts; what was found is kept."""
        context, say = self._context, self._context.reporter.say
        if not context.protocols.find_twins or all(planned.protocol == "health" for planned in todo):
            return
        name = "twins-" + short_digest({"format": FORMAT, "method": THUMBNAIL, "near": NEAR, **self._images_identity()})
        arrays = self._store.read_arrays(name)
        if arrays is not None:
            twins = Twins(**arrays)
        else:
            try:
                twins = self._compared(todo)
            except InputError as error:
                say(f"note: twins were not looked for: {error}")
                return
            self._store.write_arrays(name, twins.to_arrays())
        self._images = self.images.with_twins(twins)
        for line in twins.describe(self.images.names, self.images.train_names):
            say(line)

    def _compared(self, todo: Sequence[Planned]) -> Twins:
        """The twins, from thumbnails; features that are needed later come from the same pass over the images."""
        frozen_too = any(
            planned.encoder == PRETRAINED
            and (planned.protocol in FROZEN_PROTOCOLS or planned.protocol == "health")
            and not self._store.has(self._name(planned))
            for planned in todo
        )
        endpoints = (*(self._context.protocols.endpoint_names if frozen_too else ()), THUMBNAIL)
        model = self._model(PRETRAINED, None)
        found = {
            role: self._features_of(model, source, endpoints)[THUMBNAIL].features
            for role, source in self._context.named_splits.items()
            if role != "validation"
        }
        return find_twins(found["test"], found["train"])

    # ---- One protocol ----

    def _run(self, planned: Planned) -> list[Record]:
        began = time.perf_counter()
        found = list(self._found(planned))
        seconds = (time.perf_counter() - began) / len(found)
        return [
            Record(
                planned.protocol, planned.encoder, planned.endpoint, setting, planned.seed, seconds=seconds, **fields
            )
            for setting, fields in found
        ]

    def _found(self, planned: Planned) -> frozen.Found:
        context, seed = self._context, planned.seed or 0
        if planned.endpoint is not None and planned.protocol != "linear":
            model = self._model(planned.encoder, planned.seed)
            features = self._features(model, planned.endpoint)
            if planned.protocol == "health":
                warn = planned.encoder == PRETRAINED
                return [("", health(context, model, features, planned.endpoint, warn=warn))]
            return frozen.RUN[planned.protocol](context, features, seed)
        directory = os.path.join(self._directory, RUNS_DIRECTORY, self._name(planned))
        return [("", self._trained(planned, seed, directory))]

    def _trained(self, planned: Planned, seed: int, directory: str) -> dict[str, Any]:
        """The fields of a record of a protocol that trains with images."""
        context = self._context
        if planned.endpoint is not None:
            pretrained = planned.encoder == PRETRAINED
            return whole_network.linear(
                context, planned.endpoint, pretrained=pretrained, seed=seed, directory=directory
            )
        amount = read_labelled_training(planned.protocol)
        if amount is None:
            return grid.finetune_grid(context, seed=seed, directory=directory)
        return whole_network.with_labels(context, amount, seed=seed, directory=directory)

    def _model(self, encoder: str, seed: int | None) -> SimCLRModel:
        """The networks as they were trained, or as they are initialised with a seed."""
        if self._networks is None or self._networks[0] != (encoder, seed if encoder == UNTRAINED else None):
            self._networks = None  # before the next ones take their memory
            with self._context.strategy.scope():
                if encoder == UNTRAINED:
                    tf.keras.utils.set_random_seed(seed or 0)
                trained = load_trained(self._context.prefix, values=encoder == PRETRAINED)
            self._networks = ((encoder, seed if encoder == UNTRAINED else None), trained.model)
        return self._networks[1]

    def _features(self, model: SimCLRModel, endpoint: str) -> FrozenFeatures:
        """Features of every split; all endpoints are computed in one pass, the first time."""
        found = {
            role: self._features_of(model, source, self._context.protocols.endpoint_names)[endpoint]
            for role, source in self._context.named_splits.items()
        }
        return FrozenFeatures(found["train"], found["test"], found.get("validation"))

    def _features_of(self, model: SimCLRModel, source: ImageSource, endpoints: Sequence[str]) -> dict[str, Features]:
        context = self._context
        with context.reporter.counting(f"features of {source.split}") as count:
            return cached_features(
                model,
                source,
                context.protocols.feature_dir or os.path.join(self._directory, FEATURES_DIRECTORY),
                endpoints=endpoints,
                strategy=context.strategy,
                batch_size=context.data.eval_batch_size,
                image_size=context.data.image_size,
                eval_crop=context.data.crop_of_evaluation,
                data_seed=context.data.data_seed,
                reading=to_json(context.data.reading),
                say=context.reporter.say,
                progress=count,
            )

    # ---- What is kept ----

    def _identity(self, planned: Planned) -> dict[str, Any]:
        """Everything that a result depends on."""
        context, flags = self._context, self._context.protocols.to_flags()
        amount = read_labelled_training(planned.protocol)
        kind = planned.protocol if amount is None else planned.protocol.partition("_")[0]
        trains = planned.endpoint is None or planned.protocol == "linear"
        return {
            "format": FORMAT,
            "protocol": planned.protocol,
            "encoder": planned.encoder,
            "endpoint": planned.endpoint,
            "seed": planned.seed,
            "settings": {name: flags[name] for name in _SETTINGS[kind]},
            **({"probe": PROBE} if planned.protocol == "linear_cached" else {}),
            **({"decay": DECAY} if kind in ("supervised", "finetune_grid") else {}),
            "networks": {part: vars(getattr(context.origin, part)) for part in ("model", "loss", "augmentation")},
            "checkpoint": self.digest if planned.encoder == PRETRAINED else None,
            "pictures_seen": context.pictures_seen if planned.encoder == SCRATCH else None,
            **self._images_identity(),
            "precision": context.runtime.precision if trains else "float32",
        }

    def _images_identity(self) -> dict[str, Any]:
        """Which images, what they are made of, and how they are read."""
        return {
            "splits": {
                role: [
                    source.name,
                    source.split,
                    source.num_examples,
                    list(source.class_names),
                    source.location,
                    source.fingerprint,
                ]
                for role, source in self._context.named_splits.items()
            },
            "reading": self._context.data.reading,
        }

    def _name(self, planned: Planned) -> str:
        """A file name that changes with everything the result depends on."""
        seed = "" if planned.seed is None else f"-seed{planned.seed}"
        return f"{planned.protocol}{seed}-{short_digest(self._identity(planned))}"


def _require_fitting_metric(protocols: Sequence[str], metric: str, *, several: bool) -> None:
    """Raises InputError where images with several classes, or with one, cannot be evaluated so."""
    if several and not set(protocols) <= set(FOR_SEVERAL_CLASSES):
        raise InputError(
            f"Images with several classes each are evaluated by: {', '.join(FOR_SEVERAL_CLASSES)}. Received: "
            f"protocols={','.join(protocols)}. Pass --protocols=logreg --metric={MULTI_LABEL_METRIC}"
        )
    if several != (metric == MULTI_LABEL_METRIC):
        wanted = MULTI_LABEL_METRIC if several else "top_1 or mean_per_class"
        kind = "several classes" if several else "one class"
        raise InputError(f"`metric` must be {wanted} for images with {kind} each. Received: metric={metric}")


def check(context: EvaluationContext, model: SimCLRModel) -> None:
    """What can be known to fail before any protocol runs.

    Raises:
        InputError: with the flag to change.
    """
    settings, train = context.protocols, context.splits.train
    _require_fitting_metric(settings.protocol_names, settings.metric, several=train.targets is not None)
    for endpoint in settings.endpoint_names:
        require_choice("endpoints", endpoint, endpoint_names(model))
        if "linear" in settings.protocol_names:
            whole_network.selector_of(endpoint, context.origin)
    for name in settings.protocol_names:
        amount = read_labelled_training(name)
        if amount is not None and not amount.whole:
            for seed in settings.seeds:
                class_balanced(train, fraction=amount.fraction, per_class=amount.per_class, seed=seed)
