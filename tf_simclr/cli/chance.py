"""Losses at chance, and a warning, once and early, of a pretraining whose loss does not fall below it."""

from __future__ import annotations

import math
from collections.abc import Callable

from tf_simclr.cli.progress import ChanceLevels
from tf_simclr.config import ExperimentConfig
from tf_simclr.losses.chance import chance_of
from tf_simclr.train.observers import Observer, Progress

LOSS = "train/contrast_loss"
# The decision falls after a fifth of the run. One call alone is noisy: the loss is averaged over the twentieth before.
_FIFTH, _TWENTIETH = 5, 20
# A run of seconds, to see that everything works, learns nothing and need not.
_FEWEST_STEPS = 100


class ChanceWatch(Observer):
    """An Observer that says so when a fifth of the run has passed and the contrastive loss is not below chance.

    A run that goes on after its first fifth is watched for a twentieth of its steps from there. Runs of less than 100
    steps are not watched.

    Args:
        chance: the loss of projections without information.
        peak_learning_rate: named in the advice.
        say: receives the line.
    """

    def __init__(self, chance: float, peak_learning_rate: float, say: Callable[[str], None]):
        self._chance, self._peak, self._say = chance, peak_learning_rate, say
        self._last_step: int | None = None
        self._sum, self._steps, self._decided = 0.0, 0, False

    def on_progress(self, progress: Progress) -> None:
        """Takes the mean loss of the last call; decides when the share of the run has passed."""
        if self._decided or LOSS not in progress.metrics:
            return
        before, self._last_step = self._last_step, progress.step
        total = progress.total_steps
        if total < _FEWEST_STEPS or before is None or progress.step * _TWENTIETH <= 3 * total:
            return  # too short; too early; or the first call, of which it is not known how many steps it took
        self._sum += progress.metrics[LOSS] * (progress.step - before)
        self._steps += progress.step - before
        if self._steps * _TWENTIETH >= total and progress.step * _FIFTH >= total:
            self._decided = True
            self._decide(progress, self._sum / self._steps)

    def _decide(self, progress: Progress, loss: float) -> None:
        if loss < self._chance:
            return
        self._say(
            f"note: after {progress.step} of {progress.total_steps} steps the contrastive loss is {loss:.3f}, not "
            f"below chance ({self._chance:.3f}): the encoder has learned nothing so far. The usual causes are a peak "
            f"learning rate that is far too large or too small (it is {self._peak:.4g}) and a batch that leaves too "
            "few steps. "
            "See 'Learning rate' in docs/guide.md"
        )


def chance_watches(config: ExperimentConfig, say: Callable[[str], None]) -> list[ChanceWatch]:
    """What warns of a pretraining that learns nothing; empty where the loss has no known chance level."""
    chance = chance_levels(config, 0).contrastive
    peak = config.optimizer.peak_learning_rate(config.data.train_batch_size)
    return [] if chance is None else [ChanceWatch(chance, peak, say)]


def chance_levels(config: ExperimentConfig, classes: int) -> ChanceLevels:
    """The losses of a network that has learned nothing, for the line of progress.

    Args:
        config: of the training.
        classes: of its images; 0 without labels.
    """
    pretrains = config.train.train_mode == "pretrain"
    contrastive = chance_of(config.loss, config.data.train_batch_size) if pretrains else None
    return ChanceLevels(contrastive, math.log(classes) if classes else None)
