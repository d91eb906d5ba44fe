"""What every protocol needs, opened and checked before the first of them runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import tensorflow as tf

from tf_simclr.config import DataConfig, Durations, ExperimentConfig, ProtocolConfig, RuntimeConfig
from tf_simclr.data.datasets import BUILT_IN, build_splits
from tf_simclr.data.folder_splits import ListedSplits
from tf_simclr.data.joined import joined
from tf_simclr.data.known_split import has_no_labels, require_evaluable
from tf_simclr.data.source import ImageSource
from tf_simclr.data.subset import require_every_class
from tf_simclr.errors import StoppedError
from tf_simclr.evaluate.batches import EvalLoader
from tf_simclr.evaluate.classifier import require_comparable_classes
from tf_simclr.evaluate.measures import metrics
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.train.build import TrainState
from tf_simclr.train.device_choice import Worker
from tf_simclr.train.interrupts import StopRequest
from tf_simclr.train.observers import Observer, Observers
from tf_simclr.train.run import RunContext, build_run_state, train
from tf_simclr.train.workers import Workers

Say = Callable[[str], None]


class Reporter(Protocol):
    """How a context reports to the person who waits; the command line has one for terminals and pipes."""

    def say(self, line: str) -> None:
        """A line."""

    def counting(self, what: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """Progress of something that is counted: (done, in all)."""

    def training(self, directory: str, config: ExperimentConfig, classes: int) -> AbstractContextManager[Observer]:
        """Progress and curves of a training run in a directory; `classes` is 0 for images without labels."""


@dataclass(frozen=True)
class Splits:
    """The images of a context, all with the same classes.

    Attributes:
        train: what classifiers are trained on.
        test: what they are evaluated on; `train` itself for images without labels.
        validation: what settings are chosen on; None: each protocol that needs one takes it out of `train`.
    """

    train: ImageSource
    test: ImageSource
    validation: ImageSource | None = None


@dataclass(frozen=True, kw_only=True)
class WorkContext:
    """What every task of an evaluation or a study needs.

    Attributes:
        splits: the images.
        strategy: the devices.
        stop: whether somebody asked to stop.
        reporter: receives lines and progress.
    """

    splits: Splits
    strategy: tf.distribute.Strategy
    stop: StopRequest
    reporter: Reporter

    def train(
        self,
        config: ExperimentConfig,
        durations: Durations,
        source: ImageSource,
        directory: str,
        *,
        recorder: Observer | None = None,
        on_due: Callable[[TrainState], Callable[[int], None]] | None = None,
        begin: Callable[[], object] | None = None,
        say: Say = lambda line: None,
    ) -> SimCLRModel:
        """Trains to the end, or goes on where an earlier try in the directory was stopped.

        Args:
            config: what is trained.
            durations: how long.
            source: on what.
            directory: of its checkpoints.
            recorder: observes beside the reporter.
            on_due: makes what is called with every step at which an online evaluation is due.
            begin: called once before anything is written there.
            say: receives what a person should know of the training.

        Raises:
            InputError: it cannot be trained so, or it diverged.
            StoppedError: somebody asked to stop.
        """
        state = build_run_state(config, durations, source, self.strategy)
        run = RunContext(self.strategy, Workers(Worker(), self.strategy), self.stop, say)
        classes = source.num_classes if source.labelled else 0
        with self.reporter.training(directory, config, classes) as progress:
            outcome = train(
                state,
                source,
                run,
                directory=directory,
                observer=progress if recorder is None else Observers(progress, recorder),
                on_due=None if on_due is None else on_due(state),
                begin=begin,
            )
        if not outcome.finished or self.stop:
            raise StoppedError
        return outcome.state.model


@dataclass(frozen=True, kw_only=True)
class EvaluationContext(WorkContext):
    """What every protocol needs, beside images and devices.

    Attributes:
        protocols: what is done.
        data: which images, their size and batches.
        runtime: directory, devices, precision of what is trained.
        origin: config of the run behind the checkpoint.
        prefix: the checkpoint.
        pictures_seen: by the checkpoint's pretraining: steps times batch.
    """

    protocols: ProtocolConfig
    data: DataConfig
    runtime: RuntimeConfig
    origin: ExperimentConfig
    prefix: str
    pictures_seen: int

    @property
    def loader(self) -> EvalLoader:
        """How protocols read the images that they evaluate on."""
        return EvalLoader.of(self.data, self.strategy)

    @property
    def num_classes(self) -> int:
        """Classes of the data set."""
        return self.splits.train.num_classes

    @property
    def ks(self) -> tuple[int, ...]:
        """Numbers of neighbours of kNN: --knn_k, each at most the number of training images, each once."""
        return tuple(dict.fromkeys(min(k, self.splits.train.num_examples) for k in self.protocols.ks))

    @property
    def named_splits(self) -> dict[str, ImageSource]:
        """The splits that there are, by what they are for."""
        splits = {"train": self.splits.train, "test": self.splits.test, "validation": self.splits.validation}
        return {role: source for role, source in splits.items() if source is not None}

    def metric(self, predictions: np.ndarray, labels: np.ndarray) -> float:
        """What settings are chosen by, of single-label images."""
        if self.protocols.metric == "mean_per_class":
            return metrics.mean_per_class_accuracy(predictions, labels, self.num_classes, missing="exclude")
        return metrics.accuracy(predictions, labels)

    def train_and_validation(self) -> ImageSource:
        """All that a classifier may be trained on once its settings are chosen."""
        validation = self.splits.validation
        if validation is None:
            return self.splits.train
        if self.data.dataset in BUILT_IN:
            return joined(self.splits.train, validation)
        both = f"{self.splits.train.split}+{validation.split}"
        return build_splits(replace(self.data, train_split=both), eval_split=None).train


def open_splits(
    data: DataConfig, validation_split: str | None, before: ListedSplits | None = None, *, needs_labels: bool = True
) -> Splits:
    """Opens the splits and checks that they can be evaluated on; reads every label once, and no image.

    Args:
        data: which images.
        validation_split: its name, or None.
        before: as in `build_splits`.
        needs_labels: False takes images without any label as well, all of one split.

    Raises:
        InputError: anything wrong with the data: no labels, no test split, other classes in one split than in another,
            a class without an image.
    """
    train, test, validation = build_splits(
        data, eval_split=data.eval_split, validation_split=validation_split, before=before
    )
    if not needs_labels and has_no_labels(train, test):
        return Splits(train, train)
    require_evaluable(train, test, validation, eval_split=data.eval_split)
    assert test is not None, "require_evaluable has looked"
    for other in (test, validation):
        if other is not None:
            require_comparable_classes(train, other)
    splits = [split for split in (train, test, validation) if split is not None]
    for split in splits:
        if split.targets is None:
            require_every_class(split)
    return Splits(train, test, validation)
