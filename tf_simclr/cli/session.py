"""The modes of the training program: train, evaluate, export, in a model directory."""

from __future__ import annotations

import dataclasses
import os
import time

import tensorflow as tf

from tf_simclr.cli.main import say
from tf_simclr.cli.progress import Observers, build_progress
from tf_simclr.cli.train import FLAGS_FILE, changed_flags
from tf_simclr.config import Durations, ExperimentConfig, resolve_durations
from tf_simclr.data.source import ImageSource
from tf_simclr.errors import InputError
from tf_simclr.evaluate.classifier import TOP_1, TOP_5, evaluate_classifier, require_comparable_classes
from tf_simclr.evaluate.follow import follow_checkpoints
from tf_simclr.evaluate.results import read_json, write_json, write_results
from tf_simclr.interop.saved_model import export_step
from tf_simclr.losses.nt_xent import chance_level
from tf_simclr.train.build import Data, Trainer, build_data, build_trainer
from tf_simclr.train.interrupts import StopRequest
from tf_simclr.train.run import Outcome, train
from tf_simclr.train.strategy import build_strategy, per_replica_batch
from tf_simclr.train.summaries import SummaryWriter

UNTRAINED_DIRECTORY = "untrained_baseline"
SIGNAL_EXIT_CODES = {"SIGTERM": 143, "SIGINT": 130}


def run(config: ExperimentConfig) -> int:
    """Runs the mode of a config; returns the exit code.

    Raises:
        InputError: what a person can mend, before any long work starts.
    """
    began = time.monotonic()
    tf.keras.utils.set_random_seed(config.runtime.seed)
    strategy, chosen = build_strategy()
    say(f"TensorFlow {tf.__version__} on {chosen}")
    data = build_data(config)
    durations = check_run(config, data, strategy)
    for line in describe(config, data, durations):
        say(line)
    record_flags(config)
    if config.runtime.mode == "eval":
        return follow(config, data, durations, strategy)
    with StopRequest().watch() as stop:
        code = train_mode(config, data, durations, strategy, stop)
    say(f"done in {time.monotonic() - began:.0f} s" if code == 0 else f"stopped after {time.monotonic() - began:.0f} s")
    return code


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
    if config.runtime.mode == "eval" and not can_evaluate(config, data):
        raise InputError(
            "`mode` must be train for a run without a supervised head or labels to evaluate. Received: mode=eval. "
            "Use labelled pictures and --lineareval_while_pretraining"
        )
    return durations


def can_evaluate(config: ExperimentConfig, data: Data) -> bool:
    """Whether there is a supervised head, and labels to hold against it."""
    has_head = config.train.train_mode == "finetune" or config.train.lineareval_while_pretraining
    return has_head and data.train.labelled and data.evaluation is not None and data.evaluation.labelled


def describe(config: ExperimentConfig, data: Data, durations: Durations) -> list[str]:
    """What the run is, in a few lines."""
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
    tf.io.gfile.makedirs(config.runtime.model_dir)
    path = os.path.join(config.runtime.model_dir, FLAGS_FILE)
    recorded = read_json(path)
    if recorded is not None:
        for line in changed_flags(config, recorded):
            say(f"note: {line}")
    if config.runtime.mode != "eval" or recorded is None:
        write_json(path, config.to_flags())


def train_mode(
    config: ExperimentConfig,
    data: Data,
    durations: Durations,
    strategy: tf.distribute.Strategy,
    stop: StopRequest,
) -> int:
    """Trains, evaluates where asked and possible, and exports; returns the exit code."""
    model_dir = config.runtime.model_dir
    outcome = observed_train(config, data.train, durations, strategy, model_dir, stop)
    if not outcome.finished:
        return stopped(config, outcome, stop)
    metrics: dict[str, float] = {}
    if config.runtime.mode == "train_then_eval":
        if can_evaluate(config, data):
            metrics = evaluate_classifier(config, outcome.trainer, data.evaluation, strategy)
            if config.train.untrained_baseline and config.train.train_mode == "pretrain":
                floor = untrained_baseline(config, data, durations, strategy, stop)
                if floor is None:
                    return stopped(config, outcome, stop)
                metrics |= floor
            report(config, outcome.step, metrics)
        else:
            say("note: nothing to evaluate: no labels, no evaluation split or no supervised head")
    path = export_step(outcome.trainer.model, model_dir, outcome.step, config.checkpoint.keep_hub_module_max)
    say(f"SavedModel written to {path}")
    return 0


