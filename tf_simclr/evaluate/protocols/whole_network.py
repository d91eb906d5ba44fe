"""The protocols that train with images: a linear classifier on crops, fine-tuning, and training from scratch."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf

from tf_simclr.config import (
    CheckpointConfig,
    ExperimentConfig,
    LabelledTraining,
    OptimizerConfig,
    TrainConfig,
    resolve_durations,
)
from tf_simclr.data.chosen_list import write_chosen
from tf_simclr.data.label_table import Subset
from tf_simclr.data.source import ImageSource
from tf_simclr.data.subset import class_balanced
from tf_simclr.errors import InputError
from tf_simclr.evaluate.extraction import extracted
from tf_simclr.evaluate.protocols.context import EvaluationContext
from tf_simclr.evaluate.records import measured
from tf_simclr.nn.heads import endpoint_of_layer, projection_layers
from tf_simclr.nn.model import SimCLRModel

# Epochs of fine-tuning by the share of labels (SimCLR, Appendix B.5).
FEW_LABELS, EPOCHS_FEW, EPOCHS_MORE = 0.01, 60.0, 30.0
SUPERVISED_WARMUP = 0.05
_CHECKPOINTS = 10
# How weight decay is part of the loss. Results that do not say so are older: they counted kernels with a bias twice.
DECAY = "every kernel once"


@dataclass(frozen=True)
class Training:
    """One training with labels.

    Attributes:
        source: what it is trained on.
        seed: of weights, order and augmentations.
        epochs: passes over `source`; ignored with `steps`.
        learning_rate: for a batch of 256, scaled linearly.
        pretrained: whether it starts from the checkpoint.
        weight_decay: part of the loss.
        warmup: share of the training.
        frozen_through: as --fine_tune_after_block.
        selector: as --ft_proj_selector.
        steps: instead of epochs, where > 0.
        batch_norm_decay: None for the checkpoint's.
    """

    source: ImageSource
    seed: int
    epochs: float
    learning_rate: float
    pretrained: bool
    weight_decay: float = 0.0
    warmup: float = 0.0
    frozen_through: int = -1
    selector: int = 0
    steps: int = 0
    batch_norm_decay: float | None = None


def selector_of(endpoint: str, origin: ExperimentConfig) -> int:
    """--ft_proj_selector for a classifier on an endpoint.

    Raises:
        InputError: a classifier of ours cannot be put there.
    """
    count = projection_layers(origin.model.proj_head_mode, origin.model.num_proj_layers)
    layers = {endpoint_of_layer(number, count): number for number in range(count + 1)}
    selectors = {"final_avg_pool": 0} | layers
    if endpoint not in selectors:
        raise InputError(
            f"`linear` trains on images and evaluates one of: {', '.join(selectors)}. Received: endpoints with "
            f"{endpoint}. Use linear_cached for it, which evaluates every endpoint"
        )
    return selectors[endpoint]


def batch_of(context: EvaluationContext, source: ImageSource) -> int:
    """The batch: --finetune_batch_size, a quarter of the images at most, and a multiple of the replicas."""
    replicas = context.strategy.num_replicas_in_sync
    most = max(source.num_examples // 4, min(2, source.num_examples))
    batch = min(context.protocols.finetune_batch_size, most) // replicas * replicas
    if batch < 1:
        raise InputError(
            f"Every replica needs an image in a batch. Received: {source.num_examples} images of {source.split!r} "
            f"for {replicas} replicas. Use fewer devices, or more labels"
        )
    return batch


def training_config(context: EvaluationContext, training: Training, directory: str) -> ExperimentConfig:
    """The config of a training, with the networks of the checkpoint."""
    origin, source = context.origin, training.source
    batch = batch_of(context, source)
    epochs = training.steps * batch / source.num_examples if training.steps else training.epochs
    decay = origin.model.batch_norm_decay if training.batch_norm_decay is None else training.batch_norm_decay
    config = ExperimentConfig(
        data=replace(context.data, train_batch_size=batch),
        model=replace(
            origin.model,
            stem=origin.model.stem_for(origin.data.image_size),
            proj_head_mode=origin.model.proj_head_mode if training.pretrained or training.selector else "none",
            zero_init_logits_layer=True,
            batch_norm_decay=decay,
        ),
        optimizer=OptimizerConfig(
            optimizer="momentum",
            learning_rate=training.learning_rate,
            weight_decay=training.weight_decay,
            warmup_epochs=training.warmup * epochs,
        ),
        train=TrainConfig(
            train_mode="finetune",
            train_epochs=epochs,
            train_steps=training.steps,
            checkpoint=context.prefix if training.pretrained else None,
            fine_tune_after_block=training.frozen_through,
            ft_proj_selector=training.selector,
        ),
        checkpoint=CheckpointConfig(checkpoint_epochs=max(1.0, epochs / _CHECKPOINTS), keep_checkpoint_max=1),
        runtime=replace(context.runtime, model_dir=directory, seed=training.seed),
    )
    config.validate()
    return config


def trained_model(
    context: EvaluationContext, training: Training, directory: str, begin: Callable[[], object] | None = None
) -> tuple[SimCLRModel, dict[str, Any]]:
    """Trains to the end, or goes on where an earlier try in the directory was stopped.

    Args:
        context: what is evaluated.
        training: what is trained.
        directory: of its checkpoints.
        begin: called once before anything is written there.

    Returns:
        the model, and what was done, for a record's details.

    Raises:
        InputError: it cannot be trained so, or it diverged.
        StoppedError: somebody asked to stop.
    """
    config = training_config(context, training, directory)
    durations = resolve_durations(config, training.source.num_examples)
    model = context.train(config, durations, training.source, directory, begin=begin, say=context.reporter.say)
    done = {
        "pictures": training.source.num_examples,
        "batch_size": config.data.train_batch_size,
        "epochs": round(config.train.train_epochs, 3),
        "steps": durations.train_steps,
        "peak_learning_rate": config.optimizer.peak_learning_rate(config.data.train_batch_size),
        "weight_decay": training.weight_decay,
    }
    return model, done


def evaluated_on(
    context: EvaluationContext, model: SimCLRModel, source: ImageSource, done: dict[str, Any]
) -> dict[str, Any]:
    """The fields of a record: what the model's classifier says of every image of a split."""
    values, labels = extracted(model, source, context.loader, ("logits_sup",))
    logits = values["logits_sup"]
    return measured(logits.argmax(axis=1), labels, context.num_classes, scores=logits, details=done)


