"""Training batches that input workers make, the same and in the same order as this process would make them.

With N workers, batch k of a stream comes from worker k mod N. Each makes its own share of the same stream, in which a
batch depends on (seed, step) and on nothing else. Where a worker is lost, what it had not handed over is dealt out anew
among the others, from the first batch that is missing.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import queue
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from tf_simclr.data.input_service import Reader, why_unreachable
from tf_simclr.data.read_errors import named
from tf_simclr.errors import InputError

# Of waiting for a batch, after which its worker is looked for.
PATIENCE_SECONDS = 5.0
# How often the same batch may fail on workers that are there.
_ATTEMPTS = 3
_NO_BATCH = "The input workers give no batch"

# int64 [3], (d, N, n) -> batches d + n, d + n + N, ... of a stream; see `train_batches`.
PartOf = Callable[[tf.Tensor], tf.data.Dataset]
_Part = Callable[[int, int, int], tf.data.Dataset]


class _LostError(Exception):
    """A worker did not give the batch that is due."""


def remote_batches(addresses: Sequence[str], part_of: PartOf) -> tf.data.Dataset:
    """The batches 0, 1, 2, ... of a stream, made by input workers.

    Args:
        addresses: grpc://HOST:PORT of each.
        part_of: makes the part of the stream that one of them is sent. It is called once, with a symbolic tensor.

    Returns:
        an endless dataset of them. Its iteration fails when all workers are lost, or a batch fails again and
        again: see `lost`.
    """
    # Traced once, whatever the number of workers and however often they are dealt to: it takes seconds.
    traced = tf.function(part_of, input_signature=[tf.TensorSpec([3], tf.int64)], autograph=False)
    deal = tf.autograph.experimental.do_not_convert(traced)

    def part(done: int, workers: int, worker: int) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensors(tf.constant([done, workers, worker], tf.int64)).flat_map(deal)

    return tf.data.Dataset.from_generator(
        lambda: _dealt(tuple(addresses), part), output_signature=part(0, 1, 0).element_spec
    )


def lost(error: BaseException) -> InputError | None:
    """The error that a person should see of `remote_batches` that ended; None for any other error."""
    found = re.search(rf"{_NO_BATCH}: (.*)", str(error)) if isinstance(error, tf.errors.OpError) else None
    if found is None:
        return None
    return InputError(
        f"`input_workers` gives no more batches. Received: {found[1]}. Start them again, and run the same command "
        "to resume from the last checkpoint"
    )


def _dealt(addresses: tuple[str, ...], part: _Part) -> Iterator[Any]:
    position, failed, attempts = 0, -1, 0
    while True:
        present = _present(addresses)
        try:
            with _reading(present, position, part) as readers:
                for number in itertools.count():
                    yield _due(readers[number % len(readers)], number // len(readers))
                    position += 1
        except _LostError as error:
            attempts = attempts + 1 if failed == position else 1
            failed = position
            if attempts >= _ATTEMPTS:
                raise RuntimeError(f"{_NO_BATCH}: {_ATTEMPTS} attempts failed; {error}") from error
            logging.getLogger(__name__).warning("note: %s; the others go on from the same batch", error)


def _present(addresses: Sequence[str]) -> list[str]:
    reasons = {address: why_unreachable(address) for address in addresses}
    present = [address for address in addresses if reasons[address] is None]
    if not present:
        listed = ", ".join(f"{address}: {reason}" for address, reason in reasons.items())
        raise RuntimeError(f"{_NO_BATCH}: none is left; {listed}")
    return present


@contextlib.contextmanager
def _reading(present: Sequence[str], first: int, part: _Part) -> Iterator[list[Reader]]:
    shares = [part(first, len(present), place).enumerate() for place in range(len(present))]
    readers = [Reader(address, share) for address, share in zip(present, shares, strict=True)]
    try:
        yield readers
    finally:
        for reader in readers:
            reader.close()


def _due(reader: Reader, number: int) -> Any:
    """Batch `number` of those that a worker makes; raises _LostError where it does not come."""
    while True:
        try:
            place, batch = reader.take(PATIENCE_SECONDS)
        except queue.Empty:
            reason = why_unreachable(reader.address)
            if reason is not None:
                raise _LostError(f"input worker {reader.address} is lost: {reason}") from None
            continue  # it is only slow
        except tf.errors.OpError as error:
            if named(error) is not None:
                raise  # an image that no worker can read
            raise _LostError(f"input worker {reader.address} failed: {' '.join(str(error).split())[:300]}") from error
        if int(place) != number:
            raise _LostError(f"input worker {reader.address} left out a batch")
        return batch
