"""What a run is going to do: its data, lengths and directory, checked before anything is written."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import tensorflow as tf

from tf_simclr.cli.completion import complete_by_images
from tf_simclr.cli.main import say
from tf_simclr.cli.teacher import describe_teacher, open_teacher
from tf_simclr.config import AUTO_PRECISION, Durations, ExperimentConfig, LossConfig, resolve_durations
from tf_simclr.config.experiment import parts
from tf_simclr.config.option import paths_of
from tf_simclr.config.paths import is_remote
from tf_simclr.data.folder_splits import ListedSplits
from tf_simclr.data.hold_out import compare_held_out, write_held_out
from tf_simclr.data.input_service import require_input_workers
from tf_simclr.data.source import ImageSource
from tf_simclr.directory_lock import DirectoryLock
from tf_simclr.errors import InputError
from tf_simclr.evaluate.classifier import require_comparable_classes
from tf_simclr.evaluate.online import OnlinePlan, note_images_in_both, open_online_data, plan_online
from tf_simclr.losses.chance import chance_of
from tf_simclr.train import checkpoints
from tf_simclr.train.build import Data, build_data
from tf_simclr.train.classes import in_order_of
from tf_simclr.train.directory import (
    RunDirectory,
    begin_run,
    look_into,
    require_own_images,
    require_same_network,
    require_same_run,
)
from tf_simclr.train.drawn_views import write_views
from tf_simclr.train.micro_batch import describe_micro_batches
from tf_simclr.train.precision_choice import with_precision
from tf_simclr.train.step import Logits
from tf_simclr.train.step_checks import check_step
from tf_simclr.train.strategy import per_replica_batch
from tf_simclr.train.teacher import Teacher, require_same_teacher, with_classes_of


@dataclass(frozen=True)
class Plan:
    """A run that was checked and has written nothing yet.

    Attributes:
        config: the experiment, complete.
        data: its splits, with labels in the order of the run's head.
        online_data: what h is evaluated on: the same, or the splits of --online_data_dir.
        durations: its lengths in steps.
        online: what is evaluated while pretraining; None for nothing.
        notes: lines that a person should see.
        found: what the run's directory held.
        lock: of the directory, taken by `claim`; None for an evaluation, which may go on beside the training.
        teacher: of a distillation; None for every other training, and for an evaluation.
    """

    config: ExperimentConfig
    data: Data
    online_data: Data
    durations: Durations
    online: OnlinePlan | None
    notes: tuple[str, ...]
    found: RunDirectory
    lock: DirectoryLock | None = None
    teacher: Teacher | None = None

    @property
    def directory(self) -> str:
        """The run's directory."""
        return self.config.runtime.directory

    @property
    def teacher_logits(self) -> Logits | None:
        """What the step of a distillation asks; None without a teacher."""
        return None if self.teacher is None else self.teacher.logits

    @property
    def run_config(self) -> ExperimentConfig:
        """What the run in the directory is: of an evaluation, the config that the run was started with."""
        evaluates = self.config.runtime.mode == "eval"
        return self.found.config if evaluates and self.found.config is not None else self.config

    @property
    def eval_source(self) -> ImageSource | None:
        """The split to evaluate on; None without a supervised head, or without labels to compare it with."""
        train, source = self.config.train, self.data.evaluation
        has_head = train.trains_classifier or train.lineareval_while_pretraining
        return source if has_head and self.data.train.labelled and source is not None and source.labelled else None

    def claim(self) -> None:
        """Makes the run's directory, and writes what the run is and how it sees its images: nothing before."""
        kept = begin_run(self.config, overwrite=self.config.runtime.overwrite, lock=self.lock)
        if kept is not None:
            say(f"note: what was in {self.directory} is kept in {kept}")
        write_held_out(self.directory, self.data.train, anew=not self.found.holds_run)
        if self.config.train.draw_views and not self.found.done:
            write_views(self.config, self.data.train)


