"""Following the checkpoints of a training run that may still be going on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tf_simclr import compat
from tf_simclr.errors import InputError
from tf_simclr.train import checkpoints
from tf_simclr.train.checkpoint_files import newest_in

SECONDS_BETWEEN_LOOKS = 1.0


def follow_checkpoints(
    directory: str,
    variables: Mapping[str, Any],
    *,
    last_step: int,
    timeout: float,
    say: Callable[[str], None],
    check: Callable[[str], None],
) -> Iterator[int]:
    """Reads each new checkpoint into the variables and yields its step, until the run's last one.

    Args:
        directory: of the run; it may not exist yet.
        variables: path -> variable to receive the values.
        last_step: step at which the run ends.
        timeout: seconds to wait for the next checkpoint.
        say: receives what is waited for, and of checkpoints that were removed before they could be read.
        check: called with each checkpoint before its values are read; what it raises ends the waiting.

    Raises:
        InputError: no new checkpoint in time, or one of another model.
    """
    raw = {path: compat.raw_variable(v) for path, v in variables.items()}
    say(f"waiting for checkpoints up to step {last_step} in {directory}")
    newest = "none"
    for prefix in _new_checkpoints(directory, timeout):
        newest, step = prefix, checkpoints.step_of(prefix)
        try:
            checkpoints.require_undamaged(prefix)
            check(prefix)
            checkpoints.check_matches(prefix, raw, checkpoints.shapes_in(prefix))
            checkpoints.read_into(prefix, raw)
        except checkpoints.UnreadableError as error:  # the training run may have removed it meanwhile
            say(f"note: {error}; waiting for the next")
            continue
        yield step
        if step >= last_step:
            return
    raise InputError(
        f"`eval_timeout` passed without the checkpoint of step {last_step} in {directory}. Received: "
        f"eval_timeout={timeout:g} s; newest checkpoint: {newest}. Start the training run, or pass its --train_epochs "
        "or --train_steps, or a longer --eval_timeout"
    )


def _new_checkpoints(directory: str, timeout: float) -> Iterator[str]:
    """Each checkpoint that is the newest when one looks, until none comes for `timeout` seconds."""
    last, since = None, time.monotonic()
    while True:
        newest = newest_in(directory)
        if newest is not None and newest != last:
            yield newest
            last, since = newest, time.monotonic()
        elif time.monotonic() - since >= timeout:
            return
        else:
            time.sleep(min(SECONDS_BETWEEN_LOOKS, timeout))
