"""Reads weights of another program and writes them as a run's, or a run's in the format of another program."""

from __future__ import annotations

from dataclasses import dataclass

from tf_simclr.cli.convert_out import export
from tf_simclr.cli.main import say
from tf_simclr.cli.task import exit_code_of
from tf_simclr.config import ConvertConfig, build_config
from tf_simclr.config.convert import RUN
from tf_simclr.errors import InputError, StoppedError
from tf_simclr.interop.converted import require_new, write_converted
from tf_simclr.train import checkpoints
from tf_simclr.train.interrupts import StopRequest
from tf_simclr.weights.foreign import Foreign


@dataclass(frozen=True)
class ConvertResult:
    """What a conversion wrote.

    Attributes:
        directory: that was written, `output`.
        lines: what was found, assumed and left out, and what is to be known of an export.
        exit_code: of the program that does the same.
    """

    directory: str
    lines: tuple[str, ...]
    exit_code: int = 0


def run(config: ConvertConfig) -> ConvertResult:
    """Converts weights.

    Args:
        config: which, and what their file does not say.

    Raises:
        InputError: they cannot be read, have no place in a network of ours, or the output is not new. Nothing is
            written then.
    """
    assert config.checkpoint and config.output
    stop = StopRequest()
    try:
        with stop.watch(), stop.at_once():
            return _convert(config)
    except StoppedError:
        name, code = exit_code_of(stop)
        say(f"{name} received: nothing is written to {config.output}; run the same command again")
        return ConvertResult(config.output, (), code)


def _convert(config: ConvertConfig) -> ConvertResult:
    assert config.checkpoint and config.output
    if config.to != RUN:
        return ConvertResult(config.output, export(config))
    require_new(config.output)
    foreign, said = _read(config), config.said
    if "ft_proj_selector" in said:
        foreign = foreign.with_selector(said["ft_proj_selector"])
    experiment = build_config({**foreign.flags(), **said, "model_dir": config.output})
    lines = tuple(foreign.describe(given=said))
    for line in lines:
        say(line)
    write_converted(foreign, experiment, config.output, lines)
    say(f"{len(foreign.shapes)} variables written to {config.output}")
    return ConvertResult(config.output, lines)


def _read(config: ConvertConfig) -> Foreign:
    prefix = checkpoints.resolve(config.checkpoint or "", say)
    foreign = checkpoints.foreign_at(prefix, ema=config.ema)
    if foreign is None:
        raise InputError(
            f"`checkpoint` must be of another program. Received: {config.checkpoint}, which this program wrote. Pass "
            "it to run.py, evaluate or tf_simclr.load as it is, or say with --to which format to write"
        )
    return foreign