def plan_run(
    config: ExperimentConfig,
    given: frozenset[str],
    strategy: tf.distribute.Strategy,
    listed: ListedSplits | None = None,
) -> Plan:
    """Opens the data, looks into the run's directory, and checks all that can be checked; writes nothing.

    Args:
        config: of the command.
        given: names of the flags that were given, and not filled in.
        strategy: the devices.
        listed: the files of a folder where they were listed before.

    Raises:
        InputError: the command cannot work, or would make another run of the one in the directory.
    """
    config = replace(config, data=config.data.with_table_path())
    data, directory = build_data(config, listed), config.runtime.directory
    found = RunDirectory(directory) if config.runtime.overwrite else look_into(directory)
    config, notes = complete_by_images(config, given, data.train.num_examples, found.config)
    teacher = open_teacher(config, strategy)
    if teacher is not None:
        require_same_teacher(found, teacher)
        data, more = with_classes_of(teacher, config, data)
        notes += more
    config, more = keep_precision(config, found)
    notes += more
    durations = check_run(config, data, strategy, resumes=found.done > 0)
    if config.runtime.mode == "eval":
        require_same_network(found, config)
        if found.done and found.manifest is not None:
            in_order_of(found.manifest.class_names, config, data, directory)
        notes += require_own_images(found, config, data.train)
    else:
        notes += require_same_run(found, config, data.train, durations)
        if found.done:
            names = None if found.manifest is None else found.manifest.class_names
            data, more = in_order_of(names, config, data, directory)
            notes += more
        if found.holds_run:
            notes += compare_held_out(directory, data.train)
    online_data = open_online_data(config, data)
    notes += note_images_in_both(data, online_data)
    online = plan_online(config, online_data.train, online_data.evaluation)
    lock = None if config.runtime.mode == "eval" else DirectoryLock(directory, say)
    return Plan(config, data, online_data, durations, online, tuple(notes), found, lock, teacher)


def keep_precision(config: ExperimentConfig, found: RunDirectory) -> tuple[ExperimentConfig, list[str]]:
    """Without the choice of --precision=auto where the run has made it already, or nothing is trained; and a line."""
    if config.runtime.precision != AUTO_PRECISION:
        return config, []
    if found.config is not None:
        kept = found.config.runtime.precision
        return with_precision(config, kept), [f"--precision=auto: {kept}, with which the run in {found.path} began"]
    return (with_precision(config, "float32") if config.runtime.mode == "eval" else config), []


def check_run(
    config: ExperimentConfig, data: Data, strategy: tf.distribute.Strategy, *, resumes: bool = False
) -> Durations:
    """Everything that can be known to fail before the work starts.

    Args:
        config: the experiment.
        data: its splits.
        strategy: its devices.
        resumes: whether the run has a checkpoint of its own, and needs none to begin with.

    Raises:
        InputError: with the flag to change.
    """
    durations = resolve_durations(config, data.train.num_examples)
    if config.runtime.mode != "eval":
        check_step(config, strategy)
        require_steps_to_profile(config, durations)
        require_input_workers(config.runtime.input_addresses)
    per_replica_batch("eval_batch_size", config.data.eval_batch_size, strategy)
    if data.evaluation is not None and data.evaluation.labelled:
        require_comparable_classes(data.train, data.evaluation)
    if config.train.trains_classifier and config.train.checkpoint and not resumes:
        checkpoints.find(config.train.checkpoint)
    if config.runtime.overwrite:
        require_apart(config)
    return durations


def require_steps_to_profile(config: ExperimentConfig, durations: Durations) -> None:
    """Raises InputError where --profile_steps names steps that the run does not have."""
    steps = config.train.steps_to_profile
    if steps is not None and steps[1] > durations.train_steps:
        raise InputError(
            f"`profile_steps` must end within the {durations.train_steps} steps of the run. Received: profile_steps="
            f"{config.train.profile_steps}. Pass earlier steps, or train longer"
        )


def require_apart(config: ExperimentConfig) -> None:
    """Raises InputError where --overwrite would rename what the run itself needs under its old name."""
    directory, flags = config.runtime.directory, config.to_flags()
    paths = paths_of(*(type(part) for part in parts(config))) - {"model_dir"}
    needed = {name: flags[name] for name in sorted(paths)} | {"working directory": os.getcwd()}
    for name, path in needed.items():
        if path and is_within(path, directory):
            raise InputError(
                f"`overwrite` renames the directory, which must hold nothing that the new run needs. Received: {name}="
                f"{path}, model_dir={directory}. Pass another --model_dir"
            )


