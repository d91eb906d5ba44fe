"""Opens the teacher of a distillation, whatever program it was trained by."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.cli.main import say
from tf_simclr.config import ExperimentConfig
from tf_simclr.errors import InputError
from tf_simclr.evaluate.features import model_digest
from tf_simclr.evaluate.load import HEAD, load_trained, read_config
from tf_simclr.train import checkpoints
from tf_simclr.train.teacher import Teacher


def open_teacher(config: ExperimentConfig, strategy: tf.distribute.Strategy) -> Teacher | None:
    """The teacher of a run on its devices; None where the command trains no student.

    Args:
        config: of the command.
        strategy: its devices.

    Raises:
        InputError: there is no checkpoint, it cannot be read, or it has no supervised head.
    """
    place = config.distillation.teacher
    if config.train.train_mode != "distill" or config.runtime.mode == "eval" or not place:
        return None
    try:
        _, prefix = read_config(place, say)
        stored = checkpoints.shapes_in(prefix)
        if HEAD in stored:
            with strategy.scope():
                trained = load_trained(prefix)
            return Teacher(trained.model, stored[HEAD][1], trained.class_names, model_digest(trained.model), place)
    except InputError as error:
        raise type(error)(f"--teacher={place}: {error}") from error
    raise InputError(
        f"`teacher` must have a supervised head, whose classes the student learns. Received: {prefix}, without one. "
        "Fine-tune it first with --train_mode=finetune"
    )


def describe_teacher(teacher: Teacher, config: ExperimentConfig) -> str:
    """A line for the log: who teaches what, and how."""
    settings = config.distillation
    weights = sum(int(tf.size(v.numpy())) for v in teacher.model.trainable_variables)
    labels = "no labels" if settings.distill_alpha == 1 else f"labels weigh {1 - settings.distill_alpha:g}"
    return (
        f"teacher {teacher.place}: {weights:,} weights, {teacher.num_classes} classes, SHA-256 {teacher.digest[:12]}; "
        f"temperature {settings.distill_temperature:g}, {labels}"
    )
