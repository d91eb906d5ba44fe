"""The modes of the training program: train, evaluate, export, in a model directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import tensorflow as tf

from tf_simclr.cli.chance import ChanceWatch
from tf_simclr.cli.main import say
from tf_simclr.cli.online import Watch, knn_at_the_end, knn_line
from tf_simclr.cli.progress import build_progress
from tf_simclr.config import Durations, ExperimentConfig
from tf_simclr.config.identity import recorded_flags
from tf_simclr.data.source import ImageSource
from tf_simclr.errors import InputError
from tf_simclr.evaluate.classifier import TOP_1, TOP_5, evaluate_classifier
from tf_simclr.evaluate.follow import follow_checkpoints
from tf_simclr.evaluate.online import KNN_TOP_1, OnlinePlan
from tf_simclr.evaluate.results import write_results
from tf_simclr.interop.card import ModelCard
from tf_simclr.interop.saved_model import export_step
from tf_simclr.losses.chance import chance_of
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.train.build import Data, Say, build_train_state
from tf_simclr.train.checkpoint_files import is_pattern
from tf_simclr.train.classes import in_order_of
from tf_simclr.train.finite import require_finite_network
from tf_simclr.train.interrupts import StopRequest
from tf_simclr.train.loop import Observers
from tf_simclr.train.manifest import class_names_of
from tf_simclr.train.run import Outcome, train
from tf_simclr.train.summaries import SummaryWriter
from tf_simclr.train.workers import Workers

UNTRAINED_DIRECTORY = "untrained_baseline"
SIGNAL_EXIT_CODES = {"SIGTERM": 143, "SIGINT": 130}


@dataclass(frozen=True)
class Session:
    """What every mode needs: the checked config and what was opened for it.

    Attributes:
        config: the experiment.
        data: its splits.
        durations: its lengths in steps.
        strategy: its devices.
        stop: whether somebody asked to stop.
        workers: the processes that train together.
        scratch: where a worker that is not the chief writes what only the chief keeps; None on the chief.
        online: what is evaluated while pretraining; None for nothing.
        begin: makes the run's directory, as `train.run.train` calls it; None where another worker does.
    """

    config: ExperimentConfig
    data: Data
    durations: Durations
    strategy: tf.distribute.Strategy
    stop: StopRequest
    workers: Workers
    scratch: str | None = None
    online: OnlinePlan | None = None
    begin: Callable[[], object] | None = None

    @property
    def say(self) -> Say:
        """Tells the person who waits; only the chief does."""
        return say if self.scratch is None else lambda line: None

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


def train_mode(session: Session) -> int:
    """Trains, evaluates where asked and possible, and exports; returns the exit code."""
    config = session.config
    watch = build_watch(session)
    outcome = observed_train(session, session.directory, watch=watch)
    if not outcome.finished:
        return stopped(session, outcome)
    require_finite(session, outcome.state.model, outcome.step)
    metrics: dict[str, float] = {}
    online = watch.last if watch is not None else {}
    source, at_the_end = session.eval_source, final_knn(session, outcome, watch)
    if at_the_end is not None:
        online = online | {KNN_TOP_1: at_the_end[1]}
    if config.runtime.mode == "train_then_eval" and source is not None:
        metrics = evaluate_classifier(config, outcome.state, source, session.strategy)
        if config.train.untrained_baseline and config.train.train_mode == "pretrain":
            floor = untrained_baseline(session, source)
            if floor is None:
                return stopped(session, outcome)
            metrics |= floor
        report(session, outcome.step, metrics, online)
    else:
        if config.runtime.mode == "train_then_eval" and at_the_end is None:
            session.say("note: nothing to evaluate: no labels, no evaluation split or no supervised head")
        if online:
            write_results(session.directory, outcome.step, online)
    export(session, outcome, metrics | online)
    if at_the_end is not None:
        session.say(knn_line(*at_the_end, outcome.step))
    return 0


def final_knn(session: Session, outcome: Outcome, watch: Watch | None) -> tuple[OnlinePlan, float] | None:
    """kNN on what was pretrained, and its plan; that of the online evaluation where there was one."""
    chief = session.scratch is None
    if watch is not None:  # with flags that all workers share: all of them return here
        known = watch.last.get(KNN_TOP_1)
        return (watch.plan, known) if known is not None and session.config.runtime.mode == "train_then_eval" else None
    model = outcome.state.model
    return knn_at_the_end(session.config, session.data, model, session.strategy, chief=chief, say=session.say)


def require_finite(session: Session, model: SimCLRModel, step: int) -> None:
    """Refuses a network that diverged, before anything is made of it.

    Raises:
        DivergedError: it holds a value that is not finite, or computes one from an image.
    """
    require_finite_network(model, image_size=session.config.data.image_size, what=f"the network at step {step}")


def build_watch(session: Session) -> Watch | None:
    """The online evaluation of a session; None where none was asked for."""
    if session.online is None:
        return None
    return Watch(session.online, session.strategy, chief=session.scratch is None, say=session.say)


def export(session: Session, outcome: Outcome, metrics: dict[str, float]) -> None:
    """Writes the SavedModel of a step, with the metrics of its evaluation."""
    config = session.config
    card = ModelCard(
        image_size=config.data.image_size,
        step=outcome.step,
        dataset=config.data.dataset,
        class_names=session.data.train.class_names,
        config=recorded_flags(config),
        metrics=metrics,
        eval_crop=config.data.eval_crop,
    )
    directory, keep = session.scratch or session.directory, config.checkpoint.keep_hub_module_max
    path = export_step(outcome.state.model, directory, card, keep)
    session.say(f"SavedModel written to {path}")
    if is_pattern(path):
        session.say("note: TensorFlow loads no SavedModel from a path with * ? [ ] or \\: copy it elsewhere to use it")


def observed_train(
    session: Session, directory: str, *, contrastive: bool = True, watch: Watch | None = None
) -> Outcome:
    """Trains in a directory, with progress on the terminal and curves beside the checkpoints."""
    if session.scratch is not None:
        scratch = os.path.join(session.scratch, os.path.relpath(directory, session.directory))
        return run_training(session, directory, Observers(), contrastive, watch, scratch)
    progress = build_progress(say)
    try:
        watches = chance_watches(session) if contrastive else []
        observers = Observers(progress, SummaryWriter(directory), *watches)
        return run_training(session, directory, observers, contrastive, watch, None)
    finally:
        progress.close()


def chance_watches(session: Session) -> list[ChanceWatch]:
    """What warns of a pretraining that learns nothing; empty where the loss has no known chance level."""
    config, batch = session.config, session.config.data.train_batch_size
    chance = chance_of(config.loss, batch) if config.train.train_mode == "pretrain" else None
    if chance is None:
        return []
    return [ChanceWatch(chance, config.optimizer.peak_learning_rate(batch), session.say)]


def run_training(
    session: Session,
    directory: str,
    observer: Observers,
    contrastive: bool,
    watch: Watch | None,
    scratch: str | None,
) -> Outcome:
    """Calls the training of a session."""
    return train(
        session.config,
        session.durations,
        session.data.train,
        session.strategy,
        directory=directory,
        observer=observer,
        say=session.say,
        stop=session.stop,
        contrastive=contrastive,
        workers=session.workers,
        scratch=scratch,
        build_on_due=None if watch is None else lambda model: watch.on_due(model, observer),
        begin=session.begin if directory == session.directory else None,
        # What is evaluated beside the run lies in a directory that is new when the run's is.
        fresh=session.config.runtime.overwrite and directory == session.directory,
    )


def untrained_baseline(session: Session, source: ImageSource) -> dict[str, float] | None:
    """Accuracy of the same linear head, trained as long, on the encoder as it was initialised; None if stopped."""
    session.say("the same linear head on the untrained encoder:")
    directory = os.path.join(session.directory, UNTRAINED_DIRECTORY)
    outcome = observed_train(session, directory, contrastive=False)
    if not outcome.finished:
        return None
    metrics = evaluate_classifier(session.config, outcome.state, source, session.strategy)
    return {untrained_tag(name): metrics[name] for name in (TOP_1, TOP_5)}


def untrained_tag(name: str) -> str:
    """The name in result.json of the untrained encoder's metric."""
    return name.replace("eval/", "untrained/")


