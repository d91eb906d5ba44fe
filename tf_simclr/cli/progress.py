"""The progress of a run: a live line on a terminal, plain lines now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from tf_simclr.train.observers import Observer, Progress

SECONDS_BETWEEN_LINES = 10.0
_CONTRASTIVE = (("train/contrast_loss", "loss", ".3f"), ("train/contrast_acc", "contrast acc", ".1%"))
_TEACHER = (("train/distill_loss", "distill loss", ".3f"), ("train/teacher_agreement", "agreement", ".1%"))
_LABELS = (("train/supervised_loss", "label loss", ".3f"), ("train/supervised_acc", "label acc", ".1%"))


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def describe(progress: Progress) -> str:
    """One line; what a narrow terminal cuts off comes last."""
    shown = [
        [f"{label} {progress.metrics[tag]:{form}}" for tag, label, form in group if tag in progress.metrics]
        for group in (_CONTRASTIVE + _TEACHER, _LABELS)
    ]
    return " | ".join(
        [
            f"step {progress.step}/{progress.total_steps}",
            f"{progress.images_per_second:,.0f} images/s" if progress.images_per_second else "first step traced",
            f"{_time_left(progress.seconds_left)} left",
            *shown[0],
            f"lr {progress.learning_rate:.4g}",
            *shown[1],
        ]
    )


class PlainProgress(Observer):
    """An Observer that prints a line every ten seconds, and the first and the last."""

    def __init__(self, say: Callable[[str], None]):
        self._say = say
        self._last = float("-inf")

    def on_progress(self, progress: Progress) -> None:
        """Prints the line when it is due."""
        now = time.monotonic()
        if progress.step == progress.total_steps or now - self._last >= SECONDS_BETWEEN_LINES:
            self._say(describe(progress))
            self._last = now

    def close(self) -> None:
        """Nothing to put back."""


class LiveProgress(Observer):
    """An Observer that keeps one line of the terminal up to date."""

    def __init__(self, console: Console):
        self._bar = Bar(BarColumn(bar_width=10), TextColumn("{task.description}"), console=console)
        self._bar.start()
        self._task = self._bar.add_task("tracing the graph ...", total=None)

    def on_progress(self, progress: Progress) -> None:
        """Redraws the line."""
        self._bar.update(
            self._task, total=progress.total_steps, completed=progress.step, description=describe(progress)
        )

    def close(self) -> None:
        """Leaves the last state of the line on the terminal."""
        self._bar.stop()


def build_progress(say: Callable[[str], None]) -> PlainProgress | LiveProgress:
    """The display for where standard output goes."""
    # rich would take a pipe for a terminal where FORCE_COLOR is set, as it is below a Jupyter kernel.
    return LiveProgress(Console()) if sys.stdout.isatty() else PlainProgress(say)


class Counter:
    """Counts something that takes a while: a line that comes and goes on a terminal, plain lines elsewhere.

    Args:
        say: prints a line.
        what: is counted.
        console: of the terminal; None where there is none.
    """

    def __init__(self, say: Callable[[str], None], what: str, console: Console | None):
        self._say, self._what, self._last = say, what, time.monotonic()
        self._bar = None
        if console is not None:
            self._bar = Bar(BarColumn(bar_width=10), TextColumn("{task.description}"), console=console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task(what, total=None)

    def count(self, done: int, total: int) -> None:
        """Shows how much is done; elsewhere than on a terminal every ten seconds."""
        text = f"{self._what}: {done:,} of {total:,}"
        if self._bar is not None:
            self._bar.update(self._task, total=total, completed=done, description=text)
        elif time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._say(text)
            self._last = time.monotonic()

    def close(self) -> None:
        """Removes the line from a terminal."""
        if self._bar is not None:
            self._bar.stop()


def build_counter(say: Callable[[str], None], what: str) -> Counter:
    """The counter for where standard output goes."""
    return Counter(say, what, Console() if sys.stdout.isatty() else None)
