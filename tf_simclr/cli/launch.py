"""Opens a run: devices, workers, data, and every check that can be made before the work starts."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator

import tensorflow as tf

from tf_simclr.cli.completion import changed_flags
from tf_simclr.cli.main import say
from tf_simclr.cli.session import Session, follow, train_mode
from tf_simclr.config import FLAGS_FILE, Durations, ExperimentConfig, LossConfig, RuntimeConfig, resolve_durations
from tf_simclr.data.decoding import NAMED_IMAGE
from tf_simclr.errors import InputError
from tf_simclr.evaluate.classifier import require_comparable_classes
from tf_simclr.evaluate.online import plan_online
from tf_simclr.files import read_json, write_json
from tf_simclr.losses import nt_logistic
from tf_simclr.losses.nt_xent import chance_level
from tf_simclr.train import checkpoints
from tf_simclr.train.build import Data, build_data
from tf_simclr.train.choice import Choice, Worker
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


def run(config: ExperimentConfig) -> int:
    """Runs the mode of a config; returns the exit code.

    Raises:
        InputError: what a person can mend, before any long work starts.
    """
    choice = choose_strategy(config.runtime)
    if choice.worker.count == 1:
        return run_worker(config, choice, None)
    announce(config, choice.worker)
    with tempfile.TemporaryDirectory(prefix="tf_simclr_worker_") as scratch:
        try:
            return run_worker(config, choice, None if choice.worker.chief else scratch)
        except LOST_WORKER as error:
            print(
                f"error: worker {choice.worker.index} lost another worker ({type(error).__name__}). Start all workers "
                f"again with the same command: they go on from the last checkpoint in {config.runtime.directory}",
                file=sys.stderr,
                flush=True,
            )
            return EXIT_WORKER_LOST


def run_worker(config: ExperimentConfig, choice: Choice, scratch: str | None) -> int:
    """Runs the mode as one of the workers, or as the only process; `scratch` as in Session."""
    began = time.monotonic()
    strategy, chosen = build_strategy(config.runtime, choice)
    data = build_data(config)
    durations, workers = check_run(config, data, strategy), Workers(choice.worker, strategy)
    online = plan_online(config, data.train, data.evaluation)
    session = Session(config, data, durations, strategy, StopRequest(), workers, scratch, online)
    for line in [f"TensorFlow {tf.__version__} on {chosen}", *describe(session)]:
        session.say(line)
    if config.runtime.mode == "eval":
        return follow(session)
    if choice.worker.chief:
        record_flags(config)
    with session.stop.watch(), named_pictures():
        code = train_mode(session)
        workers.wait_for_all()
    session.say(f"{'stopped' if code else 'done'} after {time.monotonic() - began:.0f} s")
    return code


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
    role = "writes the results" if worker.chief else "is silent from here on but for errors"
    say(f"worker {worker.index} of {worker.count}: {role}; waiting until all are connected")


@contextlib.contextmanager
def named_pictures() -> Iterator[None]:
    """Turns the error of a picture that breaks off in the middle into one line with its path."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        found = re.search(rf"({NAMED_IMAGE.pattern})[\s\[\]\"']*([^\]\"'\n]+)", str(error))
        if found is None:
            raise
        raise InputError(f"{found[1]} {found[2]}. The same command then goes on") from error


def check_run(config: ExperimentConfig, data: Data, strategy: tf.distribute.Strategy) -> Durations:
    """Everything that can be known to fail before the work starts.

    Raises:
        InputError: with the flag to change.
    """
    durations = resolve_durations(config, data.train.num_examples)
    if config.runtime.mode != "eval":
        check_step(config, strategy)
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
        lines.append(describe_loss(config.loss, batch))
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
    if loss.semi_hard:
        return f"contrastive loss: {loss.loss}, semi-hard negatives within {loss.margin:g}"
    chance = {
        "nt_xent": f"ln(2 x {batch} - 1) = {chance_level(batch):.3f}",
        "nt_logistic": f"at least 2 ln 2 = {nt_logistic.CHANCE_LEVEL:.3f}",
        "margin_triplet": f"at least the margin, {loss.margin:g}",
    }[loss.loss]
    name = "contrastive loss" if loss.loss == "nt_xent" else f"contrastive loss ({loss.loss})"
    return f"{name} at chance: {chance}"


def record_flags(config: ExperimentConfig) -> None:
    """Writes flags.json; where there is one already, names what changed since."""
    tf.io.gfile.makedirs(config.runtime.directory)
    path = os.path.join(config.runtime.directory, FLAGS_FILE)
    for line in changed_flags(config, read_json(path) or {}):
        say(f"note: {line}")
    write_json(path, config.to_flags())
