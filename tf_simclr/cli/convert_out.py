"""Writes trained networks in a format of other programs."""

from __future__ import annotations

import os

from tf_simclr.config import CARD_FILE, ConvertConfig
from tf_simclr.config.identity import recorded_flags
from tf_simclr.evaluate.load import Trained, load_trained, step_of
from tf_simclr.files import read_json
from tf_simclr.interop.card import ModelCard
from tf_simclr.interop.formats.source import Source
from tf_simclr.interop.formats.write import require_possible, write_format
from tf_simclr.train import checkpoints


def convert_out(config: ConvertConfig) -> tuple[tuple[str, ...], int]:
    """Writes `config.output`.

    Returns:
        what is to be known of it, in lines, and the step of the networks.

    Raises:
        InputError: there is no checkpoint, a package is missing, or the networks have no place in the format. Nothing
            is written then.
    """
    assert config.checkpoint and config.output
    require_possible(config.to, config.output)
    trained = load_trained(config.checkpoint)
    source = Source(
        trained.model,
        _card(trained),
        trained.config.model,
        tflite_type=config.tflite_type,
        calibration_dir=config.calibration_dir,
        license=config.license,
    )
    foreign = checkpoints.foreign_at(trained.prefix)
    described = [] if foreign is None else foreign.describe()
    return (*described, *write_format(config.to, source, config.output)), source.card.step


def _card(trained: Trained) -> ModelCard:
    config, step = trained.config, step_of(trained.prefix)
    return ModelCard(
        image_size=config.data.image_size,
        step=step,
        dataset=config.data.dataset,
        class_names=trained.class_names,
        config=recorded_flags(config),
        metrics=_metrics(trained.prefix, step),
        eval_crop=config.data.eval_crop,
    )


def _metrics(prefix: str, step: int) -> dict[str, float]:
    """The figures of the step: from the files of its run, or from the card of an export."""
    directory = os.path.dirname(prefix)
    if prefix.endswith(checkpoints.SAVED_MODEL_VALUES):
        found = (read_json(os.path.join(os.path.dirname(directory), CARD_FILE)) or {}).get("metrics", {})
    else:
        found = read_json(os.path.join(directory, f"result_{step}.json")) or {}
    numbers = {name: value for name, value in found.items() if isinstance(value, int | float)}
    return {name: value for name, value in numbers.items() if name != "global_step"}
