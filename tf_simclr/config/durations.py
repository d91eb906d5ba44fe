"""Every length of a run in steps, computed once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tf_simclr.config.data import FOLDER
from tf_simclr.config.experiment import ExperimentConfig
from tf_simclr.errors import InputError

# A warm-up that nobody gave a length, and that would outlast training, takes one step of so many.
WARMUP_PART = 10


@dataclass(frozen=True)
class Durations:
    """Every length of a run in steps, computed once.

    Attributes:
        train_steps: steps in all.
        warmup_steps: of them, with a rising learning rate.
        checkpoint_steps: between checkpoints.
        steps_per_epoch: rounded, at least 1.
        online_eval_steps: between evaluations of h while pretraining; 0 = never.
    """

    train_steps: int
    warmup_steps: int
    checkpoint_steps: int
    steps_per_epoch: int
    online_eval_steps: int = 0

    def online_eval_is_due(self, step: int) -> bool:
        """Whether h is evaluated after this many steps: at every interval's end, and at the end of the run."""
        every = self.online_eval_steps
        return bool(every) and step > 0 and (step % every == 0 or step >= self.train_steps)


def train_steps_of(config: ExperimentConfig, num_examples: int) -> int:
    """Steps of a run: --train_steps, or N * epochs // batch + 1 as the authors have it."""
    train = config.train
    return train.train_steps or int(num_examples * train.train_epochs // config.data.train_batch_size) + 1


def warmup_steps_of(config: ExperimentConfig, num_examples: int) -> int:
    """Steps of the warm-up, rounded."""
    return round(config.optimizer.warmup_epochs * num_examples / config.data.train_batch_size)


def with_warmup_that_ends(config: ExperimentConfig, num_examples: int) -> ExperimentConfig:
    """The config with a warm-up of a tenth of the steps where its own would not end before training does.

    Args:
        config: of a command without --warmup_epochs.
        num_examples: images in the training split, at least 1.
    """
    steps = train_steps_of(config, num_examples)
    if warmup_steps_of(config, num_examples) < steps:
        return config
    epochs = steps // WARMUP_PART * config.data.train_batch_size / num_examples
    return replace(config, optimizer=replace(config.optimizer, warmup_epochs=epochs))


def _settings_of_a_folder(config: ExperimentConfig) -> str:
    """What else helps where a training flag switched off the settings that are chosen for a folder."""
    return ", or --flagfile=configs/own_images.cfg before your flags" if config.data.dataset == FOLDER else ""


def resolve_durations(config: ExperimentConfig, num_examples: int) -> Durations:
    """Turns epochs into steps (the authors' formulas: N * epochs // batch + 1, warm-up rounded).

    Args:
        config: the experiment.
        num_examples: images in the training split.

    Returns:
        the run's lengths in steps.

    Raises:
        InputError: a batch larger than the data, or a warm-up that never ends.
    """
    batch = config.data.train_batch_size
    if num_examples < batch:
        raise InputError(
            f"`train_batch_size` must be at most the {num_examples} images of the training split. "
            f"Received: train_batch_size={batch}. Pass a smaller batch or more images{_settings_of_a_folder(config)}"
        )
    train_steps, warmup_steps = train_steps_of(config, num_examples), warmup_steps_of(config, num_examples)
    if warmup_steps >= train_steps:
        raise InputError(
            f"`warmup_epochs` must end before training does, or the learning rate never decays. Received: "
            f"warmup_epochs={config.optimizer.warmup_epochs:g} ({warmup_steps} steps) with {train_steps} training "
            "steps. Pass a smaller --warmup_epochs or train longer"
        )
    steps_per_epoch = max(1, round(num_examples / batch))

    def interval(epochs: float) -> int:
        return max(1, round(epochs * num_examples / batch))

    return Durations(
        train_steps,
        warmup_steps,
        config.checkpoint.checkpoint_steps or interval(config.checkpoint.checkpoint_epochs),
        steps_per_epoch,
        online_eval_steps=interval(online) if (online := config.evaluation.eval_every_epochs) else 0,
    )