def report(session: Session, step: int, metrics: dict[str, float], online: Mapping[str, float] | None = None) -> None:
    """Prints accuracies and writes result files, with those of the online evaluation, and summaries."""
    if session.scratch is not None:
        return
    config = session.config
    write_results(config.runtime.directory, step, {**metrics, **(online or {})})
    directory = os.path.join(config.runtime.directory, config.evaluation.eval_name or "")
    SummaryWriter(directory).on_window(step, {k: v for k, v in metrics.items() if k.startswith("eval/")})
    head = "online linear" if config.train.train_mode == "pretrain" else "supervised"
    say(
        f"step {step}, {metrics['eval/examples']:.0f} held-out images: {head} top-1 {metrics[TOP_1]:.1%}, "
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
    session.say(
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
            "mode=eval. Use labelled images and --lineareval_while_pretraining"
        )
    with session.strategy.scope():
        state = build_train_state(config, durations, session.data.train.num_classes)
    ordered = session

    def match_classes(prefix: str) -> None:
        nonlocal ordered
        data, notes = in_order_of(class_names_of(prefix), config, session.data, session.directory)
        for note in notes if ordered is session else []:
            say(f"note: {note}")
        ordered = replace(session, data=data)

    steps = follow_checkpoints(
        session.directory,
        state.model.named_variables(),
        last_step=durations.train_steps,
        timeout=config.evaluation.eval_timeout,
        say=say,
        check=match_classes,
    )
    metrics: dict[str, float] = {}
    for step in steps:
        assert ordered.eval_source is not None
        require_finite(session, state.model, step)
        metrics = evaluate_classifier(config, state, ordered.eval_source, session.strategy)
        report(session, step, metrics)
    export(ordered, Outcome(state, durations.train_steps, finished=True), metrics)
    return 0
