"""Flags of the network that a fine-tuning begins with: those that are not given come from its checkpoint."""

from __future__ import annotations

import dataclasses
from typing import Any

from tf_simclr.cli import flags
from tf_simclr.cli.completion import recorded_run
from tf_simclr.cli.main import say
from tf_simclr.config.paths import absolute
from tf_simclr.errors import InputError
from tf_simclr.evaluate.recorded import recorded_config
from tf_simclr.train import checkpoints

# What shapes do not show of an encoder: with another value it would be read without an error, and compute otherwise.
_UNSEEN = ("pool_padding", "input_mean", "input_std")
TAKEN = (
    *("resnet_depth", "width_multiplier", "sk_ratio", "se_ratio", "stem", "identity_shortcut", *_UNSEEN),
    *("proj_head_mode", "proj_out_dim", "num_proj_layers", "proj_head_offset", "image_size"),
)


def with_network_of_checkpoint(parsed: flags.ParsedFlags) -> tuple[flags.ParsedFlags, list[str]]:
    """Fills in the network's flags for fine-tuning or distilling from a checkpoint, where they were not given.

    A run that goes on takes them from its own directory, since its checkpoint may have moved meanwhile. A checkpoint
    that does not say how it was built leaves the command as it is.

    Args:
        parsed: the command, complete otherwise.

    Returns:
        the command, and lines that a person should see.

    Raises:
        InputError: there is no checkpoint, or a given flag means another encoder.
    """
    values = parsed.values
    if values["train_mode"] == "pretrain" or not values["checkpoint"] or values["mode"] == "eval":
        return parsed, []
    begun = None if values["overwrite"] else recorded_run(values["model_dir"])
    if begun is not None and begun[1].get("checkpoint") == absolute(values["checkpoint"]):
        place, network = begun
    else:
        place = values["checkpoint"]
        say(f"reading the network of {place}")
        network = _network_of(place, parsed)
    taken = {
        name: network[name]
        for name in TAKEN
        if name in network and name not in parsed.given and network[name] != values[name]
    }
    if not taken:
        return parsed, []
    words = " ".join(f"--{name}={value}" for name, value in taken.items())
    return dataclasses.replace(parsed, values=values | taken), [f"taken from {place}: {words}"]


def _network_of(checkpoint: str, parsed: flags.ParsedFlags) -> dict[str, Any]:
    """The flags of a checkpoint's network; empty where nothing says them."""
    prefix = checkpoints.resolve(checkpoint, lambda line: None)  # the training says which are damaged
    origin = recorded_config(prefix)
    if origin is None:
        return {}
    network = origin.to_flags() | {"stem": origin.model.stem_for(origin.data.image_size)}
    assumed = _assumed(prefix)
    for name in _UNSEEN:
        if name in parsed.given and name not in assumed and parsed.values[name] != network[name]:
            raise InputError(
                f"`{name}` must be that of the checkpoint's encoder. Received: {name}={parsed.values[name]!r}, where "
                f"{checkpoint} has {network[name]!r}. Leave --{name} out"
            )
    return network


def _assumed(prefix: str) -> frozenset[str]:
    """Flags that the checkpoint does not record; none of a checkpoint of ours."""
    if checkpoints.foreign_at(prefix) is None:
        return frozenset()
    from tf_simclr.weights.foreign import ASSUMED  # imports TensorFlow, which takes seconds

    return ASSUMED
