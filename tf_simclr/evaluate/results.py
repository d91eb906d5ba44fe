"""Result files of a run: result.json and result_<step>.json."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from tf_simclr.config import ExperimentConfig
from tf_simclr.data.source import ImageSource
from tf_simclr.files import read_json, to_json, write_json
from tf_simclr.train.checkpoint_files import PREFIX

EVALUATED_ON = "evaluated_on"
_NOT_FIGURES = (EVALUATED_ON, "global_step")
_DIGITS = 16


class Results(NamedTuple):
    """What the result files of a step hold now.

    Attributes:
        figures: all that are known of the step's network on these images, by name.
        kept: name of the file that has the figures of other images or networks; None where there were none.
    """

    figures: dict[str, float]
    kept: str | None


def describe_evaluation(
    config: ExperimentConfig,
    step: int,
    source: ImageSource | None,
    online: tuple[ImageSource, ImageSource | None] | None = None,
) -> dict[str, Any]:
    """What the figures of a step depend on, as JSON values: two evaluations with the same have comparable figures.

    Args:
        config: of the run; its directory holds the checkpoint of the step.
        step: of the network.
        source: the images; None without any.
        online: gallery and queries of kNN and the linear classifier on h; None where they are of the run's own images.

    Returns:
        "checkpoint", a digest that changes with any value of the network ("" where the file is gone), "location",
        "split" and "fingerprint" of the images, and what is seen of them; with `online`, "online" says
        the same of these.
    """
    values = {
        "checkpoint": _digest_of_index(os.path.join(config.runtime.directory, f"{PREFIX}-{step}.index")),
        **_described(source),
        "eval_crop": config.data.crop_of_evaluation,
        "eval_steps": config.evaluation.eval_steps,
    }
    if online is not None:
        values["online"] = [_described(source) for source in online]
    return values


def _described(source: ImageSource | None) -> dict[str, Any]:
    return {
        "location": None if source is None else source.location,
        "split": "" if source is None else source.split,
        "fingerprint": "" if source is None else source.fingerprint,
    }


def _digest_of_index(path: str) -> str:
    """The digest of the small file of a checkpoint that holds the check sums of its values."""
    if not tf.io.gfile.exists(path):
        return ""
    with tf.io.gfile.GFile(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:_DIGITS]


def write_results(model_dir: str, step: int, metrics: Mapping[str, float], evaluated_on: Mapping[str, Any]) -> Results:
    """Writes metrics of a step into result_<step>.json and, as the newest, result.json; adds "global_step".

    Figures of the same network on the same images that are there already stay beside them. Where they are of others,
    or do not say of which, the old file is kept under another name.

    Args:
        model_dir: the run's directory.
        step: of the network.
        metrics: figures by name.
        evaluated_on: what they depend on, see `describe_evaluation`; stands in the files under that name.
    """
    place = os.path.join(model_dir, f"result_{step}.json")
    before = _read(place)
    known = {name: value for name, value in before.items() if name not in _NOT_FIGURES}
    kept = None
    if evaluated_on["checkpoint"] and _same(before.get(EVALUATED_ON), evaluated_on):
        figures = {**known, **metrics}
    else:
        figures = dict(metrics)
        if any(figures.get(name) != value for name, value in known.items()):
            kept = f"result_{step}.{hashlib.sha256(to_json(before).encode()).hexdigest()[:8]}.json"
            write_json(os.path.join(model_dir, kept), before)
    values = {**figures, "global_step": step, EVALUATED_ON: dict(evaluated_on)}
    write_json(place, values)
    write_json(os.path.join(model_dir, "result.json"), values)
    return Results(figures, kept)


def _same(one: Mapping[str, Any] | None, other: Mapping[str, Any]) -> bool:
    """Whether two evaluations are of the same network and images; a folder that moved has the same."""
    return one is not None and _without_locations(one) == _without_locations(other)


def _without_locations(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {name: _without_locations(value) for name, value in values.items() if name != "location"}
    return [_without_locations(value) for value in values] if isinstance(values, list) else values


def _read(place: str) -> dict[str, Any]:
    try:
        return read_json(place) or {}
    except ValueError:  # damaged: there is nothing to keep
        return {}
