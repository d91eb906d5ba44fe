"""The progress of a run: a live line on a terminal, plain lines now and then elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from tf_simclr.train.observers import Observer, Progress

SECONDS_BETWEEN_LINES = 10.0
WIDTH = 80
_BAR = 8


@dataclass(frozen=True)
class ChanceLevels:
    """What a loss is where nothing has been learned; None where that is not known."""

    contrastive: float | None = None
    labels: float | None = None


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def describe(progress: Progress, chance: ChanceLevels = ChanceLevels(), width: int = WIDTH) -> str:
    """One line of at most `width` columns: the steps, the time left, and in this order what there is room for.

    That is the loss with its chance level, its accuracy, those of the labels, the speed and the learning rate.
    """
    metrics, first_call = progress.metrics, not progress.images_per_second
    parts = [f"step {progress.step}/{progress.total_steps}", f"{_time_left(progress.seconds_left)} left"]
    if "train/contrast_loss" in metrics:
        parts.append(f"loss {metrics['train/contrast_loss']:.3f}{_chance(chance.contrastive)}")
        parts += _percent("acc", metrics.get("train/contrast_acc"))
        parts += _percent("label acc", metrics.get("train/supervised_acc"))
    elif "train/distill_loss" in metrics:
        parts.append(f"loss {metrics['train/distill_loss']:.3f}")
        parts += _percent("agreement", metrics.get("train/teacher_agreement"))
        parts += _percent("label acc", metrics.get("train/supervised_acc"))
    elif "train/supervised_loss" in metrics:
        parts.append(f"loss {metrics['train/supervised_loss']:.3f}{_chance(chance.labels)}")
        parts += _percent("acc", metrics.get("train/supervised_acc"))
    parts.append("first step traced" if first_call else f"{progress.images_per_second:,.0f} images/s")
    parts.append(f"lr {progress.learning_rate:.4g}")
    while len("  ".join(parts)) > width and len(parts) > 2:
        parts.pop()
    return "  ".join(parts)


def _chance(level: float | None) -> str:
    return "" if level is None else f" (chance {level:.3f})"


def _percent(name: str, share: float | None) -> list[str]:
    return [] if share is None else [f"{name} {share:.1%}"]


class PlainProgress(Observer):
    """An Observer that prints a line every ten seconds, and the first and the last."""

    def __init__(self, say: Callable[[str], None], chance: ChanceLevels = ChanceLevels()):
        self._say, self._chance = say, chance
        self._last = float("-inf")
        self._width = shutil.get_terminal_size((WIDTH, 24)).columns

    def on_progress(self, progress: Progress) -> None:
        """Prints the line when it is due."""
        now = time.monotonic()
        if progress.step == progress.total_steps or now - self._last >= SECONDS_BETWEEN_LINES:
            self._say(describe(progress, self._chance, self._width))
            self._last = now

    def close(self) -> None:
        """Nothing to put back."""


class LiveProgress(Observer):
    """An Observer that keeps one line of the terminal up to date."""

    def __init__(self, console: Console, chance: ChanceLevels = ChanceLevels()):
        self._console, self._chance = console, chance
        self._bar = Bar(BarColumn(bar_width=_BAR), TextColumn("{task.description}"), console=console)
        self._bar.start()
        self._task = self._bar.add_task("tracing the graph ...", total=None)

    def on_progress(self, progress: Progress) -> None:
        """Redraws the line."""
        line = describe(progress, self._chance, self._console.width - _BAR - 1)
        self._bar.update(self._task, total=progress.total_steps, completed=progress.step, description=line)

    def close(self) -> None:
        """Leaves the last state of the line on the terminal."""
        self._bar.stop()


def build_progress(say: Callable[[str], None], chance: ChanceLevels = ChanceLevels()) -> PlainProgress | LiveProgress:
    """The display for where standard output goes."""
    # rich would take a pipe for a terminal where FORCE_COLOR is set, as it is below a Jupyter kernel.
    return LiveProgress(Console(), chance) if sys.stdout.isatty() else PlainProgress(say, chance)


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
            self._bar = Bar(
                BarColumn(bar_width=_BAR), TextColumn("{task.description}"), console=console, transient=True
            )
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
