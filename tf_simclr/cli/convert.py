"""Reads weights of another program and writes them as a run's, or a run's in the format of another program."""

from __future__ import annotations

import os
from dataclasses import dataclass

from tf_simclr.cli.main import say
from tf_simclr.config import ConvertConfig
from tf_simclr.config.convert import RUN, TFLITE
from tf_simclr.errors import StoppedError
from tf_simclr.interop.new_directory import require_new
from tf_simclr.train.interrupts import StopRequest, exit_code_of


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
            require_new(config.output)
            return ConvertResult(config.output, _converted(config))
    except StoppedError:
        name, code = exit_code_of(stop)
        say(f"{name} received: nothing is written to {config.output}; run the same command again")
        return ConvertResult(config.output, (), code)


def _converted(config: ConvertConfig) -> tuple[str, ...]:
    """Writes `config.output`, says what is to be known, and returns it in lines. TensorFlow is imported by most."""
    if config.to == RUN:
        from tf_simclr.cli.convert_in import convert_in

        return convert_in(config)
    if config.to == TFLITE:
        from tf_simclr.cli.convert_tflite import convert_out
    else:
        from tf_simclr.cli.convert_out import convert_out
    lines, step = convert_out(config)
    for line in lines:
        say(line)
    example = os.path.join(config.output or "", "example.py")
    say(f"step {step} written to {config.output}; {example} reads it")
    return lines
