"""Online evaluation of a session: curves, a line on the terminal, and the last figures for result.json."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf_simclr.errors import InputError
from tf_simclr.evaluate.online import KNN_TOP_1, LINEAR_TOP_1, OnlineEvaluation, OnlinePlan
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.train.build import Say
from tf_simclr.train.loop import Observer


class Watch:
    """Evaluates a model at the steps that are due.

    Args:
        plan: what is measured on.
        strategy: devices.
        chief: whether this worker computes the figures and tells them; the others only take part in the passes.
        say: told the figures, or why there are none.
    """

    def __init__(self, plan: OnlinePlan, strategy: tf.distribute.Strategy, *, chief: bool, say: Say):
        self._plan, self._strategy, self._chief, self._say = plan, strategy, chief, say
        self.last: dict[str, float] = {}

    def on_due(self, model: SimCLRModel, observer: Observer) -> Callable[[int], None]:
        """A function of the step that measures the model now; `observer` receives the figures."""
        evaluation = OnlineEvaluation(self._plan, model, self._strategy)

        def measure(step: int) -> None:
            try:
                gallery, queries = evaluation.features()
                if not self._chief:
                    return
                self.last = evaluation.figures(gallery, queries)
            except InputError as error:  # hours of training are worth more than a point of a curve
                self.last = {}
                self._say(f"note: step {step}: no online evaluation: {error}")
                return
            observer.on_window(step, self.last)
            self._say(
                f"step {step}: kNN top-1 {self.last[KNN_TOP_1]:.1%}, linear {self.last[LINEAR_TOP_1]:.1%} (online)"
            )

        return measure
