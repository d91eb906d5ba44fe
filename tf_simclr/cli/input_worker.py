"""Serves training batches until a signal ends the process."""

from __future__ import annotations

import os
import threading
from typing import NoReturn

import tensorflow as tf

from tf_simclr.cli.main import say
from tf_simclr.config.input_worker import InputWorkerConfig
from tf_simclr.data.input_service import InputService
from tf_simclr.train.interrupts import StopRequest

_LOOK_SECONDS = 0.2


def run(config: InputWorkerConfig) -> NoReturn:
    """Serves until SIGTERM or SIGINT, which end the process with exit code 0.

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
        # TensorFlow's servers, as they end, may wait for calls of Python that wait for this thread.
        os._exit(0)
