"""The curves of a cell's training, which outlive a stop."""

from __future__ import annotations

import os

from tf_simclr.files import read_json, write_json
from tf_simclr.train.observers import Observer

FILE = "curves.json"
# Metrics of the end of a training are means over this part of its steps.
LAST_PART = 0.1


class Recorder(Observer):
    """An Observer that keeps the metrics of every summary window in a file of the run.

    Args:
        directory: of the run; what an earlier try wrote there is taken up, and its steps that are done again replaced.
            Of the window in which it was stopped only the rest is there.
    """

    def __init__(self, directory: str):
        self._path = os.path.join(directory, FILE)
        try:
            kept = read_json(self._path) or {}
            self._windows: dict[int, dict[str, float]] = {int(step): dict(means) for step, means in kept.items()}
        except (TypeError, ValueError):  # damaged: of an earlier try's curve only the rest is drawn
            self._windows = {}

    def on_window(self, step: int, metrics: dict[str, float]) -> None:
        """Keeps the means of a window, and what was measured at its end."""
        self._windows[step] = self._windows.get(step, {}) | metrics
        write_json(self._path, {str(key): value for key, value in self._windows.items()}, indent=None)

    def curve(self, tag: str) -> dict[str, list[float]]:
        """{"x": steps, "y": the metric at their windows}; empty lists where it was never there."""
        steps = [step for step in sorted(self._windows) if tag in self._windows[step]]
        return {"x": [float(step) for step in steps], "y": [self._windows[step][tag] for step in steps]}

    def at_the_end(self, tag: str) -> float | None:
        """The mean over the last LAST_PART of the steps; None where the metric was never there."""
        curve = self.curve(tag)
        if not curve["x"]:
            return None
        last = [y for x, y in zip(curve["x"], curve["y"], strict=True) if x >= (1 - LAST_PART) * curve["x"][-1]]
        return sum(last) / len(last)
