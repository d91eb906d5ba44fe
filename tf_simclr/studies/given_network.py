"""The networks of a checkpoint, which a study measures in place of those that it would train."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tf_simclr.config import ExperimentConfig
from tf_simclr.errors import InputError
from tf_simclr.evaluate.features import model_digest
from tf_simclr.evaluate.load import load_trained
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.train import checkpoints

# What decides the networks, and what they see.
_OF_NETWORK = (
    *("resnet_depth", "width_multiplier", "sk_ratio", "se_ratio", "stem", "pool_padding", "identity_shortcut"),
    *("input_mean", "input_std", "proj_head_mode", "proj_out_dim", "num_proj_layers", "proj_head_offset"),
)


@dataclass(frozen=True)
class GivenNetwork:
    """Networks that were trained elsewhere.

    Attributes:
        model: the networks.
        flags: that decide them, and the size of their images.
        digest: of their values.
    """

    model: SimCLRModel
    flags: Mapping[str, Any]
    digest: str


def open_network(
    checkpoint: str, given: Mapping[str, Any], strategy: tf.distribute.Strategy, say: Callable[[str], None]
) -> GivenNetwork:
    """Reads the networks that a study measures.

    Args:
        checkpoint: directory of a run, prefix of a checkpoint, exported SavedModel, or weights of another program.
        given: flags of the command line, by name.
        strategy: the devices.
        say: receives what was assumed of another program's weights.

    Raises:
        InputError: there is no checkpoint, one without a projection head, or a flag of the network is given.
    """
    with strategy.scope():
        trained = load_trained(checkpoint)
    foreign = checkpoints.foreign_at(trained.prefix)
    for line in [] if foreign is None else foreign.describe():
        say(line)
    _require_head(trained.config, checkpoint)
    both = sorted(set(_OF_NETWORK) & set(given))
    if both:
        raise InputError(
            f"`{both[0]}` must be left out with --checkpoint, which decides the network. Received: "
            f"{both[0]}={given[both[0]]}, checkpoint={checkpoint}. Leave it out"
        )
    flags = {name: value for name, value in trained.config.to_flags().items() if name in _OF_NETWORK}
    return GivenNetwork(
        trained.model,
        {**flags, "image_size": given.get("image_size", trained.config.data.image_size)},
        model_digest(trained.model),
    )


def _require_head(config: ExperimentConfig, checkpoint: str) -> None:
    if config.model.proj_head_mode == "none":
        raise InputError(
            "`checkpoint` must have a projection head, since this study compares h with g(h). Received: "
            f"{checkpoint}, without one. Take weights of a pretraining"
        )
