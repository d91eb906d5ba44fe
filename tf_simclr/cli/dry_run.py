"""What a run would be: its parameters, FLOPs, memory, steps and learning rates; nothing is trained or written."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from tf_simclr.cli.completion import complete_by_images, with_model_dir
from tf_simclr.cli.dry_run_graph import StepCosts, trace_step
from tf_simclr.cli.dry_run_report import lines_of, numbers_of
from tf_simclr.cli.main import say
from tf_simclr.cli.run_results import RunResult
from tf_simclr.config import FOLDER, SHAPES, Durations, ExperimentConfig, resolve_durations
from tf_simclr.data.published_sizes import PublishedSplit, published_split
from tf_simclr.data.tfds_builder import import_tfds, open_builder
from tf_simclr.errors import InputError
from tf_simclr.optim.schedules import WarmupCosine
from tf_simclr.train import checkpoints
from tf_simclr.train.images import known_images
from tf_simclr.train.recorded_run import recorded_run_config


@dataclass(frozen=True)
class DryRun:
    """A run that is described and not made.

    Attributes:
        config: of the run, complete.
        images: in its training split.
        num_classes: 0 without labels.
        published: whether the sizes of the data set are those of a table, and not of files.
        durations: its lengths in steps.
        rates: step -> learning rate, at the steps that matter.
        costs: of its step.
        notes: lines that a person should see.
    """

    config: ExperimentConfig
    images: int
    num_classes: int
    published: bool
    durations: Durations
    rates: dict[int, float]
    costs: StepCosts
    notes: tuple[str, ...]


def run(config: ExperimentConfig, given: frozenset[str]) -> RunResult:
    """Describes a run.

    Args:
        config: of the command.
        given: names of the flags that were given, and not filled in.

    Returns:
        the numbers as metrics, by names that begin with "dry_run/".

    Raises:
        InputError: the run could not work, or the sizes of its data set are not known.
    """
    found = describe_run(config, given)
    for line in lines_of(found):
        say(line)
    return RunResult("", metrics=numbers_of(found))


def describe_run(config: ExperimentConfig, given: frozenset[str]) -> DryRun:
    """Finds out what a run would be; arguments and errors as `run`."""
    split, published = sizes_of(config)
    directory = config.runtime.model_dir
    begun = None if not directory or config.runtime.overwrite else recorded_run_config(directory)
    # Named and not made: settings that are chosen for a folder are shown as a command, which trains.
    named = with_model_dir(config)
    config, notes = complete_by_images(named, given - {"dry_run"}, split.num_examples, begun)
    durations = resolve_durations(config, split.num_examples)
    if config.train.train_mode == "finetune" and config.train.checkpoint:
        checkpoints.find(config.train.checkpoint)
    costs = trace_step(config, split.num_classes)
    rates = _rates(config, durations)
    return DryRun(config, split.num_examples, split.num_classes, published, durations, rates, costs, tuple(notes))


def sizes_of(config: ExperimentConfig) -> tuple[PublishedSplit, bool]:
    """Images and classes of the training split, and whether they come from a table.

    Raises:
        InputError: there is no such split, or a data set that is neither there nor in the table.
    """
    known = known_images(config)
    if known is not None:
        train = known.train
        return PublishedSplit(train.num_examples, train.num_classes if train.labelled else 0), False
    data = config.data
    published = published_split(data.dataset, data.train_split)
    if published is not None:
        return published, True
    built_in = (SHAPES, FOLDER)
    tfds = import_tfds(data.dataset, built_in)
    info = open_builder(tfds, data.dataset, data.data_dir, built_in, only_look=True).info
    try:
        images = info.splits[data.train_split].num_examples
    except (KeyError, ValueError) as error:
        raise InputError(
            f"The data set `{data.dataset}` has the splits: {', '.join(info.splits)}. Received: "
            f"train_split={data.train_split!r}. Pass one of them"
        ) from error
    label = info.features.get("label")
    return PublishedSplit(images, getattr(label, "num_classes", 0)), False


def _rates(config: ExperimentConfig, durations: Durations) -> dict[int, float]:
    """The learning rate at the first step, at the end of the warm-up, halfway from there, and at the last step."""
    peak = config.optimizer.peak_learning_rate(config.data.train_batch_size)
    schedule = WarmupCosine(peak, durations.warmup_steps, durations.train_steps)
    last = durations.train_steps - 1
    steps = (0, durations.warmup_steps, (durations.warmup_steps + last) // 2, last)
    return {step: float(schedule(tf.constant(step))) for step in steps}
