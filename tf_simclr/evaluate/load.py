"""Trained networks from wherever they were left: a run's directory, one of its checkpoints, or an export."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tf_simclr import compat
from tf_simclr.config import FLAGS_FILE, ExperimentConfig, known_flags, of_recorded
from tf_simclr.config.identity import read_recorded
from tf_simclr.errors import InputError
from tf_simclr.files import read_json
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.train import checkpoints
from tf_simclr.train.build import build_networks
from tf_simclr.train.finite import require_finite_network
from tf_simclr.train.manifest import class_names_of, read_card
from tf_simclr.weights import locate

HEAD = "supervised_head/dense/kernel"


@dataclass(frozen=True)
class Trained:
    """Networks as they were trained, in float32, with everything unfrozen.

    Attributes:
        model: encoder, projection head and, where there was one, supervised head.
        config: of the run that made them.
        prefix: of the checkpoint the values were read from.
        class_names: of the supervised head, in the order of its logits; empty without a head, or where the checkpoint
            does not say.
    """

    model: SimCLRModel
    config: ExperimentConfig
    prefix: str
    class_names: tuple[str, ...] = ()


def _recorded_flags(prefix: str) -> dict[str, Any] | None:
    """The flags of the run behind a checkpoint: beside it, in an export's card, or as other weights imply; or None."""
    other = checkpoints.foreign_at(prefix)
    if other is not None:
        return other.flags()
    flags = read_json(os.path.join(os.path.dirname(prefix), FLAGS_FILE))
    if flags is None and prefix.endswith(checkpoints.SAVED_MODEL_VALUES):
        flags = read_card(prefix).get("config")
    if not flags:
        return None
    # A flag that a later version dropped says nothing of the networks.
    return {name: value for name, value in of_recorded(flags).items() if name in known_flags()}


def read_config(checkpoint: str, warn: Callable[[str], None] = warnings.warn) -> tuple[ExperimentConfig, str]:
    """The config of the run behind a checkpoint, and the checkpoint's prefix; no network is built.

    Args:
        checkpoint: directory of a run, prefix of a checkpoint, exported SavedModel, or weights of another program.
        warn: receives a line for each damaged checkpoint of a directory that is passed over for the one before it.

    Raises:
        InputError: there is no checkpoint, the one that is named is damaged, or nothing says how its networks were
            built.
    """
    prefix = checkpoints.resolve(checkpoint, warn)
    config = recorded_config(prefix)
    if config is None:
        raise InputError(
            f"`checkpoint` must lie beside the {FLAGS_FILE} of its run, or be an export that records its flags. "
            f"Received: {prefix}, without either. Copy {FLAGS_FILE} there, or pass the run's directory"
        )
    return config, prefix


def recorded_config(prefix: str) -> ExperimentConfig | None:
    """The config of the run behind the prefix of a checkpoint; None where nothing says how its networks were built."""
    flags = _recorded_flags(prefix)
    return None if flags is None else read_recorded(flags, f"what is recorded beside {prefix}")


def step_of(prefix: str) -> int:
    """The training step of a checkpoint's prefix, or of an export's values; 0 where another program's does not say."""
    if checkpoints.foreign_at(prefix) is not None:
        return locate.step_of(prefix)
    if not prefix.endswith(checkpoints.SAVED_MODEL_VALUES):
        return checkpoints.step_of(prefix)
    return int(read_card(prefix).get("step", 0))


def load_trained(checkpoint: str, *, values: bool = True) -> Trained:
    """Builds the networks behind a checkpoint and reads their values.

    Args:
        checkpoint: as in `read_config`.
        values: False leaves the networks as they are initialised: the untrained encoder to compare with.

    Raises:
        InputError: as `read_config`, or values that are damaged or do not fit.
        DivergedError: a value is not finite, or what the networks compute from an image is not.
    """
    config, prefix = read_config(checkpoint)
    stored = checkpoints.shapes_in(prefix)
    # Float32 whatever the run computed in: features should not depend on the machine that reads them.
    plain = replace(
        config,
        train=replace(config.train, fine_tune_after_block=-1),
        runtime=replace(config.runtime, precision="float32"),
    )
    model = build_networks(plain, num_classes=stored[HEAD][1] if HEAD in stored else 0)
    if values:
        variables = {path: compat.raw_variable(v) for path, v in model.named_variables().items()}
        checkpoints.check_matches(prefix, variables, stored, exact_parts=["encoder", "projection_head"])
        checkpoints.read_into(prefix, variables)
        require_finite_network(model, image_size=config.data.image_size, what=f"the network in {prefix}")
    return Trained(model, config, prefix, class_names_of(prefix) or ())