def linear(context: EvaluationContext, endpoint: str, *, pretrained: bool, seed: int, directory: str) -> dict[str, Any]:
    """A linear classifier on the frozen encoder, on random crops and flips (SimCLR, Appendix B.6)."""
    settings = context.protocols
    training = Training(
        source=context.splits.train,
        seed=seed,
        epochs=settings.linear_epochs,
        learning_rate=settings.linear_learning_rate,
        pretrained=pretrained,
        frozen_through=4,
        selector=selector_of(endpoint, context.origin),
    )
    model, done = trained_model(context, training, directory)
    return evaluated_on(context, model, context.splits.test, done)


def with_labels(context: EvaluationContext, protocol: LabelledTraining, *, seed: int, directory: str) -> dict[str, Any]:
    """Fine-tuning (SimCLR, Appendix B.5), or the same network from scratch, on all labels or on a few.

    The list of the chosen examples is written beside the checkpoints, as chosen.json.
    """
    subset = labelled_part(context, protocol, seed)
    source = context.splits.train if subset is None else subset.source
    settings = context.protocols
    share = source.num_examples / context.splits.train.num_examples
    training = Training(
        source=source,
        seed=seed,
        epochs=settings.finetune_epochs or (EPOCHS_FEW if share <= FEW_LABELS else EPOCHS_MORE),
        learning_rate=settings.finetune_learning_rate,
        pretrained=True,
    )
    if not protocol.pretrained:
        if not settings.supervised_epochs and not context.pictures_seen:
            raise InputError(
                "`supervised_epochs` must be given: a baseline is trained on as many images as the pretraining saw, "
                f"which {context.prefix} does not say. Received: supervised_epochs=0. Pass --supervised_epochs"
            )
        training = replace(
            training,
            epochs=settings.supervised_epochs or context.pictures_seen / source.num_examples,
            learning_rate=settings.supervised_learning_rate,
            weight_decay=settings.supervised_weight_decay,
            warmup=SUPERVISED_WARMUP,
            pretrained=False,
        )

    def write_list() -> None:
        if subset is not None:
            tf.io.gfile.makedirs(directory)
            write_chosen(os.path.join(directory, "chosen.json"), subset)

    model, done = trained_model(context, training, directory, write_list)
    return evaluated_on(context, model, context.splits.test, done)


def labelled_part(context: EvaluationContext, protocol: LabelledTraining, seed: int) -> Subset | None:
    """The examples whose labels a protocol may use; None for all of them."""
    if protocol.whole:
        return None
    return class_balanced(context.splits.train, fraction=protocol.fraction, per_class=protocol.per_class, seed=seed)