def is_within(path: str, directory: str) -> bool:
    """Whether a local path lies below a directory, links followed."""
    root = os.path.realpath(directory)
    if is_remote(directory) or is_remote(path):
        return False
    return os.path.commonpath([root, os.path.realpath(path)]) == root


def describe(plan: Plan, strategy: tf.distribute.Strategy) -> list[str]:
    """What the run is, in a few lines, and the plan's notes."""
    config, data, durations = plan.config, plan.data, plan.durations
    opened = (data.train, data.evaluation, plan.online_data.train, plan.online_data.evaluation)
    sources = [source for source in opened if source is not None]
    lines = [f"note: {note}" for note in dict.fromkeys(note for source in sources for note in source.notes)]
    classes = f"{data.train.num_classes} classes" if data.train.labelled else "no labels"
    lines.append(f"{data.train.name}: {data.train.num_examples} training images, {classes}")
    if config.runtime.mode == "train_then_eval" and not data.train.labelled and plan.online is None:
        lines.append("note: without labels nothing is evaluated: this trains and exports")
    if data.evaluation is not None:
        lines.append(f"evaluation on {data.evaluation.num_examples} images of {data.evaluation.split}")
    model, batch = config.model, config.data.train_batch_size
    lines.append(
        f"ResNet-{model.resnet_depth} x{model.width_multiplier:g}, {model.stem_for(config.data.image_size)} stem, "
        f"{config.data.image_size} px, batch {batch}, {durations.train_steps} steps "
        f"({durations.warmup_steps} of warm-up), peak learning rate {config.optimizer.peak_learning_rate(batch):.4g}"
    )
    if config.train.train_mode == "pretrain":
        lines.append(describe_loss(config.loss, batch))
    if config.loss.memory_size:
        lines.append(describe_memory(config.loss, batch))
    if plan.teacher is not None:
        lines.append(describe_teacher(plan.teacher, config))
    if config.train.trains_online_head and data.train.labelled and config.train.online_head == "authors":
        lines.append(
            "online linear head: the authors', on h as it is and at the encoder's rate; its loss may rise far above "
            "chance on the way"
        )
    if plan.online is not None:
        lines.append(plan.online.describe(durations.online_eval_steps))
    if config.train.micro_batch_size:
        share = per_replica_batch("train_batch_size", batch, strategy)
        lines.append(describe_micro_batches(config.train.micro_batch_size, share))
    if config.runtime.precision not in ("float32", AUTO_PRECISION):
        lines.append(f"layers compute in {config.runtime.precision}; variables, loss and optimiser are float32")
    return lines + [f"note: {note}" for note in plan.notes]


def describe_memory(loss: LossConfig, batch: int) -> str:
    """What the memory bank holds once it is full."""
    return (
        f"memory: {loss.memory_size} more negatives, the projections of the last {loss.memory_size // (2 * batch)} "
        f"batches by a copy of the networks that follows them with decay {loss.memory_decay:g}"
    )


def describe_loss(loss: LossConfig, batch: int) -> str:
    """The contrastive loss at chance, which is left out where it depends on the projections."""
    if loss.loss == "debiased":
        return f"contrastive loss: debiased, class prior {loss.class_prior:g}"
    level = chance_of(loss, batch)
    if level is None:
        return f"contrastive loss: {loss.loss}, semi-hard negatives within {loss.margin:g}"
    memory = f" + {loss.memory_size}) = {level:.3f} with a full memory" if loss.memory_size else f") = {level:.3f}"
    chance = {
        "nt_xent": f"ln(2 x {batch} - 1{memory}",
        "supcon": f"at least ln(2 x {batch} - 1) = {level:.3f}",
        "dcl": f"at least ln(2 x {batch} - 2) = {level:.3f}",
        "nt_logistic": f"at least 2 ln 2 = {level:.3f}",
        "margin_triplet": f"at least the margin, {level:g}",
    }[loss.loss]
    name = "contrastive loss" if loss.loss == "nt_xent" else f"contrastive loss ({loss.loss})"
    return f"{name} at chance: {chance}"
