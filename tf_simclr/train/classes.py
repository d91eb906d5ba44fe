"""The classes of a run by name: a head means nothing without them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from tf_simclr.config import ExperimentConfig
from tf_simclr.data.class_order import describe_difference, positions, with_class_order
from tf_simclr.data.source import ImageSource
from tf_simclr.errors import InputError
from tf_simclr.train.build import Data
from tf_simclr.train.checkpoint_files import PREFIX
from tf_simclr.train.manifest import class_names_of

_SHOWN = 10


def head_classes(config: ExperimentConfig, source: ImageSource) -> tuple[str, ...]:
    """The classes of the supervised head of a run, in the order of its logits; empty without a head."""
    has_head = config.train.trains_classifier or config.train.lineareval_while_pretraining
    return source.class_names if has_head and source.labelled else ()


def in_order_of(
    names: Sequence[str] | None, config: ExperimentConfig, data: Data, place: str
) -> tuple[Data, list[str]]:
    """The splits with their labels counted as a run's checkpoints count them.

    Args:
        names: of the classes in the run's checkpoints; None where they do not say.
        config: of the command.
        data: its splits.
        place: of the checkpoints, for messages.

    Returns:
        the splits, and lines that a person should see.

    Raises:
        InputError: the classes have other names.
    """
    own = head_classes(config, data.train)
    if names is None:
        unknown = f"the checkpoints in {place} do not name their classes: they are taken for those of {data.train.name}"
        return data, [f"{unknown}, in this order: {_some(own)}"] * bool(own)
    if tuple(names) != own and positions(own, names) is None:
        raise InputError(
            f"`dataset` must have the classes that the run in {place} was trained with. Received: "
            f"{describe_difference(names, own)}. Give the classes their names again; for a head of other classes pass "
            f"--train_mode=finetune --checkpoint={place} with another --model_dir"
        )
    if not own:
        return data, []
    evaluation = data.evaluation
    if evaluation is not None and evaluation.class_names:
        evaluation = with_class_order(evaluation, names)
    ordered = replace(data, train=with_class_order(data.train, names), evaluation=evaluation)
    changed = tuple(names) != own
    return ordered, [f"labels are counted in the order of the run's checkpoints: {_some(names)}"] * changed


def require_order_of(directory: str, step: int, names: Sequence[str]) -> None:
    """Raises InputError where the checkpoint of a step counts its labels in another way."""
    there = class_names_of(os.path.join(directory, f"{PREFIX}-{step}"))
    if there is not None and there != tuple(names):
        raise InputError(
            f"`source` must have the classes of the checkpoints in {directory}, in their order. Received: "
            f"{_some(names)}, where they have {_some(there)}. Use data.class_order.with_class_order, or another "
            "directory"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
