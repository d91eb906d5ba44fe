"""Reads --study_datasets: names in configs/transfer, names of TensorFlow Datasets, and folders."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tf_simclr.cli import evaluate_flags, flags
from tf_simclr.config import FOLDER, SHAPES, DataConfig
from tf_simclr.config.option import listed
from tf_simclr.config.paths import absolute
from tf_simclr.config.protocols import METRICS
from tf_simclr.errors import InputError, require_choice
from tf_simclr.studies.transfer_sets import TransferSet

_CONFIGS = flags.CONFIGS / "transfer"
_TAKEN = ("dataset", "data_dir", "train_split", "eval_split")


def transfer_sets(names: str, study_flags: Mapping[str, Any]) -> tuple[TransferSet, ...]:
    """The data sets of --study_datasets, or all of configs/transfer where none is named.

    Args:
        names: of the flag.
        study_flags: of the study; where its own images are of TensorFlow Datasets, the others are in its data_dir.

    Raises:
        InputError: a name that is no data set, or two of one name.
    """
    wanted = listed("study_datasets", names, str) if names else sorted(path.stem for path in _CONFIGS.glob("*.cfg"))
    place = study_flags.get("data_dir") if study_flags.get("dataset") not in (FOLDER, SHAPES) else None
    found = [_set_of(name, place) for name in wanted]
    known = [one.name for one in found]
    twice = sorted({name for name in known if known.count(name) > 1})
    if twice:
        raise InputError(
            f"`study_datasets` must have a name of its own for each data set. Received: {', '.join(twice)} more than "
            "once. Rename a folder"
        )
    return tuple(found)


def _set_of(text: str, place: str | None) -> TransferSet:
    name, metric = _with_metric(text)
    config = _CONFIGS / f"{name}.cfg"
    if os.path.isdir(os.path.expanduser(name)):
        folder = absolute(os.path.expanduser(name))
        splits = {"train_split": "train", "eval_split": "test"}
        return TransferSet(
            os.path.basename(folder), {"dataset": FOLDER, "data_dir": folder, **splits}, metric or "top_1"
        )
    in_place = {"data_dir": place} if place else {}
    if config.is_file():
        values = flags.parse([f"--flagfile={config}"], evaluate_flags.FLAG_GROUPS).values
        its = {flag: values[flag] for flag in _TAKEN if values[flag]}
        return TransferSet(name, its | in_place, metric or values["metric"], values["validation_split"])
    if os.sep in name and (name.startswith((os.sep, ".", "~")) or name.endswith(os.sep)):
        raise InputError(f"`study_datasets` must name folders that exist. Received: {name}. Check the path")
    splits = {"train_split": DataConfig.train_split, "eval_split": "test"}
    return TransferSet(name.replace("/", "_"), {"dataset": name, **splits, **in_place}, metric or "top_1")


def _with_metric(text: str) -> tuple[str, str]:
    """The name, and what stands behind its last @; empty for none."""
    name, at, metric = text.strip().rpartition("@")
    if not at:
        return metric, ""
    require_choice("study_datasets ...@METRIC", metric, METRICS)
    return name, metric
