"""What the tasks that need TensorFlow have in common: devices, errors of the images, lines and progress, exit codes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import tensorflow as tf

from tf_simclr.cli.chance import chance_levels
from tf_simclr.cli.main import say
from tf_simclr.cli.progress import build_counter, build_progress
from tf_simclr.config import ExperimentConfig, RuntimeConfig
from tf_simclr.data.input_service import require_input_workers
from tf_simclr.data.read_errors import named
from tf_simclr.data.remote import lost
from tf_simclr.errors import InputError
from tf_simclr.train.observers import Observer, Observers
from tf_simclr.train.strategy import build_strategy, choose_strategy
from tf_simclr.train.summaries import SummaryWriter

EXIT_SOME_FAILED = 1


@contextlib.contextmanager
def named_images() -> Iterator[None]:
    """Turns the error of an image that is damaged, gone or closed into one line with its path; of input workers too."""
    try:
        yield
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        explained = named(error) or lost(error)
        if explained is None:
            raise
        raise explained from error


def build_own_strategy(runtime: RuntimeConfig, what: str) -> tuple[tf.distribute.Strategy, str]:
    """The strategy of a task that runs in one process, and words on it.

    Args:
        runtime: asks for devices.
        what: is done in one process, for the message.

    Raises:
        InputError: TF_CONFIG makes this process one of several workers, or an input worker cannot be reached.
    """
    choice = choose_strategy(runtime)
    if choice.worker.count > 1:
        raise InputError(
            f"{what} in one process. Received: worker {choice.worker.index} of {choice.worker.count}. Unset TF_CONFIG, "
            "or pass --strategy=one_device or --strategy=mirrored"
        )
    built = build_strategy(runtime, choice)
    require_input_workers(runtime.input_addresses)
    return built


class TerminalReporter:
    """Shows lines and progress on the terminal, and writes the curves of trainings."""

    def say(self, line: str) -> None:
        """Prints a line."""
        say(line)

    @contextlib.contextmanager
    def counting(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """A line that counts, removed when it is done; now and then a plain line in a pipe."""
        counter = build_counter(say, what)
        try:
            yield counter.count
        finally:
            counter.close()

    @contextlib.contextmanager
    def training(self, directory: str, config: ExperimentConfig, classes: int) -> Iterator[Observer]:
        """The progress of a training, and its curves in the directory."""
        progress = build_progress(say, chance_levels(config, classes))
        try:
            yield Observers(progress, SummaryWriter(directory))
        finally:
            progress.close()
