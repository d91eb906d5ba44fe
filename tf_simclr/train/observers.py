"""What a training loop reports, and to whom."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a call of the training function.

    Attributes:
        step: steps done.
        total_steps: steps in all.
        images_per_second: images (not views) per second in the last call; 0 for the call that also traced the graph.
        seconds_left: estimate from the speed so far; None before there is one.
        learning_rate: of the last step.
        metrics: means over the last call, by summary tag.
        seconds: that the last call took; 0 for the call that also traced the graph.
        input_seconds: of them, without images to work on.
        skipped: updates of the last call that were left out; its `metrics` are means over the others.
    """

    step: int
    total_steps: int
    images_per_second: float
    seconds_left: float | None
    learning_rate: float
    metrics: dict[str, float]
    seconds: float = 0.0
    input_seconds: float = 0.0
    skipped: int = 0


class Observer:
    """What a loop reports to; both methods are called between steps, and do nothing here."""

    def on_progress(self, progress: Progress) -> None:
        """After every call of the training function."""

    def on_window(self, step: int, metrics: dict[str, float]) -> None:
        """At the end of a summary window, with means over it."""


class Observers(Observer):
    """Several observers as one."""

    def __init__(self, *observers: Observer):
        self._observers = observers

    def on_progress(self, progress: Progress) -> None:
        """Passed on to each."""
        for observer in self._observers:
            observer.on_progress(progress)

    def on_window(self, step: int, metrics: dict[str, float]) -> None:
        """Passed on to each."""
        for observer in self._observers:
            observer.on_window(step, metrics)
