"""What a network learns from 1% and 10% of the labels, fine-tuned after pretraining or from scratch (Table 7).

Fine-tuning and training from scratch are those of `python -m tf_simclr evaluate` (finetune_1pct, supervised_1pct), with
the batch of the study.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from tf_simclr.config import ExperimentConfig, LabelledTraining, ProtocolConfig
from tf_simclr.config.protocols import read_labelled_training
from tf_simclr.data.source import ImageSource
from tf_simclr.data.subset import class_balanced
from tf_simclr.evaluate.protocols.context import EvaluationContext, WorkContext
from tf_simclr.evaluate.protocols.whole_network import with_labels
from tf_simclr.studies.scales import SCALES

# Amounts of labels, as protocols name them, and at most how many epochs a network is trained on them from scratch: with
# as many images as pretraining takes, 1% of ImageNet would be seen a hundred thousand times.
AMOUNTS = {"1pct": 1000.0, "10pct": 200.0}


def trainings(*, pretrained: bool) -> dict[str, LabelledTraining]:
    """The trainings of a cell by amount of labels."""
    kind = "finetune" if pretrained else "supervised"
    found = {amount: read_labelled_training(f"{kind}_{amount}") for amount in AMOUNTS}
    return {amount: training for amount, training in found.items() if training is not None}


def settings(scale: str, config: ExperimentConfig) -> ProtocolConfig:
    """How networks are trained with labels at a scale."""
    return ProtocolConfig(
        checkpoint=config.runtime.model_dir or ".",
        finetune_epochs=SCALES[scale].finetune_epochs,
        finetune_batch_size=max(2, config.data.train_batch_size),
    )


def require_enough_labels(source: ImageSource, seed: int) -> None:
    """Raises InputError where an amount of labels leaves a class without an image."""
    for training in trainings(pretrained=True).values():
        class_balanced(source, fraction=training.fraction, seed=seed)


def few_label_measures(
    context: WorkContext, scale: str, config: ExperimentConfig, prefix: str, pictures_seen: int, *, pretrained: bool
) -> dict[str, float]:
    """Trains on each amount of labels, and measures the network on the test images.

    Args:
        context: images and devices.
        scale: of the study.
        config: of the pretraining; its directory holds what is trained, its seed chooses the labels.
        prefix: the checkpoint of the pretraining; not read without `pretrained`.
        pictures_seen: by the pretraining of the scale.
        pretrained: whether the network starts from the checkpoint.

    Returns:
        "top_1_1pct" and so on, in [0, 1].

    Raises:
        InputError: it cannot be trained so, or it diverged.
        StoppedError: somebody asked to stop.
    """
    found: dict[str, float] = {}
    for amount, training in trainings(pretrained=pretrained).items():
        labels = round((training.fraction or 1.0) * context.splits.train.num_examples)
        epochs = min(pictures_seen / labels, AMOUNTS[amount])
        evaluation = EvaluationContext(
            **{name: getattr(context, name) for name in ("splits", "strategy", "stop", "reporter")},
            protocols=replace(settings(scale, config), supervised_epochs=epochs),
            data=config.data,
            runtime=config.runtime,
            origin=config,
            prefix=prefix,
            pictures_seen=pictures_seen,
        )
        context.reporter.say(f"{training.name}: {labels} labels of {context.splits.train.num_examples}")
        directory = os.path.join(config.runtime.directory, training.name)
        record: dict[str, Any] = with_labels(evaluation, training, seed=config.runtime.seed, directory=directory)
        found |= {f"{name}_{amount}": value for name, value in record["metrics"].items() if name in ("top_1", "top_5")}
    return found
