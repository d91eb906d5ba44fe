"""Reads networks and writes what their conversion needs, as a program of its own, whose memory ends with it."""

from __future__ import annotations

import json
import sys
from typing import Any

from tf_simclr.cli.failures import described
from tf_simclr.cli.start_noise import quiet_start
from tf_simclr.config import ConvertConfig
from tf_simclr.errors import InputError, UnwritableError
from tf_simclr.files import write_json


def _answer(config: ConvertConfig) -> dict[str, Any]:
    """What the process that waits has to know: lines and step, or an error that a person can do something about."""
    try:
        from tf_simclr.cli.convert_out import convert_out  # imports TensorFlow

        lines, step = convert_out(config)
        return {"lines": lines, "step": step}
    except InputError as error:
        return {"error": type(error).__name__, "message": str(error)}
    except Exception as error:
        line = described(error)
        if line is None:
            raise
        return {"error": UnwritableError.__name__, "message": line}


if __name__ == "__main__":
    with quiet_start():
        write_json(sys.argv[2], _answer(ConvertConfig(**json.loads(sys.argv[1]))))
