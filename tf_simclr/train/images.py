"""Which splits a run opens, and what it needs of them; known without TensorFlow, and checked before it is imported."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from tf_simclr.config import FOLDER, DataConfig, ExperimentConfig
from tf_simclr.config.paths import absolute
from tf_simclr.data.folder_splits import ListedSplits, list_folder
from tf_simclr.data.known_data import KnownSplits, known_splits
from tf_simclr.data.known_split import KnownSplit
from tf_simclr.data.request import request_of
from tf_simclr.data.splits import OverlapError
from tf_simclr.errors import InputError

_Splits = TypeVar("_Splits", bound=Any)
# What a folder calls its held-out images, or what is held out of one without splits.
ONLINE_EVAL_SPLIT = "validation"


def evaluates(config: ExperimentConfig) -> bool:
    """Whether a command evaluates anything, while it trains or afterwards."""
    return config.runtime.mode != "train" or config.evaluation.eval_every_epochs > 0


def splits_of_run(config: ExperimentConfig, opened: Callable[[str | None], _Splits]) -> _Splits:
    """The splits of a run.

    One that evaluates nothing may be evaluated later on --eval_split, which must not share images with what it is
    trained on. A data set without such a split is fine there.

    Args:
        config: of the run.
        opened: opens or lists the training split, and beside it the evaluation split of this name, or none.

    Raises:
        InputError: as `opened`.
    """
    try:
        return opened(config.data.eval_split)
    except OverlapError:
        raise
    except InputError:
        if evaluates(config):
            raise
        return opened(None)


def known_images(config: ExperimentConfig) -> KnownSplits | None:
    """Looks at the splits of a run, and whether they have the labels that it needs.

    Returns:
        None for a data set that cannot be looked at without TensorFlow.

    Raises:
        InputError: anything wrong with the data.
    """
    known = splits_of_run(config, lambda eval_split: known_splits(config.data, eval_split=eval_split))
    if known is not None:
        require_needed_labels(config, known.train)
    splits_of_online_data(config, _listed_folder)
    return known


def _listed_folder(data: DataConfig, eval_split: str) -> ListedSplits:
    return list_folder(request_of(data, eval_split=eval_split))


def splits_of_online_data(config: ExperimentConfig, opened: Callable[[DataConfig, str], _Splits]) -> _Splits | None:
    """The splits of --online_data_dir, on which h is evaluated in place of the run's own images; None without it.

    Args:
        config: of the run.
        opened: opens or lists the training split of a folder, and beside it the evaluation split of this name.

    Raises:
        InputError: no such folder, as `opened`, or no labels of two or more classes.
    """
    folder = config.evaluation.online_data_dir
    if not folder:
        return None
    if not os.path.isdir(absolute(folder)):
        raise InputError(f"There is no such folder: check --online_data_dir. Received: online_data_dir={folder!r}")
    data = replace(config.data, dataset=FOLDER, data_dir=folder, labels=None, train_split="train", hold_out_by="hash")
    try:
        splits = opened(data, ONLINE_EVAL_SPLIT)
    except InputError as error:
        raise InputError(f"--online_data_dir={folder}: {error}") from error
    train: KnownSplit = splits.train
    if not train.labelled or train.num_classes < 2:
        kind = "one class" if train.labelled else "no labels"
        raise InputError(
            "`online_data_dir` must be a folder of images with labels: one folder for each of two or more classes. "
            f"Received: online_data_dir={folder}, with {kind}. Sort its images, or leave it out"
        )
    return splits


def require_needed_labels(config: ExperimentConfig, train: KnownSplit) -> None:
    """Raises InputError where a run needs one label an image, and the images have none, or several."""
    supervised = config.train.train_mode == "pretrain" and config.loss.loss == "supcon"
    if train.labelled and not (supervised and train.num_classes < 2):
        return
    several = train.num_classes > 0
    kind = "of one class" if train.labelled else "with several classes each" if several else "without labels"
    if config.train.train_mode == "finetune":
        remedy = "Choose a data set with one class an image" if several else "Sort the images into one folder a class"
        raise InputError(
            f"`train_mode` must be pretrain for images {kind}. Received: train_mode=finetune, "
            f"dataset={train.name}. {remedy}, or pass --train_mode=pretrain"
        )
    if supervised:
        raise InputError(
            f"`loss` must not be supcon for images {kind}: it needs one of two or more classes an image. Received: "
            f"loss=supcon, dataset={train.name}. Pass --loss=nt_xent, or choose a data set with one class an image"
        )
    if config.train.untrained_baseline:
        raise InputError(
            f"`untrained_baseline` needs one label an image. Received: dataset={train.name}, images {kind}. Pass "
            "--untrained_baseline=False"
        )
