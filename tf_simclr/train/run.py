"""Trains a run in its model directory, from scratch, from a checkpoint, or from where it was stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import tensorflow as tf

from tf_simclr.config import Durations, ExperimentConfig
from tf_simclr.data.source import ImageSource
from tf_simclr.errors import DivergedError, StoppedError
from tf_simclr.train.build import Say, TrainState, build_train_state
from tf_simclr.train.checkpoint_store import CheckpointStore
from tf_simclr.train.classes import head_classes, require_order_of
from tf_simclr.train.device_views import choose_place
from tf_simclr.train.finite import list_not_finite, require_finite_values
from tf_simclr.train.input import build_train_iterator
from tf_simclr.train.interrupts import StopRequest
from tf_simclr.train.loop import run_loop
from tf_simclr.train.manifest import Manifest, describe_images
from tf_simclr.train.observers import Observer, Observers, Progress
from tf_simclr.train.pretrained import load_pretrained
from tf_simclr.train.profiling import StepProfiler
from tf_simclr.train.skip import SkippedUpdates
from tf_simclr.train.step import Logits
from tf_simclr.train.timing import EVALUATION, TimeAccount, runs_ahead
from tf_simclr.train.train_function import build_train_function
from tf_simclr.train.workers import Workers


@dataclass(frozen=True)
class RunContext:
    """What surrounds a training, whatever is trained.

    Attributes:
        strategy: devices.
        workers: the processes that train together.
        stop: asked between calls of the training function.
        say: receives lines for the person who waits.
        account: receives the seconds of what the training does.
    """

    strategy: tf.distribute.Strategy
    workers: Workers
    stop: StopRequest
    say: Say
    account: TimeAccount = field(default_factory=TimeAccount)

    @contextlib.contextmanager
    def breakable(self) -> Iterator[None]:
        """For work of which nothing is kept half: a request to stop breaks it off with StoppedError.

        Several workers compute together, and would wait for one that broke off: they do the work to its end.
        """
        with self.stop.at_once() if self.workers.alone else self.stop.between_steps():
            yield

    def stopping(self) -> bool:
        """Whether any worker was asked to stop; every worker must call it."""
        return self.workers.plan_call(bool(self.stop), 1) == 0


@dataclass(frozen=True)
class Outcome:
    """How a training run ended."""

    state: TrainState
    step: int
    finished: bool


def build_run_state(
    config: ExperimentConfig,
    durations: Durations,
    source: ImageSource,
    strategy: tf.distribute.Strategy,
    *,
    contrastive: bool = True,
    teacher: Logits | None = None,
) -> TrainState:
    """Networks, optimizer and step for the images of a source, on the devices of a strategy.

    Args:
        config: the experiment.
        durations: its lengths in steps.
        source: training split.
        strategy: devices.
        contrastive: False trains only the linear head on the untrained encoder.
        teacher: of a distillation, as in `build_train_state`.
    """
    # Where an image may have several classes there is no supervised head, as without labels.
    num_classes = source.num_classes if source.labelled else 0
    with strategy.scope():
        return build_train_state(config, durations, num_classes, contrastive=contrastive, teacher=teacher)


def train(
    state: TrainState,
    source: ImageSource,
    context: RunContext,
    *,
    directory: str,
    observer: Observer,
    on_due: Callable[[int], None] | None = None,
    begin: Callable[[], object] | None = None,
    fresh: bool = False,
    profile_steps: tuple[int, int] | None = None,
    teacher: str = "",
) -> Outcome:
    """Trains to exactly `state.durations.train_steps`, saving into a directory and going on from what it finds there.

    Nothing is written before the checkpoint that the run goes on from, or begins with, was read.

    Args:
        state: as made by `build_run_state`, with the weights that a new run begins with.
        source: training split.
        context: devices, workers, and who is asked and informed.
        directory: of the checkpoints.
        observer: receives progress and summaries.
        on_due: called with every step where `durations.online_eval_is_due`; None for nothing.
        begin: called once, when nothing can refuse the run any more and nothing is written yet.
        fresh: whether to begin anew, whatever is in the directory: `begin` keeps it aside.
        profile_steps: first and last step of which a trace is written into the directory; None for no trace.
        teacher: digest of the teacher of a distillation, which every checkpoint records.

    Returns:
        the trained state, the step it reached, and whether that was the last.

    Raises:
        InputError: a checkpoint that does not fit, or a run that diverged.
    """
    store = _open_store(state, source, context, directory, fresh=fresh, teacher=teacher)
    step = _start(state, source, context, store, directory)
    if begin is not None:
        begin()
    config, durations = state.config, state.durations

    def observe_due(at: int) -> None:
        # A request to stop breaks it off here; the loop then saves, and the same command calls it again.
        with contextlib.suppress(StoppedError), context.breakable():
            if on_due is not None:
                on_due(at)

    if durations.online_eval_is_due(step):
        with context.account.spent_on(EVALUATION):
            observe_due(step)  # the run may have been stopped between saving this step and calling
    if step < durations.train_steps:
        place = choose_place(config, context.strategy)
        if place.note:
            context.say(place.note)
        context.say(f"training from step {step} to {durations.train_steps}; tracing the graph takes some seconds")
        with (
            contextlib.closing(StepProfiler(directory, profile_steps, context.say)) as profiler,
            _skips_named(state),
            context.stop.between_steps(),
        ):
            step = run_loop(
                train=build_train_function(context.strategy, state.step),
                iterator=build_train_iterator(
                    config, source, context.strategy, step, host_only=state.device_views is not None
                ),
                durations=durations,
                start_step=step,
                batch_size=config.data.train_batch_size,
                learning_rate=state.schedule,
                save=store.save,
                observer=Observers(observer, SkipReport(state.skipped, context.say)),
                stop=context.stop,
                list_not_finite=lambda: list_not_finite(state.named_state()),
                plan_call=context.workers.plan_call,
                on_due=observe_due,
                around_tracing=context.breakable,
                account=context.account,
                runs_ahead=runs_ahead(context.strategy),
                profiler=profiler,
                figures=state.skipped.figures,
            )
    return Outcome(state, step, finished=step >= durations.train_steps)


class SkipReport(Observer):
    """An Observer that says when updates were left out, and how many may still be.

    Args:
        skipped: counts them.
        say: receives a line a call with such updates.
    """

    def __init__(self, skipped: SkippedUpdates, say: Say):
        self._skipped, self._say = skipped, say

    def on_progress(self, progress: Progress) -> None:
        """Says so where the last call left updates out."""
        if progress.skipped:
            updates = "an update was" if progress.skipped == 1 else f"{progress.skipped} updates were"
            self._say(
                f"note: by step {progress.step} {updates} left out, whose loss or gradient was not finite; "
                f"{self._skipped.count()} of the {self._skipped.limit} that --skip_nonfinite_steps allows"
            )


@contextlib.contextmanager
def _skips_named(state: TrainState) -> Iterator[None]:
    """Adds to the error of a run that diverged how many updates it had left out before."""
    try:
        yield
    except DivergedError as error:
        if not state.skipped.limit:
            raise
        limit, count = state.skipped.limit, state.skipped.count()
        raise DivergedError(
            f"{error}. {count} of --skip_nonfinite_steps={limit} updates were left out before"
        ) from error


def _open_store(
    state: TrainState, source: ImageSource, context: RunContext, directory: str, *, fresh: bool, teacher: str
) -> CheckpointStore:
    workers = context.workers
    return CheckpointStore(
        directory,
        state.named_state(),
        state.config.checkpoint.keep_checkpoint_max,
        optional=state.skipped.named_state(),
        manifest=Manifest(head_classes(state.config, source), describe_images(source), teacher).to_text(),
        fresh=fresh,
        scratch=None if workers.chief else workers.own_directory(directory),
        from_chief=workers.from_chief,
    )


def _start(state: TrainState, source: ImageSource, context: RunContext, store: CheckpointStore, directory: str) -> int:
    """Reads what the run goes on from, or begins with; returns the steps that are done."""
    config, class_names = state.config, head_classes(state.config, source)
    start = store.restore_latest(context.say)
    if start is not None:
        require_order_of(directory, start, class_names)
        # Earlier versions saved what a last update had spoilt.
        require_finite_values(state.named_state(), f"the checkpoint of step {start} in {directory}")
        context.say(f"resuming from step {start} in {directory}")
        return start
    if config.train.trains_classifier and config.train.checkpoint:
        load_pretrained(config, state.model, class_names, context.say)
    if state.average is not None:
        state.average.begin()
    return 0
