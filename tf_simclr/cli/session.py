"""The modes of the training program: train, evaluate, export, in a model directory."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import tensorflow as tf

from tf_simclr.cli.completion import FLAGS_FILE, changed_flags
from tf_simclr.cli.main import say
from tf_simclr.cli.progress import Observers, build_progress
from tf_simclr.config import Durations, ExperimentConfig, resolve_durations
from tf_simclr.data.source import DAMAGED_PICTURE, ImageSource
from tf_simclr.errors import InputError
from tf_simclr.evaluate.classifier import TOP_1, TOP_5, evaluate_classifier, require_comparable_classes
from tf_simclr.evaluate.follow import follow_checkpoints
from tf_simclr.evaluate.results import read_json, write_json, write_results
from tf_simclr.interop.saved_model import export_step
from tf_simclr.losses.nt_xent import chance_level
from tf_simclr.train import checkpoints
from tf_simclr.train.build import Data, build_data, build_trainer
from tf_simclr.train.interrupts import StopRequest
from tf_simclr.train.run import Outcome, train
from tf_simclr.train.strategy import build_strategy, per_replica_batch
from tf_simclr.train.summaries import SummaryWriter

UNTRAINED_DIRECTORY = "untrained_baseline"
SIGNAL_EXIT_CODES = {"SIGTERM": 143, "SIGINT": 130}


@dataclass(frozen=True)
class Session:
    """What every mode needs: the checked config and what was opened for it."""

    config: ExperimentConfig
    data: Data
    durations: Durations
    strategy: tf.distribute.Strategy
    stop: StopRequest

    @property
    def directory(self) -> str:
        """The run's directory."""
        return self.config.runtime.directory

    @property
    def eval_source(self) -> ImageSource | None:
        """The split to evaluate on; None without a supervised head, or without labels to hold against it."""
        train, source = self.config.train, self.data.evaluation
        has_head = train.train_mode == "finetune" or train.lineareval_while_pretraining
        return source if has_head and self.data.train.labelled and source is not None and source.labelled else None


def run(config: ExperimentConfig) -> int:
    """Runs the mode of a config; returns the exit code.

    Raises:
        InputError: what a person can mend, before any long work starts.
    """
    began = time.monotonic()
    strategy, chosen = build_strategy(config.runtime)
    say(f"TensorFlow {tf.__version__} on {chosen}")
    session = Session(config, data := build_data(config), check_run(config, data, strategy), strategy, StopRequest())
    for line in describe(session):
        say(line)
    if config.runtime.mode == "eval":
        return follow(session)
    record_flags(config)
    with session.stop.watch(), named_pictures():
        code = train_mode(session)
    say(f"{'stopped' if code else 'done'} after {time.monotonic() - began:.0f} s")
    return code


