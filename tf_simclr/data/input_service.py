"""Input workers: processes that serve batches of pipelines that a training sends them, by TensorFlow's tf.data service.

Each is a service of its own, dispatcher and one worker, so that no process is one that all others depend on, and so
that the batches of one come in the order in which they are made.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import tensorflow as tf

import tf_simclr.data.decoding  # noqa: F401  registers what pipelines call in Python
from tf_simclr import __version__
from tf_simclr.compat import CancellableReads, cancellation
from tf_simclr.data.python_ops import PythonOp
from tf_simclr.errors import InputError

SECONDS_TO_ANSWER = 20.0
_SECONDS_TO_CONNECT = 5.0
# Elements under way from a worker: one that arrives while the one before is used.
_UNDER_WAY = 2
_service = tf.data.experimental.service
# Views are the same to the last bit only where the code is.
VERSIONS = f"tf_simclr {__version__}, TensorFlow {tf.__version__}"
_VERSIONS = PythonOp("versions", lambda _: VERSIONS.encode(), (tf.string,))


class InputService:
    """An input worker in this process; it serves as long as the object lives.

    Args:
        port: of the dispatcher; the worker takes the next one. 0: free ones.
        host: by which others reach this machine; None for its name.

    Raises:
        InputError: a port is taken.
    """

    def __init__(self, port: int = 0, host: str | None = None):
        name = host or socket.gethostname()
        for taken in (port, port + 1) if port else ():
            _require_free(taken)
        self._dispatcher = _service.DispatchServer(_service.DispatcherConfig(port=port))
        self.port = urlsplit(self._dispatcher.target).port
        self._worker = _service.WorkerServer(
            _service.WorkerConfig(
                dispatcher_address=f"localhost:{self.port}",
                worker_address=f"{name}:{port + 1 if port else '%port%'}",
                port=port + 1 if port else 0,
            )
        )
        self.address = f"grpc://{name}:{self.port}"


class Reader:
    """Reads a dataset that another process makes, in its order, one element ahead.

    Args:
        address: grpc://HOST:PORT of the input worker.
        dataset: to be made there.
    """

    def __init__(self, address: str, dataset: tf.data.Dataset):
        self.address = address
        self._dataset, self._cancellation = dataset, cancellation()
        self._ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(1)
        self._closed = threading.Event()
        threading.Thread(target=self._read, name=f"reads from {address}", daemon=True).start()

    def take(self, seconds: float) -> Any:
        """The next element.

        Args:
            seconds: how long to wait for it.

        Raises:
            queue.Empty: it has not come.
            tf.errors.OpError: what happened in the other process, or on the way.
        """
        element, error = self._ready.get(timeout=seconds)
        if error is not None:
            raise error
        return element

    def close(self) -> None:
        """Gives up what is under way."""
        self._closed.set()
        self._cancellation.start_cancel()

    def _read(self) -> None:
        try:
            distribute = _service.distribute(
                _service.ShardingPolicy.OFF, self.address, max_outstanding_requests=_UNDER_WAY, compression=None
            )
            # A worker that is gone would be waited for without end.
            elements = CancellableReads(iter(self._dataset.apply(distribute)), self._cancellation)
            while not self._closed.is_set():
                self._hand_over(next(elements), None)
        except Exception as error:  # handed to the thread that takes, whatever it is
            self._hand_over(None, error)

    def _hand_over(self, element: Any, error: BaseException | None) -> None:
        while not self._closed.is_set():
            try:
                return self._ready.put((element, error), timeout=1)
            except queue.Full:
                continue


def why_unreachable(address: str, seconds: float = _SECONDS_TO_CONNECT) -> str | None:
    """Why nobody listens at an address grpc://HOST:PORT; None where somebody does."""
    url = urlsplit(address)
    try:
        socket.create_connection((url.hostname or "", url.port or 0), timeout=seconds).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def require_input_workers(addresses: Sequence[str]) -> None:
    """Asks all input workers for an element.

    Raises:
        InputError: within half a minute, where one gives none, or runs other versions.
    """
    end = time.monotonic() + SECONDS_TO_ANSWER
    for address in addresses:
        reason = why_unreachable(address)
        if reason is not None:
            raise _unusable(address, f"cannot be reached: {reason}")
    question = tf.data.Dataset.range(1).map(lambda number: tf.ensure_shape(_VERSIONS(number)[0], []))
    readers = [Reader(address, question) for address in addresses]
    try:
        for reader in readers:
            _require_answer(reader, max(0.1, end - time.monotonic()))
    finally:
        for reader in readers:
            reader.close()


def _require_answer(reader: Reader, seconds: float) -> None:
    try:
        versions = reader.take(seconds).numpy().decode()
    except queue.Empty:
        raise _unusable(
            reader.address,
            f"gives no answer within {SECONDS_TO_ANSWER:g} s: it is none, or its --host or second port is unreachable",
        ) from None
    except tf.errors.OpError as error:
        if "pyfunc" in error.message.lower() or "callback" in error.message.lower():
            raise _unusable(reader.address, f"runs another version than {VERSIONS}") from error
        raise _unusable(reader.address, f"cannot be used: {' '.join(error.message.split())[:200]}") from error
    if versions != VERSIONS:
        raise _unusable(reader.address, f"runs {versions}, and this process {VERSIONS}")


def _unusable(address: str, what: str) -> InputError:
    return InputError(
        f"`input_workers` names one that {what}. Received: {address}. Start it with python -m tf_simclr input_worker, "
        "or leave it out"
    )


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise InputError(
                f"`port` and the one after it must be free. Received: {port}: {error.strerror}. Pass another --port"
            ) from error
