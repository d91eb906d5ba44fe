"""Every length of a run in steps, computed once."""

from __future__ import annotations

from dataclasses import dataclass

from tf_simclr.config.experiment import ExperimentConfig
from tf_simclr.errors import InputError


@dataclass(frozen=True)
class Durations:
    """Every length of a run in steps, computed once."""

    train_steps: int
    warmup_steps: int
    checkpoint_steps: int
    steps_per_epoch: int


def resolve_durations(config: ExperimentConfig, num_examples: int) -> Durations:
    """Turns epochs into steps (the authors' formulas: N * epochs // batch + 1, warm-up rounded).

    Args:
        config: the experiment.
        num_examples: pictures in the training split.

    Returns:
        the run's lengths in steps.

    Raises:
        InputError: a batch larger than the data, or a warm-up that never ends.
    """
    batch = config.data.train_batch_size
    if num_examples < batch:
        raise InputError(
            f"`train_batch_size` must be at most the {num_examples} pictures of the training split. "
            f"Received: train_batch_size={batch}. Pass a smaller batch or more pictures"
        )
    train, optimizer = config.train, config.optimizer
    train_steps = train.train_steps or int(num_examples * train.train_epochs // batch) + 1
    warmup_steps = round(optimizer.warmup_epochs * num_examples / batch)
    if warmup_steps >= train_steps:
        raise InputError(
            f"`warmup_epochs` must end before training does, or the learning rate never decays. Received: "
            f"warmup_epochs={optimizer.warmup_epochs:g} ({warmup_steps} steps) with {train_steps} training "
            "steps. Pass a smaller --warmup_epochs or train longer"
        )
    steps_per_epoch = max(1, round(num_examples / batch))
    every = config.checkpoint.checkpoint_steps or max(
        1, round(config.checkpoint.checkpoint_epochs * num_examples / batch)
    )
    return Durations(train_steps, warmup_steps, every, steps_per_epoch)