@contextlib.contextmanager
def named_pictures() -> Iterator[None]:
    """Turns the error of a picture that breaks off in the middle into one line with its path."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        found = re.search(re.escape(DAMAGED_PICTURE) + r"[\s\[\]\"']*([^\]\"'\n]+)", str(error))
        if found is None:
            raise
        raise InputError(f"{DAMAGED_PICTURE} {found[1]}. The run goes on from its last checkpoint") from error


def check_run(config: ExperimentConfig, data: Data, strategy: tf.distribute.Strategy) -> Durations:
    """Everything that can be known to fail before the work starts.

    Raises:
        InputError: with the flag to change.
    """
    durations = resolve_durations(config, data.train.num_examples)
    per_replica_batch("train_batch_size", config.data.train_batch_size, strategy)
    per_replica_batch("eval_batch_size", config.data.eval_batch_size, strategy)
    if data.evaluation is not None and data.evaluation.labelled:
        require_comparable_classes(data.train, data.evaluation)
    if config.train.train_mode == "finetune" and config.train.checkpoint:
        checkpoints.resolve(config.train.checkpoint)
    return durations


def describe(session: Session) -> list[str]:
    """What the run is, in a few lines."""
    config, data, durations = session.config, session.data, session.durations
    sources = [data.train] + ([data.evaluation] if data.evaluation is not None else [])
    lines = [f"note: {note}" for note in dict.fromkeys(note for source in sources for note in source.notes)]
    classes = f"{data.train.num_classes} classes" if data.train.labelled else "no labels"
    lines.append(f"{data.train.name}: {data.train.num_examples} training pictures, {classes}")
    if data.evaluation is not None:
        lines.append(f"evaluation on {data.evaluation.num_examples} pictures of {data.evaluation.split}")
    model, batch = config.model, config.data.train_batch_size
    lines.append(
        f"ResNet-{model.resnet_depth} x{model.width_multiplier:g}, {model.stem_for(config.data.image_size)} stem, "
        f"{config.data.image_size} px, batch {batch}, {durations.train_steps} steps "
        f"({durations.warmup_steps} of warm-up), peak learning rate {config.optimizer.peak_learning_rate(batch):.4g}"
    )
    if config.train.train_mode == "pretrain":
        lines.append(f"contrastive loss at chance: ln(2 x {batch} - 1) = {chance_level(batch):.3f}")
    return lines


def record_flags(config: ExperimentConfig) -> None:
    """Writes flags.json; where there is one already, names what changed since."""
    tf.io.gfile.makedirs(config.runtime.directory)
    path = os.path.join(config.runtime.directory, FLAGS_FILE)
    for line in changed_flags(config, read_json(path) or {}):
        say(f"note: {line}")
    write_json(path, config.to_flags())


def train_mode(session: Session) -> int:
    """Trains, evaluates where asked and possible, and exports; returns the exit code."""
    config = session.config
    outcome = observed_train(session, session.directory)
    if not outcome.finished:
        return stopped(session, outcome)
    if config.runtime.mode == "train_then_eval":
        source = session.eval_source
        if source is None:
            say("note: nothing to evaluate: no labels, no evaluation split or no supervised head")
        else:
            metrics = evaluate_classifier(config, outcome.trainer, source, session.strategy)
            if config.train.untrained_baseline and config.train.train_mode == "pretrain":
                floor = untrained_baseline(session, source)
                if floor is None:
                    return stopped(session, outcome)
                metrics |= floor
            report(config, outcome.step, metrics)
    export(session, outcome)
    return 0


def export(session: Session, outcome: Outcome) -> None:
    """Writes the SavedModel of a step."""
    keep = session.config.checkpoint.keep_hub_module_max
    path = export_step(outcome.trainer.model, session.directory, outcome.step, keep)
    say(f"SavedModel written to {path}")


def observed_train(session: Session, directory: str, *, contrastive: bool = True) -> Outcome:
    """Trains in a directory, with progress on the terminal and curves beside the checkpoints."""
    progress = build_progress(say)
    try:
        return train(
            session.config,
            session.durations,
            session.data.train,
            session.strategy,
            directory=directory,
            observer=Observers(progress, SummaryWriter(directory)),
            say=say,
            stop=session.stop,
            contrastive=contrastive,
        )
    finally:
        progress.close()


def untrained_baseline(session: Session, source: ImageSource) -> dict[str, float] | None:
    """Accuracy of the same linear head, trained as long, on the encoder as it was initialised; None if stopped."""
    say("the same linear head on the untrained encoder:")
    directory = os.path.join(session.directory, UNTRAINED_DIRECTORY)
    outcome = observed_train(session, directory, contrastive=False)
    if not outcome.finished:
        return None
    metrics = evaluate_classifier(session.config, outcome.trainer, source, session.strategy)
    return {untrained_tag(name): metrics[name] for name in (TOP_1, TOP_5)}


def untrained_tag(name: str) -> str:
    """The name in result.json of the untrained encoder's metric."""
    return name.replace("eval/", "untrained/")


def report(config: ExperimentConfig, step: int, metrics: dict[str, float]) -> None:
    """Prints accuracies and writes result files and summaries."""
    write_results(config.runtime.directory, step, metrics)
    directory = os.path.join(config.runtime.directory, config.evaluation.eval_name or "")
    SummaryWriter(directory).on_window(step, {k: v for k, v in metrics.items() if k.startswith("eval/")})
    head = "online linear" if config.train.train_mode == "pretrain" else "supervised"
    say(
        f"step {step}, {metrics['eval/examples']:.0f} held-out pictures: {head} top-1 {metrics[TOP_1]:.1%}, "
        f"top-5 {metrics[TOP_5]:.1%}"
    )
    if untrained_tag(TOP_1) in metrics:
        floor = metrics[untrained_tag(TOP_1)]
        say(
            f"the same head on the untrained encoder: top-1 {floor:.1%}; "
            f"pretraining gains {100 * (metrics[TOP_1] - floor):.1f} points"
        )


def stopped(session: Session, outcome: Outcome) -> int:
    """Says where a run was stopped and how it goes on; returns the exit code of its signal."""
    name = session.stop.signal_name or "SIGTERM"
    say(
        f"{name} received: saved step {outcome.step} in {session.directory}; "
        "run the same command with this --model_dir to go on"
    )
    return SIGNAL_EXIT_CODES[name]


def follow(session: Session) -> int:
    """Evaluates each new checkpoint of a training run until its last step, then exports; returns the exit code.

    Raises:
        InputError: there is nothing to evaluate, or no checkpoint came in time.
    """
    config, durations, source = session.config, session.durations, session.eval_source
    if source is None:
        raise InputError(
            "`mode` must be train for a run without a supervised head, or without labels to hold against it. Received: "
            "mode=eval. Use labelled pictures and --lineareval_while_pretraining"
        )
    with session.strategy.scope():
        trainer = build_trainer(config, durations, session.data.train.num_classes)
    steps = follow_checkpoints(
        session.directory,
        trainer.model.named_variables(),
        last_step=durations.train_steps,
        timeout=config.evaluation.eval_timeout,
        say=say,
    )
    for step in steps:
        report(config, step, evaluate_classifier(config, trainer, source, session.strategy))
    export(session, Outcome(trainer, durations.train_steps, finished=True))
    return 0
