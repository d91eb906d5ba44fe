"""Make training batches for runs on other machines."""

from __future__ import annotations

from typing import NoReturn

from tf_simclr.cli import flags
from tf_simclr.config.input_worker import InputWorkerConfig

USAGE = """usage: python -m tf_simclr input_worker [--port=PORT] [--host=HOST]

Reads, decodes, crops and augments training images for runs that name this process in --input_workers=grpc://HOST:PORT.
It needs the same versions of this library and of TensorFlow, and the images under the same paths. It serves anyone
who reaches its two ports, without a password, and reads any file that it may read: keep them inside a trusted network.
SIGTERM or Ctrl-C ends it."""
WORKER = flags.Group(InputWorkerConfig)
FLAG_GROUPS = (WORKER,)


def main(parsed: flags.ParsedFlags) -> NoReturn:
    """Runs the task."""
    config = WORKER.build(parsed.values)
    config.validate()
    from tf_simclr.cli import input_worker  # imports TensorFlow, which takes seconds

    input_worker.run(config)
