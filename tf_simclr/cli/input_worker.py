"""Serves training batches until a signal ends it."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import tensorflow as tf

from tf_simclr.cli.main import say
from tf_simclr.config.input_worker import InputWorkerConfig
from tf_simclr.data.input_service import InputService
from tf_simclr.train.interrupts import StopRequest

_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class InputWorkerResult:
    """How an input worker ended.

    Attributes:
        address: where it was reached.
        exit_code: of the program; a signal is how it is meant to end.
    """

    address: str
    exit_code: int = 0


def run(config: InputWorkerConfig) -> InputWorkerResult:
    """Serves until SIGTERM or SIGINT.

    Args:
        config: the address.

    Raises:
        InputError: a port is taken.
    """
    # TensorFlow would take the memory of a GPU that another process trains on.
    tf.config.set_visible_devices([], "GPU")
    stop, waiting = StopRequest(), threading.Event()
    with stop.watch():
        service = InputService(config.port, config.host)
        say(f"TensorFlow {tf.__version__}: input worker ready, pass --input_workers={service.address} to a training")
        while not stop:
            waiting.wait(_LOOK_SECONDS)
        say(f"{stop.signal_name} received: input worker ends")
    return InputWorkerResult(service.address)
