"""Writes weights of another program as a run's directory."""

from __future__ import annotations

from tf_simclr.cli.main import say
from tf_simclr.config import ConvertConfig, build_config
from tf_simclr.errors import InputError
from tf_simclr.interop.converted import write_converted
from tf_simclr.train import checkpoints
from tf_simclr.weights.foreign import Foreign


def convert_in(config: ConvertConfig) -> tuple[str, ...]:
    """Writes `config.output`, and says and returns what was found, assumed and left out, in lines.

    Raises:
        InputError: the weights cannot be read, or have no place in a network of ours. Nothing is written then.
    """
    assert config.output
    foreign, said = _read(config), config.said
    if "ft_proj_selector" in said:
        foreign = foreign.with_selector(said["ft_proj_selector"])
    experiment = build_config({**foreign.flags(), **said, "model_dir": config.output})
    lines = tuple(foreign.describe(given=said))
    for line in lines:
        say(line)
    write_converted(foreign, experiment, config.output, lines)
    say(f"{len(foreign.shapes)} variables written to {config.output}")
    return lines


def _read(config: ConvertConfig) -> Foreign:
    prefix = checkpoints.resolve(config.checkpoint or "", say)
    foreign = checkpoints.foreign_at(prefix, ema=config.ema)
    if foreign is None:
        raise InputError(
            f"`checkpoint` must be of another program. Received: {config.checkpoint}, which this program wrote. Pass "
            "it to run.py, evaluate or tf_simclr.load as it is, or say with --to which format to write"
        )
    return foreign