def observed_train(
    config: ExperimentConfig,
    source: ImageSource,
    durations: Durations,
    strategy: tf.distribute.Strategy,
    directory: str,
    stop: StopRequest,
    *,
    contrastive: bool = True,
) -> Outcome:
    """Trains in a directory, with progress on the terminal and curves beside the checkpoints."""
    progress = build_progress(say)
    observer = Observers(progress, SummaryWriter(directory))
    try:
        return train(
            config,
            durations,
            source,
            strategy,
            directory=directory,
            observer=observer,
            say=say,
            stop=stop,
            contrastive=contrastive,
        )
    finally:
        progress.close()


def untrained_baseline(
    config: ExperimentConfig,
    data: Data,
    durations: Durations,
    strategy: tf.distribute.Strategy,
    stop: StopRequest,
) -> dict[str, float] | None:
    """Accuracy of the same linear head, trained as long, on the encoder as it was initialised; None if stopped."""
    say("the same linear head on the untrained encoder:")
    directory = os.path.join(config.runtime.model_dir, UNTRAINED_DIRECTORY)
    outcome = observed_train(config, data.train, durations, strategy, directory, stop, contrastive=False)
    if not outcome.finished:
        return None
    metrics = evaluate_classifier(config, outcome.trainer, data.evaluation, strategy)
    return {name.replace("eval/", "untrained/"): metrics[name] for name in (TOP_1, TOP_5)}


def report(config: ExperimentConfig, step: int, metrics: dict[str, float]) -> None:
    """Prints accuracies and writes result files and summaries."""
    write_results(config.runtime.model_dir, step, metrics)
    name = config.evaluation.eval_name
    directory = os.path.join(config.runtime.model_dir, name) if name else config.runtime.model_dir
    SummaryWriter(directory).on_window(step, {k: v for k, v in metrics.items() if k.startswith("eval/")})
    head = "online linear" if config.train.train_mode == "pretrain" else "supervised"
    say(
        f"step {step}, {metrics['eval/examples']:.0f} held-out pictures: {head} top-1 {metrics[TOP_1]:.1%}, "
        f"top-5 {metrics[TOP_5]:.1%}"
    )
    floor = metrics.get(TOP_1.replace("eval/", "untrained/"))
    if floor is not None:
        say(
            f"the same head on the untrained encoder: top-1 {floor:.1%}; pretraining gains {100 * (metrics[TOP_1] - floor):.1f} points"
        )


def stopped(config: ExperimentConfig, outcome: Outcome, stop: StopRequest) -> int:
    """Says where a run was stopped and how it goes on; returns the exit code of its signal."""
    say(
        f"{stop.signal_name} received: saved step {outcome.step} in {config.runtime.model_dir}; "
        "run the same command with this --model_dir to go on"
    )
    return SIGNAL_EXIT_CODES[stop.signal_name or "SIGTERM"]


def follow(config: ExperimentConfig, data: Data, durations: Durations, strategy: tf.distribute.Strategy) -> int:
    """Evaluates each new checkpoint of a training run until its last step, then exports; returns the exit code."""
    with strategy.scope():
        trainer: Trainer = build_trainer(config, durations, data.train.num_classes)
    checkpoints = follow_checkpoints(
        config.runtime.model_dir,
        trainer.model.named_variables(),
        last_step=durations.train_steps,
        timeout=config.evaluation.eval_timeout,
        say=say,
    )
    for step in checkpoints:
        report(config, step, evaluate_classifier(config, trainer, data.evaluation, strategy))
    keep = config.checkpoint.keep_hub_module_max
    say(f"SavedModel written to {export_step(trainer.model, config.runtime.model_dir, durations.train_steps, keep)}")
    return 0
