"""Says, once, that a training waits for its images, and what helps."""

from __future__ import annotations

from collections.abc import Callable

from tf_simclr.config import SHAPES, ExperimentConfig
from tf_simclr.train.observers import Observer, Progress

SECONDS_WATCHED, LEAST_SHARE = 60.0, 0.5


class InputWatch(Observer):
    """An Observer that says so after the first minute of which the devices waited half or more for images.

    Args:
        remedy: ends the line.
        say: receives it.
    """

    def __init__(self, remedy: str, say: Callable[[str], None]):
        self._remedy, self._say = remedy, say
        self._seconds, self._waited, self._said = 0.0, 0.0, False

    def on_progress(self, progress: Progress) -> None:
        """Adds up the calls of a minute, and then decides."""
        self._seconds += progress.seconds
        self._waited += progress.input_seconds
        if self._said or self._seconds < SECONDS_WATCHED:
            return
        share, self._seconds, self._waited = self._waited / self._seconds, 0.0, 0.0
        if share >= LEAST_SHARE:
            self._said = True
            self._say(f"note: for a minute, {share:.0%} of the time was spent waiting for images; {self._remedy}")


def input_remedy(config: ExperimentConfig) -> str:
    """What makes the images of a run come faster, for a person: the one place that names a flag for it."""
    data = config.data
    if data.dataset != SHAPES and not data.cache_dataset:
        return "--cache_dataset keeps them in memory, so that later epochs do not read and decode them again"
    if config.runtime.augment_on == "host":
        return "--augment_on=device leaves colour, blur and the other operators to a GPU or TPU"
    return "the views are made on the CPU: more cores make them faster, here or on other machines (--input_workers)"
