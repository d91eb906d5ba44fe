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
_TAKEN = ("dataset", "train_split", "eval_split")
# Of sets that no config describes.
_SPLITS = {"train_split": DataConfig.train_split, "eval_split": "test"}


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
    folder = os.path.expanduser(name)
    if os.path.isdir(folder):
        return _folder(absolute(folder), metric)
    config = _config(name)
    if config is not None and config["dataset"] == FOLDER:
        if not place or not os.path.isdir(os.path.join(place, name)):
            raise InputError(
                f"`study_datasets` takes {name} from a folder of this name in --data_dir, since TensorFlow Datasets "
                f"does not have it. Received: data_dir={place}. Pass the folder in place of the name, or leave it out"
            )
        return _folder(absolute(os.path.join(place, name)), metric)
    in_place = {"data_dir": place} if place else {}
    if config is not None:
        its = {flag: config[flag] for flag in _TAKEN} | in_place
        return TransferSet(name, its, metric or config["metric"], config["validation_split"], config["dataset"])
    if folder.startswith((os.sep, ".")) or folder.endswith(os.sep):
        raise InputError(f"`study_datasets` must name folders that exist. Received: {name}. Check the path")
    its = {"dataset": name, **_SPLITS, **in_place}
    return TransferSet(name.replace("/", "_"), its, metric or METRICS[0], known_as=name)


def _folder(place: str, metric: str) -> TransferSet:
    """A folder; one with the name of a data set that the paper has, and TensorFlow Datasets not, is taken for it."""
    name = os.path.basename(place)
    config = _config(name) or {}
    known = config.get("dataset") == FOLDER
    metric = metric or (config["metric"] if known else METRICS[0])
    its = {"dataset": FOLDER, "data_dir": place, **_SPLITS}
    return TransferSet(name, its, metric, known_as=name if known else "")


def _config(name: str) -> dict[str, Any] | None:
    """The flags of a data set in configs/transfer."""
    path = _CONFIGS / f"{name}.cfg"
    return flags.parse([f"--flagfile={path}"], evaluate_flags.FLAG_GROUPS).values if path.is_file() else None


def _with_metric(text: str) -> tuple[str, str]:
    """The name, and what stands behind its last @; empty for none."""
    name, at, metric = text.strip().rpartition("@")
    if not at:
        return metric, ""
    require_choice("study_datasets ...@METRIC", metric, METRICS)
    return name, metric
