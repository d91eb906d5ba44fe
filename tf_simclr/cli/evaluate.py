"""Opens what an evaluation needs, runs the protocols, and writes the report."""

from __future__ import annotations

import datetime
import os
import time
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf
from rich.console import Console

from tf_simclr import __version__
from tf_simclr.cli.main import say
from tf_simclr.cli.task import EXIT_SOME_FAILED, TerminalReporter, build_own_strategy, named_images
from tf_simclr.config import DataConfig, ExperimentConfig, ProtocolConfig, RuntimeConfig
from tf_simclr.data.folder_splits import ListedSplits
from tf_simclr.data.source import ImageSource
from tf_simclr.directory_lock import DirectoryLock
from tf_simclr.errors import InputError, StoppedError
from tf_simclr.evaluate.load import step_of
from tf_simclr.evaluate.measures.baselines import Baselines, baselines, multi_label_baselines
from tf_simclr.evaluate.predictions import EvaluatedImages, labels_in_order
from tf_simclr.evaluate.protocols.context import EvaluationContext, Splits, open_splits
from tf_simclr.evaluate.protocols.runner import Runner
from tf_simclr.evaluate.records import Record
from tf_simclr.evaluate.report.files import JSON_FILE, print_report, write_report
from tf_simclr.evaluate.report.subject import SplitFacts, Subject
from tf_simclr.files import read_json
from tf_simclr.optional import require_matplotlib, require_scikit_learn
from tf_simclr.stored import DamagedFileError
from tf_simclr.train.interrupts import StopRequest, exit_code_of
from tf_simclr.train.strategy import per_replica_batch
from tf_simclr.train.timing import describe_memory


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found.

    Attributes:
        directory: of the report, `model_dir`.
        report: what report.json holds: "subject", "rows" (protocols over seeds) and "cells" (every record); empty where
            the evaluation was stopped, and goes on with the same flags.
        failed: a line for each protocol that could not be finished.
        exit_code: of the program that does the same; 0 where all went well.
    """

    directory: str
    report: dict[str, Any] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    exit_code: int = 0


def run(
    protocols: ProtocolConfig,
    data: DataConfig,
    runtime: RuntimeConfig,
    origin: ExperimentConfig,
    prefix: str,
    command: str,
    listed: ListedSplits | None = None,
) -> EvaluationResult:
    """Evaluates a checkpoint.

    Args:
        protocols: what is done.
        data: which images.
        runtime: directory, devices, precision of what is trained.
        origin: config of the run behind the checkpoint.
        prefix: the checkpoint.
        command: what a person pastes to have the same again.
        listed: the files of a folder where they were listed before.

    Raises:
        InputError: what a person can fix, before any long work starts.
    """
    began = time.monotonic()
    # Networks are built and traced again and again here, which TensorFlow would warn of each time.
    tf.get_logger().setLevel("ERROR")
    stop = StopRequest()
    with stop.watch(), named_images():
        try:
            with stop.at_once():
                context = open_context(protocols, data, runtime, origin, prefix, stop, listed)
                runner = Runner(context)
                with DirectoryLock(runtime.directory, say):
                    records, failed = runner.run()
                    values = report(context, runner, records, command) if records else {}
        except StoppedError:
            name, code = exit_code_of(stop)
            say(f"{name} received: what was done is kept in {runtime.directory}; run the same command to go on")
            return EvaluationResult(runtime.directory, exit_code=code)
    for line in failed:
        say(f"error: not in the report: {line}")
    say(f"done after {time.monotonic() - began:.0f} s{describe_memory()}")
    return EvaluationResult(runtime.directory, values, tuple(failed), EXIT_SOME_FAILED if failed else 0)


def _many_neighbours(protocols: ProtocolConfig, train: ImageSource) -> list[str]:
    """A note where kNN asks more images than a class has, so that other classes outvote it."""
    if "knn" not in protocols.protocol_names:
        return []
    of_a_class = train.num_examples // train.num_classes
    if min(protocols.ks) <= of_a_class:
        return []
    return [
        f"note: knn_k={min(protocols.ks)} is more than the {of_a_class} training images of a class: others vote, "
        f"too. For few images pass --knn_k={max(1, min(10, of_a_class // 2))}"
    ]


def open_context(
    protocols: ProtocolConfig,
    data: DataConfig,
    runtime: RuntimeConfig,
    origin: ExperimentConfig,
    prefix: str,
    stop: StopRequest | None = None,
    listed: ListedSplits | None = None,
) -> EvaluationContext:
    """Devices and images, checked."""
    require_packages(protocols)
    strategy, chosen = build_own_strategy(runtime, "a representation is evaluated")
    per_replica_batch("eval_batch_size", data.eval_batch_size, strategy)
    splits = open_splits(data, protocols.validation_split, listed, needs_labels=protocols.needs_labels)
    require_same_images(runtime.directory, split_facts(splits))
    step = step_of(prefix)
    sources = list(dict.fromkeys(s for s in (splits.train, splits.validation, splits.test) if s is not None))
    model = origin.model
    for line in (
        f"TensorFlow {tf.__version__} on {chosen}; results in {runtime.directory}",
        f"ResNet-{model.resnet_depth} x{model.width_multiplier:g} at step {step}, {described_training(origin)}",
        *(f"note: {note}" for note in dict.fromkeys(note for source in sources for note in source.notes)),
        f"{splits.train.name}: {described_classes(splits.train)}, "
        + ", ".join(f"{source.num_examples} images of {source.split}" for source in sources),
        *_many_neighbours(protocols, splits.train),
    ):
        say(line)
    return EvaluationContext(
        protocols=protocols,
        data=data,
        runtime=runtime,
        origin=origin,
        prefix=prefix,
        pictures_seen=step * origin.data.train_batch_size if origin.data.dataset else 0,
        splits=splits,
        strategy=strategy,
        stop=StopRequest() if stop is None else stop,
        reporter=TerminalReporter(),
    )


def described_classes(source: ImageSource) -> str:
    """As "9 classes"."""
    return f"{source.num_classes} classes" if source.labelled else "no labels"


def described_training(origin: ExperimentConfig) -> str:
    """How the network was trained; weights of other programs do not say."""
    if not origin.data.dataset:
        return "trained by another program"
    return f"trained on {origin.data.dataset} ({origin.train.train_mode}, batch {origin.data.train_batch_size})"


def split_facts(splits: Splits) -> tuple[SplitFacts, ...]:
    """What the head of a report says of the splits that there are."""
    sources = {"train": splits.train, "test": splits.test, "validation": splits.validation}
    if splits.train is splits.test:
        del sources["train"]  # without labels nothing is trained
    return tuple(
        SplitFacts(role, source.split, source.num_examples, source.location, source.fingerprint)
        for role, source in sources.items()
        if source is not None
    )


def require_same_images(directory: str, splits: tuple[SplitFacts, ...]) -> None:
    """Raises InputError where a directory holds the report of other images, which this one would overwrite.

    The same folder with other files in it is no other folder: its report is written anew.
    """
    place = os.path.join(directory, JSON_FILE)
    try:
        values = read_json(place) or {}
        there = [SplitFacts(**split) for split in values.get("subject", {}).get("splits", ())]
    except (DamagedFileError, TypeError, AttributeError):
        say(f"note: {place} is damaged: it is rewritten from the results beside it")
        there = []
    places = [
        [(one.role, one.name, one.location) for one in facts if one.role != "validation"] for facts in (there, splits)
    ]
    if there and places[0] != places[1]:
        listed = [" and ".join(f"{name} of {place or 'a data set'}" for _, name, place in one) for one in places]
        raise InputError(
            f"`model_dir` must be a new directory for other images. Received: {directory}, which has the report of "
            f"{listed[0]}, for {listed[1]}. Pass another --model_dir, or leave it out"
        )


def report(context: EvaluationContext, runner: Runner, records: list[Record], command: str) -> dict[str, Any]:
    """Writes the report and prints its tables; returns what report.json holds."""
    model, data, splits, images = context.origin.model, context.data, context.splits, runner.images
    floor = floor_of(context, images)
    subject = Subject(
        checkpoint=context.protocols.checkpoint or context.prefix,
        step=step_of(context.prefix),
        digest=runner.digest,
        resnet_depth=model.resnet_depth,
        width_multiplier=model.width_multiplier,
        sk_ratio=model.sk_ratio,
        se_ratio=model.se_ratio,
        stem=model.stem_for(context.origin.data.image_size),
        dataset=data.dataset,
        class_names=splits.train.class_names,
        train_pictures=splits.train.num_examples,
        test_pictures=splits.test.num_examples,
        image_size=data.image_size,
        metric=context.protocols.metric,
        splits=split_facts(splits),
        eval_crop=data.crop_of_evaluation,
        baselines=floor.metrics,
        largest_class=None if floor.largest is None else splits.train.class_names[floor.largest],
        twins=None if images.twins is None else images.twins.to_json(images.names, images.train_names),
        date=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        command=command,
        version=__version__,
    )
    print_report(subject, records, Console())
    paths = write_report(context.runtime.directory, subject, records, images)
    say(
        f"report written to {paths.markdown} and {paths.json}; beside them, confusion matrices: {len(paths.plots)}, "
        f"tables of predictions: {len(paths.predictions)}"
    )
    return read_json(paths.json) or {}


def floor_of(context: EvaluationContext, images: EvaluatedImages) -> Baselines:
    """What a classifier reaches on the test images that has learned nothing."""
    if images.targets is not None:
        return multi_label_baselines(images.targets)
    if not context.splits.train.labelled:
        return Baselines(None, {})
    assert images.labels is not None, "images show one class each, or several"
    return baselines(labels_in_order(context.splits.train), images.labels, context.num_classes)


def require_packages(protocols: ProtocolConfig) -> None:
    """Raises InputError where a package is missing that would be needed hours later."""
    require_matplotlib()
    if "logreg" in protocols.protocol_names:
        require_scikit_learn()
