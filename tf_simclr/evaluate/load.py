"""Trained networks from wherever they were left: a run's directory, one of its checkpoints, or an export."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tf_simclr import compat
from tf_simclr.config import ExperimentConfig
from tf_simclr.evaluate.recorded import read_config as read_config
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
