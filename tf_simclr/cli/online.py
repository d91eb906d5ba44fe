"""Online evaluation of a run: curves, a line on the terminal, and the last figures for result.json."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.config import ExperimentConfig
from tf_simclr.errors import InputError
from tf_simclr.evaluate.online import (
    KNN_TOP_1,
    LINEAR_TOP_1,
    TEMPERATURE,
    OnlineEvaluation,
    OnlinePlan,
    plan_at_the_end,
)
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.train.build import Data, Say
from tf_simclr.train.observers import Observer


def knn_at_the_end(
    config: ExperimentConfig,
    splits: Data,
    model: SimCLRModel,
    strategy: tf.distribute.Strategy,
    *,
    chief: bool,
    say: Say,
) -> tuple[OnlinePlan, float] | None:
    """Accuracy of kNN on h of a pretrained model, and what it was measured on; None where it cannot be had.

    Every worker must call it, and only the chief gets a number. One pass over the evaluation split and one over at most
    --online_eval_examples training images. What is wrong is a line and no error: the run is trained, and its checkpoint
    and its export are worth more.
    """
    try:
        plan = plan_at_the_end(config, splits.train, splits.evaluation)
        if plan is None:
            return None
        evaluation = OnlineEvaluation(plan, model, strategy)
        gallery, queries = evaluation.features()
        return (plan, evaluation.knn(gallery, queries)) if chief else None
    except InputError as error:
        say(f"note: no kNN at the end: {error}")
        return None


def knn_line(plan: OnlinePlan, top_1: float, step: int) -> str:
    """What a run ends with, for a person."""
    return (
        f"step {step}, {plan.queries.num_examples} held-out images{plan.other_folder}: kNN top-1 {top_1:.1%} "
        f"(k = {plan.k}, T = {TEMPERATURE:g}, {plan.gallery.num_examples} training images)"
    )


class OnlineWatch:
    """Evaluates a model whenever it is called with a step.

    Args:
        plan: what is measured on.
        model: read anew at every call; no variable changes.
        strategy: devices, those the model was made on.
        observer: receives the measures.
        chief: whether this worker computes the measures; the others only take part in the passes.
        say: receives a line with the measures, or why there are none.
    """

    def __init__(
        self,
        plan: OnlinePlan,
        model: SimCLRModel,
        strategy: tf.distribute.Strategy,
        observer: Observer,
        *,
        chief: bool,
        say: Say,
    ):
        self.plan, self._observer, self._chief, self._say = plan, observer, chief, say
        self._evaluation = OnlineEvaluation(plan, model, strategy)
        self.last: dict[str, float] = {}

    def __call__(self, step: int) -> None:
        """Measures the model now."""
        try:
            gallery, queries = self._evaluation.features()
            if not self._chief:
                return
            self.last = self._evaluation.figures(gallery, queries)
        except InputError as error:  # hours of training are worth more than a point of a curve
            self.last = {}
            self._say(f"note: step {step}: no online evaluation: {error}")
            return
        self._observer.on_window(step, self.last)
        self._say(f"step {step}: kNN top-1 {self.last[KNN_TOP_1]:.1%}, linear {self.last[LINEAR_TOP_1]:.1%} (online)")
