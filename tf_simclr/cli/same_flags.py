"""All workers of a run must have the same flags: with others they would compute different things, or wait for ever."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tf_simclr.config import ExperimentConfig
from tf_simclr.config.experiment import parts
from tf_simclr.config.identity import recorded_flags
from tf_simclr.config.option import paths_of
from tf_simclr.errors import InputError
from tf_simclr.files import to_json
from tf_simclr.train.workers import Workers

# Like paths, these may name different places on each machine, or the same devices in other words.
_OWN = frozenset({"input_workers", "strategy"})
_MOST = 10


def require_same_flags(config: ExperimentConfig, workers: Workers) -> None:
    """Compares the flags of all workers; each of them must call it, right after they are connected.

    Args:
        config: of this worker.
        workers: of the run.

    Raises:
        InputError: they differ, on every worker, with the names of the flags.
    """
    if workers.alone:
        return
    own = paths_of(*(type(part) for part in parts(config))) | _OWN
    flags = {name: value for name, value in recorded_flags(config).items() if name not in own}
    found = [json.loads(text) for text in workers.gather(to_json(flags))]
    different = differences(found)
    if different:
        more = f" and {len(different) - _MOST} more" if len(different) > _MOST else ""
        raise InputError(
            f"all workers of a run must have the same flags. Received: {'; '.join(different[:_MOST])}{more}. Start all "
            "workers with the same command"
        )


def differences(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Flags that are not the same on all workers, as "--temperature=0.1 on worker 0, 0.5 on workers 1 and 2".

    Args:
        found: flag name -> value, of each worker.
    """
    lines = []
    for name in sorted({name for flags in found for name in flags}):
        workers: dict[str, list[int]] = {}
        for index, flags in enumerate(found):
            workers.setdefault(str(flags.get(name, "unknown")), []).append(index)
        if len(workers) > 1:
            values = [f"{value} on {_listed(indices)}" for value, indices in workers.items()]
            lines.append(f"--{name}={', '.join(values)}")
    return lines


def _listed(indices: Sequence[int]) -> str:
    *most, last = [str(index) for index in indices]
    return f"workers {', '.join(most)} and {last}" if most else f"worker {last}"
