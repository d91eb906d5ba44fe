"""Trains a run in its model directory, from scratch, from a checkpoint, or from where it was stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tf_simclr.config import Durations, ExperimentConfig
from tf_simclr.data.source import ImageSource
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.train.build import (
    Say,
    TrainState,
    build_train_iterator,
    build_train_state,
)
from tf_simclr.train.checkpoints import CheckpointStore
from tf_simclr.train.classes import head_classes, require_order_of
from tf_simclr.train.interrupts import StopRequest
from tf_simclr.train.loop import Observer, build_train_function, run_loop
from tf_simclr.train.manifest import Manifest, describe_images
from tf_simclr.train.pretrained import load_pretrained
from tf_simclr.train.workers import Workers


@dataclass(frozen=True)
class Outcome:
    """How a training run ended."""

    state: TrainState
    step: int
    finished: bool


def train(
    config: ExperimentConfig,
    durations: Durations,
    source: ImageSource,
    strategy: tf.distribute.Strategy,
    *,
    directory: str,
    observer: Observer,
    say: Say,
    stop: StopRequest,
    contrastive: bool = True,
    workers: Workers,
    scratch: str | None = None,
    build_on_due: Callable[[SimCLRModel], Callable[[int], None]] | None = None,
    begin: Callable[[], object] | None = None,
    fresh: bool = False,
) -> Outcome:
    """Trains to exactly `durations.train_steps`, saving into `directory` and going on from what it finds there.

    Nothing is written before the checkpoint that the run goes on from, or begins with, was read.

    Args:
        config: the experiment.
        durations: its lengths in steps.
        source: training split.
        strategy: devices.
        directory: of the checkpoints.
        observer: receives progress and summaries.
        say: receives lines for the person who waits.
        stop: asked between calls.
        contrastive: False trains only the linear head on the untrained encoder.
        workers: that train together.
        scratch: where a worker that is not the chief writes its checkpoints; None on the chief.
        build_on_due: makes of the model what is called with every step where `durations.online_eval_is_due`; None for
            nothing.
        begin: called once, when nothing can refuse the run any more and nothing is written yet.
        fresh: whether to begin anew, whatever is in the directory: `begin` keeps it aside.

    Returns:
        the trained model, the step it reached, and whether that was the last.

    Raises:
        InputError: a checkpoint that does not fit, or a run that diverged.
    """
    # Where an image may have several classes there is no supervised head, as without labels.
    num_classes = source.num_classes if source.labelled else 0
    with strategy.scope():
        state = build_train_state(config, durations, num_classes, contrastive=contrastive)
    class_names = head_classes(config, source)
    store = CheckpointStore(
        directory,
        state.named_state(),
        config.checkpoint.keep_checkpoint_max,
        manifest=Manifest(class_names, describe_images(source)).to_text(),
        fresh=fresh,
        scratch=scratch,
        from_chief=workers.from_chief,
    )
    start = store.restore_latest(say)
    if start is not None:
        require_order_of(directory, start, class_names)
        say(f"resuming from step {start} in {directory}")
    elif config.train.train_mode == "finetune" and config.train.checkpoint:
        load_pretrained(config, state.model, class_names, say)
    step = start or 0
    if begin is not None:
        begin()
    on_due = build_on_due(state.model) if build_on_due is not None else None
    if on_due is not None and durations.online_eval_is_due(step):
        on_due(step)  # the run may have been stopped between saving this step and calling
    if step < durations.train_steps:
        say(f"training from step {step} to {durations.train_steps}; tracing the graph takes some seconds")
        step = run_loop(
            train=build_train_function(strategy, state.step),
            iterator=build_train_iterator(config, source, strategy, step),
            durations=durations,
            start_step=step,
            batch_size=config.data.train_batch_size,
            learning_rate=state.schedule,
            save=store.save,
            observer=observer,
            stop=stop,
            plan_call=workers.plan_call,
            on_due=on_due,
        )
    return Outcome(state, step, finished=step >= durations.train_steps)
