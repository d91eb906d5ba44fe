"""What a request to stop does to the work it comes in."""

from __future__ import annotations

import os
import signal

import pytest

from tf_simclr.errors import StoppedError
from tf_simclr.train.interrupts import StopRequest


def ask():
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_that_other_code_makes_another_error_of_still_stops():
    """As TensorFlow does where its own code calls Python."""
    request = StopRequest()
    with pytest.raises(StoppedError), request.watch(), request.at_once():
        try:
            ask()
        except StoppedError as error:
            raise RuntimeError("StoppedError: <EMPTY MESSAGE>") from error


def test_an_error_without_a_signal_stays_what_it_is():
    request = StopRequest()
    with pytest.raises(RuntimeError, match="a mistake"), request.watch(), request.at_once():
        raise RuntimeError("a mistake")


def test_an_error_after_an_earlier_signal_stays_what_it_is():
    request = StopRequest()
    with request.watch():
        with request.between_steps():
            ask()
        with pytest.raises(RuntimeError, match="a mistake"), request.at_once():
            raise RuntimeError("a mistake")
