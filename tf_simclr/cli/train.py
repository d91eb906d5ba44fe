"""Runs a training from top to bottom: devices, data, plan, training, evaluation, export."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace

import tensorflow as tf

from tf_simclr.cli.averaged import averaged_figures, export_averaged
from tf_simclr.cli.chance import chance_levels, chance_watches
from tf_simclr.cli.follow import follow
from tf_simclr.cli.input_watch import InputWatch, input_remedy
from tf_simclr.cli.main import say, say_error
from tf_simclr.cli.online import OnlineWatch, knn_at_the_end, knn_line
from tf_simclr.cli.plan import Plan, describe, plan_run
from tf_simclr.cli.progress import build_progress
from tf_simclr.cli.run_results import (
    RunResult,
    export,
    keep_results,
    report,
    require_finite,
    stopped,
    stopped_outside_training,
    untrained_tag,
)
from tf_simclr.cli.same_flags import require_same_flags
from tf_simclr.cli.task import named_images
from tf_simclr.config import AUTO_PRECISION, ExperimentConfig
from tf_simclr.data.folder_splits import ListedSplits
from tf_simclr.data.source import ImageSource
from tf_simclr.errors import InputError, StoppedError
from tf_simclr.evaluate.classifier import TOP_1, TOP_5, evaluate_classifier
from tf_simclr.evaluate.online import KNN_TOP_1, OnlinePlan
from tf_simclr.train.device_choice import DeviceChoice, Worker
from tf_simclr.train.interrupts import StopRequest
from tf_simclr.train.observers import Observer, Observers
from tf_simclr.train.precision_choice import CANDIDATES, choose_precision, time_candidates, with_precision
from tf_simclr.train.run import Outcome, RunContext, build_run_state, train
from tf_simclr.train.strategy import build_strategy, choose_strategy
from tf_simclr.train.summaries import SummaryWriter
from tf_simclr.train.timing import EVALUATION, TimeAccount, describe_memory
from tf_simclr.train.workers import Workers

UNTRAINED_DIRECTORY = "untrained_baseline"
LOST_WORKER = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)
EXIT_WORKER_LOST = 75  # "try again" among the codes of sysexits.h


def run(config: ExperimentConfig, given: frozenset[str], listed: ListedSplits | None = None) -> RunResult:
    """Runs the mode of a config.

    Args:
        config: the experiment.
        given: names of the flags that were given, and not filled in.
        listed: the files of a folder where they were listed before.

    Raises:
        InputError: what a person can fix, before any long work starts.
    """
    choice, stop = choose_strategy(config.runtime), StopRequest()
    with stop.watch():
        try:
            if choice.worker.count > 1:
                return run_one_of_several(config, given, choice, stop)
            with stop.at_once():
                return run_worker(config, given, choice, None, stop, listed)
        except StoppedError:
            return stopped_outside_training(config, stop)


def run_one_of_several(
    config: ExperimentConfig, given: frozenset[str], choice: DeviceChoice, stop: StopRequest
) -> RunResult:
    """Runs the mode as one of several workers; one that loses another says so, and ends with its own exit code."""
    announce(config, choice.worker)
    with tempfile.TemporaryDirectory(prefix="tf_simclr_worker_") as scratch:
        try:
            return run_worker(config, given, choice, None if choice.worker.chief else scratch, stop)
        except LOST_WORKER as error:
            say_error(
                f"worker {choice.worker.index} lost another worker ({type(error).__name__}). Start all workers "
                f"again with the same command: they go on from the last checkpoint in {config.runtime.directory}"
            )
            return RunResult(config.runtime.directory, exit_code=EXIT_WORKER_LOST)


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
    role = "writes the results" if worker.chief else "prints nothing from here on except errors"
    say(f"worker {worker.index} of {worker.count}: {role}; waiting until all are connected")


def run_worker(
    config: ExperimentConfig,
    given: frozenset[str],
    choice: DeviceChoice,
    scratch: str | None,
    stop: StopRequest,
    listed: ListedSplits | None = None,
) -> RunResult:
    """Runs the mode as one of the workers, or as the only process.

    Args:
        config: the experiment.
        given: names of the flags that were given, and not filled in.
        choice: devices, and this process's place among the workers.
        scratch: as in `Workers`.
        stop: watches the signals.
        listed: the files of a folder where they were listed before.
    """
    account = TimeAccount()
    with contextlib.nullcontext() if choice.worker.count == 1 else stop.left_to_the_system():
        strategy, devices = build_strategy(config.runtime, choice)
    workers = Workers(choice.worker, strategy, scratch)
    require_same_flags(config, workers)
    plan = plan_run(config, given, strategy, listed)
    say_here = say if choice.worker.chief else _silent
    for line in [f"TensorFlow {tf.__version__} on {devices}", *describe(plan, strategy)]:
        say_here(line)
    if config.runtime.mode == "eval":
        with named_images():
            return follow(plan, strategy)
    context = RunContext(strategy, workers, stop, say_here, account)
    with named_images(), contextlib.ExitStack() as held:
        if plan.lock is not None:
            held.callback(plan.lock.release)
        plan = settle_precision(plan, context)
        result = train_and_evaluate(plan, context)
        context.workers.wait_for_all()
    end = "done" if result.finished else "stopped"
    say_here(f"{end} after {account.seconds():.0f} s: {account.describe()}{describe_memory()}")
    return replace(result, time_shares=account.shares())


def settle_precision(plan: Plan, context: RunContext) -> Plan:
    """The plan with the precision that --precision=auto chooses, the same on all workers; nothing is written."""
    if plan.config.runtime.precision != AUTO_PRECISION:
        return plan
    context.say("--precision=auto: timing a few steps of float32 and of bfloat16")
    seconds = time_candidates(plan.config, plan.durations, plan.data.train, context.strategy, plan.teacher_logits)
    chosen, line = choose_precision(seconds)
    chosen = CANDIDATES[context.workers.from_chief(CANDIDATES.index(chosen))]
    context.say(line)
    return replace(plan, config=with_precision(plan.config, chosen))


def _silent(line: str) -> None:
    del line


def train_and_evaluate(plan: Plan, context: RunContext) -> RunResult:
    """Trains, evaluates where asked and possible, and exports.

    The last step is saved before the rest begins: a request to stop breaks the rest off, and the same command does it.
    """
    outcome, watch = pretrain_or_finetune(plan, context)
    if not outcome.finished or context.stopping():
        return stopped(plan, context, outcome)
    try:
        with context.breakable():
            return evaluate_and_export(plan, context, outcome, watch)
    except StoppedError:
        return stopped(plan, context, outcome)


def evaluate_and_export(plan: Plan, context: RunContext, outcome: Outcome, watch: OnlineWatch | None) -> RunResult:
    """What comes after the last step.

    Raises:
        StoppedError: somebody asked to stop.
    """
    require_finite(plan, outcome.state.model, outcome.step)
    with context.account.spent_on(EVALUATION):
        found = knn_of(plan, context, outcome, watch)
    online = {**(watch.last if watch is not None else {}), **({KNN_TOP_1: found[1]} if found is not None else {})}
    online |= outcome.state.skipped.figures() if context.workers.chief else {}
    metrics: dict[str, float] = {}
    figures: dict[str, float] = dict(online)
    source, evaluates = plan.eval_source, plan.config.runtime.mode == "train_then_eval"
    if evaluates and source is not None:
        with context.account.spent_on(EVALUATION):
            metrics = evaluate_classifier(plan.config, outcome.state, source, context.strategy)
            metrics |= averaged_figures(plan, context, outcome, source)
        if plan.config.train.untrained_baseline and plan.config.train.train_mode == "pretrain":
            metrics |= untrained_baseline(plan, context, source)
        figures |= metrics
        if context.workers.chief:
            figures = report(plan, outcome.step, metrics, online)
    else:
        if evaluates and found is None:
            context.say("note: nothing to evaluate: no labels, no evaluation split or no supervised head")
        if online:
            figures = keep_results(plan, outcome.step, online)
    if context.stopping():
        raise StoppedError
    own_directory = context.workers.own_directory(plan.directory)
    path = export(plan, outcome, figures, own_directory, context.say)
    export_averaged(plan, outcome, figures, own_directory, context.say)
    if found is not None:
        context.say(knn_line(*found, outcome.step))
    return RunResult(plan.directory, outcome.step, finished=True, metrics=figures, saved_model=path)


def pretrain_or_finetune(plan: Plan, context: RunContext) -> tuple[Outcome, OnlineWatch | None]:
    """The training of a run in its own directory, and what is evaluated beside it."""
    state = build_run_state(plan.config, plan.durations, plan.data.train, context.strategy, teacher=plan.teacher_logits)
    with observed(plan, context, plan.directory, warn_at_chance=True) as observer:
        watch = None
        if plan.online is not None:
            chief = context.workers.chief
            watch = OnlineWatch(plan.online, state.model, context.strategy, observer, chief=chief, say=context.say)
        outcome = train(
            state,
            plan.data.train,
            context,
            directory=plan.directory,
            observer=observer,
            on_due=watch,
            begin=plan.claim if context.workers.chief else None,
            fresh=plan.config.runtime.overwrite,
            profile_steps=plan.config.train.steps_to_profile if context.workers.chief else None,
            teacher="" if plan.teacher is None else plan.teacher.digest,
        )
    return outcome, watch


def untrained_baseline(plan: Plan, context: RunContext, source: ImageSource) -> dict[str, float]:
    """Accuracy of the same linear head, trained as long, on the encoder as it was initialised.

    Raises:
        StoppedError: somebody asked to stop.
    """
    context.say("the same linear head on the untrained encoder:")
    directory = os.path.join(plan.directory, UNTRAINED_DIRECTORY)
    state = build_run_state(plan.config, plan.durations, plan.data.train, context.strategy, contrastive=False)
    with observed(plan, context, directory, warn_at_chance=False) as observer:
        outcome = train(state, plan.data.train, context, directory=directory, observer=observer)
    if not outcome.finished or context.stopping():
        raise StoppedError
    with context.account.spent_on(EVALUATION):
        metrics = evaluate_classifier(plan.config, state, source, context.strategy)
    return {untrained_tag(name): metrics[name] for name in (TOP_1, TOP_5)}


@contextlib.contextmanager
def observed(plan: Plan, context: RunContext, directory: str, *, warn_at_chance: bool) -> Iterator[Observer]:
    """Progress on the terminal and curves beside the checkpoints, of the chief alone."""
    if not context.workers.chief:
        yield Observer()
        return
    classes = plan.data.train.num_classes if plan.data.train.labelled else 0
    progress = build_progress(say, chance_levels(plan.config, classes))
    try:
        watches: list[Observer] = [InputWatch(input_remedy(plan.config), context.say)]
        watches += chance_watches(plan.config, context.say) if warn_at_chance else []
        yield Observers(progress, SummaryWriter(directory), *watches)
    finally:
        progress.close()


def knn_of(
    plan: Plan, context: RunContext, outcome: Outcome, watch: OnlineWatch | None
) -> tuple[OnlinePlan, float] | None:
    """kNN on what was pretrained, and its plan; that of the online evaluation where there was one."""
    if watch is not None:  # with flags that all workers share: all of them return here
        known = watch.last.get(KNN_TOP_1)
        return (watch.plan, known) if known is not None and plan.config.runtime.mode == "train_then_eval" else None
    chief = context.workers.chief
    return knn_at_the_end(
        plan.config, plan.online_data, outcome.state.model, context.strategy, chief=chief, say=context.say
    )
