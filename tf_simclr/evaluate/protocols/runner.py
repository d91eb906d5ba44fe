"""Runs the protocols one after the other, keeps what each found, and takes up again what an earlier try has done."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from tf_simclr.config import read_labelled_training
from tf_simclr.errors import InputError, UnwritableError
from tf_simclr.evaluate.feature_store import Features
from tf_simclr.evaluate.features import cached_features, model_digest
from tf_simclr.evaluate.load import load_trained
from tf_simclr.evaluate.measures.thumbnails import THUMBNAIL
from tf_simclr.evaluate.measures.twins import NEAR, Twins, find_twins
from tf_simclr.evaluate.predictions import EvaluatedImages
from tf_simclr.evaluate.protocols import frozen, grid, whole_network
from tf_simclr.evaluate.protocols.context import EvaluationContext
from tf_simclr.evaluate.protocols.frozen import FrozenFeatures
from tf_simclr.evaluate.protocols.health import health
from tf_simclr.evaluate.protocols.identity import FORMAT, identity_of, images_identity, name_of
from tf_simclr.evaluate.protocols.plan import Planned, check, plan
from tf_simclr.evaluate.record_store import RecordStore
from tf_simclr.evaluate.records import PRETRAINED, UNTRAINED, Record
from tf_simclr.files import to_json
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.resumable import Task, run_tasks, short_digest

RUNS_DIRECTORY, FEATURES_DIRECTORY = "runs", "features"


@dataclass
class Networks:
    """Networks in memory, with what was opened of their features.

    Attributes:
        model: the networks.
        digest: of their values, see `model_digest`.
        features: role of a split -> endpoint -> features. To open them is to read them to the end and compare digests:
            it is done once, and not by every protocol.
    """

    model: SimCLRModel
    digest: str
    features: dict[str, dict[str, Features]] = field(default_factory=dict)


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
        self._loaded: tuple[object, Networks] | None = None
        self._images: EvaluatedImages | None = None
        networks = self.networks(PRETRAINED, None)
        check(context, networks.model)
        self.digest = networks.digest
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
            keep=lambda found: self._store.write(name, identity_of(self._context, planned, self.digest), found),
            describe=lambda found: [self._result_line(record) for record in found],
        )

    def _name(self, planned: Planned) -> str:
        return name_of(self._context, planned, self.digest)

    def _note_fewer_neighbours(self) -> None:
        context = self._context
        reduced = [k for k in context.protocols.ks if k not in context.ks]
        if "knn" in context.protocols.protocol_names and reduced:
            context.reporter.say(
                f"note: kNN takes k = {context.splits.train.num_examples}, all training images, in place of "
                f"{', '.join(map(str, reduced))}"
            )

    def _result_line(self, record: Record) -> str:
        metric = self._context.protocols.metric
        if record.protocol == "health":
            shown = ", ".join(f"{name} {value:.3g}" for name, value in record.metrics.items())
        else:
            shown = f"{metric} {record.metrics[metric]:.1%}"
        return f"{record.setting}: {shown}" if record.setting else shown

    # ---- Twins ----

    def _find_twins(self, todo: Sequence[Planned]) -> None:
        """Looks for twins where that was asked for and a protocol predicts; what was found is kept."""
        context, say = self._context, self._context.reporter.say
        if not context.protocols.find_twins or all(planned.protocol == "health" for planned in todo):
            return
        depends_on = {"format": FORMAT, "method": THUMBNAIL, "near": NEAR, **images_identity(context)}
        name = f"twins-{short_digest(depends_on)}"
        arrays = self._store.read_arrays(name)
        if arrays is not None:
            twins = Twins(**arrays)
        else:
            try:
                twins = self._compared(todo)
            except UnwritableError:
                raise
            except InputError as error:
                say(f"note: twins were not looked for: {error}")
                return
            self._store.write_arrays(name, twins.to_arrays())
        self._images = self.images.with_twins(twins)
        for line in twins.describe(self.images.names, self.images.train_names):
            say(line)

    def _compared(self, todo: Sequence[Planned]) -> Twins:
        """The twins, from thumbnails; features that are needed later come from the same pass over the images."""
        later = any(
            planned.encoder == PRETRAINED and planned.reads_features and not self._store.has(self._name(planned))
            for planned in todo
        )
        endpoints = (*(self._context.protocols.endpoint_names if later else ()), THUMBNAIL)
        networks = self.networks(PRETRAINED, None)
        test, train = (self._features_of(networks, role, endpoints)[THUMBNAIL].features for role in ("test", "train"))
        return find_twins(test, train)

    # ---- One protocol ----

    def _run(self, planned: Planned) -> list[Record]:
        began = time.perf_counter()
        found = self._found(planned)
        seconds = (time.perf_counter() - began) / len(found)
        what = planned.protocol, planned.encoder, planned.endpoint
        return [Record(*what, setting, planned.seed, seconds=seconds, **fields) for setting, fields in found]

    def _found(self, planned: Planned) -> frozen.Found:
        context, endpoint, seed = self._context, planned.endpoint, planned.seed or 0
        pretrained = planned.encoder == PRETRAINED
        if planned.reads_features and endpoint is not None:
            networks = self.networks(planned.encoder, planned.seed)
            features = self._features(networks, endpoint)
            if planned.protocol == "health":
                return [("", health(context, networks.model, features, endpoint, warn=pretrained))]
            return frozen.RUN[planned.protocol](context, features, seed)
        kept: dict[str, Any] = {
            "seed": seed,
            "directory": os.path.join(self._directory, RUNS_DIRECTORY, self._name(planned)),
        }
        amount = read_labelled_training(planned.protocol)
        if endpoint is not None:
            return [("", whole_network.linear(context, endpoint, pretrained=pretrained, **kept))]
        if amount is not None:
            return [("", whole_network.with_labels(context, amount, **kept))]
        return [("", grid.finetune_grid(context, **kept))]

    def networks(self, encoder: str, seed: int | None) -> Networks:
        """The networks as they were trained, or as they are initialised with a seed."""
        wanted = encoder, seed if encoder == UNTRAINED else None
        if self._loaded is None or self._loaded[0] != wanted:
            self._loaded = None  # before the next ones take their memory
            with self._context.strategy.scope():
                if encoder == UNTRAINED:
                    tf.keras.utils.set_random_seed(seed or 0)
                model = load_trained(self._context.prefix, values=encoder == PRETRAINED).model
            self._loaded = wanted, Networks(model, model_digest(model))
        return self._loaded[1]

    def _features(self, networks: Networks, endpoint: str) -> FrozenFeatures:
        """Features of every split; all endpoints are computed in one pass, the first time."""
        endpoints = self._context.protocols.endpoint_names
        found = {role: self._features_of(networks, role, endpoints)[endpoint] for role in self._context.named_splits}
        return FrozenFeatures(found["train"], found["test"], found.get("validation"))

    def _features_of(self, networks: Networks, role: str, endpoints: Sequence[str]) -> dict[str, Features]:
        context, opened = self._context, networks.features.setdefault(role, {})
        missing = [name for name in endpoints if name not in opened]
        if missing:
            source = context.named_splits[role]
            with context.reporter.counting(f"features of {source.split}") as count:
                opened |= cached_features(
                    networks.model,
                    source,
                    context.protocols.feature_dir or os.path.join(self._directory, FEATURES_DIRECTORY),
                    context.loader,
                    endpoints=missing,
                    digest=networks.digest,
                    data_seed=context.data.data_seed,
                    reading=to_json(context.data.reading),
                    say=context.reporter.say,
                    progress=count,
                )
        return opened
