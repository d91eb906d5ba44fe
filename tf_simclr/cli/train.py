"""Opens a run: devices, workers, data, and every check that can be made before the work starts."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator

import tensorflow as tf

from tf_simclr.cli.completion import complete_by_images
from tf_simclr.cli.main import say
from tf_simclr.cli.session import Session, follow, train_mode
from tf_simclr.config import Durations, ExperimentConfig, LossConfig, RuntimeConfig, resolve_durations
from tf_simclr.data.hold_out import compare_held_out, write_held_out
from tf_simclr.data.read_errors import named
from tf_simclr.errors import InputError
from tf_simclr.evaluate.classifier import require_comparable_classes
from tf_simclr.evaluate.online import plan_online
from tf_simclr.losses.chance import chance_of
from tf_simclr.train import checkpoints
from tf_simclr.train.build import Data, build_data
from tf_simclr.train.classes import in_order_of
from tf_simclr.train.device_choice import DeviceChoice, Worker
from tf_simclr.train.directory import RunDirectory, begin_run, look_into, require_same_network, require_same_run
from tf_simclr.train.interrupts import StopRequest
from tf_simclr.train.micro_batch import describe_micro_batches
from tf_simclr.train.step_checks import check_step
from tf_simclr.train.strategy import build_strategy, choose_strategy, per_replica_batch
from tf_simclr.train.workers import Workers

LOST_WORKER = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)
EXIT_WORKER_LOST = 75  # "try again" among the codes of sysexits.h


def run(config: ExperimentConfig, given: frozenset[str]) -> int:
    """Runs the mode of a config; returns the exit code.

    Args:
        config: the experiment.
        given: names of the flags that were given, and not filled in.

    Raises:
        InputError: what a person can fix, before any long work starts.
    """
    choice = choose_strategy(config.runtime)
    if choice.worker.count == 1:
        return run_worker(config, given, choice, None)
    announce(config, choice.worker)
    with tempfile.TemporaryDirectory(prefix="tf_simclr_worker_") as scratch:
        try:
            return run_worker(config, given, choice, None if choice.worker.chief else scratch)
        except LOST_WORKER as error:
            print(
                f"error: worker {choice.worker.index} lost another worker ({type(error).__name__}). Start all workers "
                f"again with the same command: they go on from the last checkpoint in {config.runtime.directory}",
                file=sys.stderr,
                flush=True,
            )
            return EXIT_WORKER_LOST


def run_worker(config: ExperimentConfig, given: frozenset[str], choice: DeviceChoice, scratch: str | None) -> int:
    """Runs the mode as one of the workers, or as the only process; `given` as in `run`, `scratch` as in Session."""
    began = time.monotonic()
    strategy, chosen = build_strategy(config.runtime, choice)
    session, notes = open_session(config, given, Workers(choice.worker, strategy), strategy, scratch)
    for line in [f"TensorFlow {tf.__version__} on {chosen}", *describe(session), *(f"note: {note}" for note in notes)]:
        session.say(line)
    if config.runtime.mode == "eval":
        return follow(session)
    with session.stop.watch(), named_images():
        code = train_mode(session)
        session.workers.wait_for_all()
    session.say(f"{'stopped' if code else 'done'} after {time.monotonic() - began:.0f} s")
    return code


def open_session(
    config: ExperimentConfig,
    given: frozenset[str],
    workers: Workers,
    strategy: tf.distribute.Strategy,
    scratch: str | None,
) -> tuple[Session, list[str]]:
    """Opens the data, looks into the run's directory, and checks all that can be checked; writes nothing.

    Returns:
        the session, and what a person should be shown of it.

    Raises:
        InputError: the command cannot work, or would make another run of the one in the directory.
    """
    data, directory = build_data(config), config.runtime.directory
    overwrite = config.runtime.overwrite
    found = RunDirectory(directory) if overwrite else look_into(directory)
    began_with = found.manifest.images["examples"] if found.manifest is not None else None
    config, notes = complete_by_images(config, given, data.train.num_examples, found.config, began_with)
    durations = check_run(config, data, strategy, resumes=found.done > 0)
    if config.runtime.mode == "eval":
        require_same_network(found, config)
    else:
        notes += require_same_run(found, config, data.train, durations)
        if found.done:
            names = None if found.manifest is None else found.manifest.class_names
            data, more = in_order_of(names, config, data, directory)
            notes += more
        if found.holds_run:
            notes += compare_held_out(directory, data.train)

    def begin() -> None:
        kept = begin_run(config, overwrite=overwrite)
        if kept is not None:
            say(f"note: what was in {directory} is kept in {kept}")
        write_held_out(directory, data.train)

    online = plan_online(config, data.train, data.evaluation)
    chief = scratch is None
    stop = StopRequest()
    return Session(config, data, durations, strategy, stop, workers, scratch, online, begin if chief else None), notes


def build_own_strategy(runtime: RuntimeConfig, what: str) -> tuple[tf.distribute.Strategy, str]:
    """The strategy of a task that runs in one process, and words on it.

    Args:
        runtime: asks for devices.
        what: is done in one process, for the message.

    Raises:
        InputError: TF_CONFIG makes this process one of several workers.
    """
    choice = choose_strategy(runtime)
    if choice.worker.count > 1:
        raise InputError(
            f"{what} in one process. Received: worker {choice.worker.index} of {choice.worker.count}. Unset TF_CONFIG, "
            "or pass --strategy=one_device or --strategy=mirrored"
        )
    return build_strategy(runtime, choice)


def announce(config: ExperimentConfig, worker: Worker) -> None:
    """Says who this worker is.

    Raises:
        InputError: a mode that has no use for several workers.
    """
    if config.runtime.mode == "eval":
        raise InputError(
            f"`mode` eval runs in one process. Received: mode=eval as worker {worker.index} of {worker.count}. Unset "
            "TF_CONFIG, or pass --strategy=one_device or --strategy=mirrored"
        )
    role = "writes the results" if worker.chief else "is silent from here on except for errors"
    say(f"worker {worker.index} of {worker.count}: {role}; waiting until all are connected")


@contextlib.contextmanager
def named_images() -> Iterator[None]:
    """Turns the error of an image that is damaged, gone or closed into one line with its path."""
    try:
        yield
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        explained = named(error)
        if explained is None:
            raise
        raise explained from error


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
    per_replica_batch("eval_batch_size", config.data.eval_batch_size, strategy)
    if data.evaluation is not None and data.evaluation.labelled:
        require_comparable_classes(data.train, data.evaluation)
    if config.train.train_mode == "finetune" and config.train.checkpoint and not resumes:
        checkpoints.resolve(config.train.checkpoint)
    if config.runtime.overwrite:
        require_apart(config)
    return durations


def require_apart(config: ExperimentConfig) -> None:
    """Raises InputError where --overwrite would rename what the run itself needs under its old name."""
    directory = config.runtime.directory
    needed = {"checkpoint": config.train.checkpoint, "data_dir": config.data.data_dir, "working directory": os.getcwd()}
    for name, path in needed.items():
        if path and is_within(path, directory):
            raise InputError(
                f"`overwrite` renames the directory, which must hold nothing that the new run needs. Received: {name}="
                f"{path}, model_dir={directory}. Pass another --model_dir"
            )


def is_within(path: str, directory: str) -> bool:
    """Whether a local path lies below a directory, links followed."""
    root = os.path.realpath(directory)
    return "://" not in directory and os.path.commonpath([root, os.path.realpath(path)]) == root


def describe(session: Session) -> list[str]:
    """What the run is, in a few lines."""
    config, data, durations = session.config, session.data, session.durations
    sources = [data.train] + ([data.evaluation] if data.evaluation is not None else [])
    lines = [f"note: {note}" for note in dict.fromkeys(note for source in sources for note in source.notes)]
    classes = f"{data.train.num_classes} classes" if data.train.labelled else "no labels"
    lines.append(f"{data.train.name}: {data.train.num_examples} training images, {classes}")
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
    if config.train.trains_online_head and data.train.labelled and config.train.online_head == "authors":
        lines.append(
            "online linear head: the authors', on h as it is and at the encoder's rate; its loss may rise far above "
            "chance on the way"
        )
    if session.online is not None:
        lines.append(session.online.describe(durations.online_eval_steps))
    if config.train.micro_batch_size:
        share = per_replica_batch("train_batch_size", batch, session.strategy)
        lines.append(describe_micro_batches(config.train.micro_batch_size, share))
    if config.runtime.precision != "float32":
        lines.append(f"layers compute in {config.runtime.precision}; variables, loss and optimiser are float32")
    return lines


def describe_loss(loss: LossConfig, batch: int) -> str:
    """The contrastive loss at chance; with semi-hard negatives it depends on the projections, and is left out."""
    level = chance_of(loss, batch)
    if level is None:
        return f"contrastive loss: {loss.loss}, semi-hard negatives within {loss.margin:g}"
    chance = {
        "nt_xent": f"ln(2 x {batch} - 1) = {level:.3f}",
        "nt_logistic": f"at least 2 ln 2 = {level:.3f}",
        "margin_triplet": f"at least the margin, {level:g}",
    }[loss.loss]
    name = "contrastive loss" if loss.loss == "nt_xent" else f"contrastive loss ({loss.loss})"
    return f"{name} at chance: {chance}"
