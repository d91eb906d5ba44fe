"""Which strategy a run takes, and which of the workers this process is; decided without TensorFlow and its devices."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tf_simclr.config import RuntimeConfig
from tf_simclr.errors import InputError

_EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Worker:
    """One of the processes that train together.

    Attributes:
        index: of this process; 0 is the chief, which alone writes what stays, and prints.
        count: of all processes.
    """

    index: int = 0
    count: int = 1

    @property
    def chief(self) -> bool:
        """Whether this process writes and prints."""
        return self.index == 0


@dataclass(frozen=True)
class DeviceChoice:
    """A strategy by its --strategy name (never auto), why it was chosen, and this process's place in it."""

    kind: str
    why: str
    worker: Worker = Worker()


def choose(runtime: RuntimeConfig, environ: Mapping[str, str], gpus: int = 0) -> DeviceChoice:
    """Decides on the strategy of a run.

    Args:
        runtime: --strategy, the TPU flags and --cpu_devices.
        environ: environment variables; TF_CONFIG names the workers.
        gpus: GPUs of this machine; they decide between one device and all of them, and nothing else.

    Returns:
        the choice.

    Raises:
        InputError: a TF_CONFIG that cannot be used, or flags that contradict each other.
    """
    asked = runtime.strategy
    why = f"--strategy={asked}"
    if asked == "auto":
        asked, why = _automatic(runtime, environ, gpus)
    if runtime.cpu_devices > 1 and asked in ("multi_worker", "tpu"):
        raise InputError(
            f"`cpu_devices` splits the CPU for --strategy=mirrored. Received: cpu_devices={runtime.cpu_devices} with "
            f"the {asked} strategy ({why}). Leave it out"
        )
    return DeviceChoice(asked, why, read_worker(environ) if asked == "multi_worker" else Worker())


def _automatic(runtime: RuntimeConfig, environ: Mapping[str, str], gpus: int) -> tuple[str, str]:
    tpu = runtime.tpu_request
    if tpu is not None:
        return "tpu", f"--{tpu[0]} asks for a TPU"
    if environ.get("TF_CONFIG") and "cluster" in _read_tf_config(environ):
        return "multi_worker", "TF_CONFIG names a cluster"
    if gpus > 1:
        return "mirrored", f"{gpus} GPUs found"
    if runtime.cpu_devices > 1:
        return "mirrored", f"--cpu_devices={runtime.cpu_devices}"
    return "one_device", "one GPU found" if gpus else "no GPU found"


def read_worker(environ: Mapping[str, str]) -> Worker:
    """This process's place among the workers of TF_CONFIG, in TensorFlow's order: the chief, then the workers.

    Raises:
        InputError: TF_CONFIG is missing, is not JSON, or lacks what training needs.
    """
    if not environ.get("TF_CONFIG"):
        raise InputError(
            "`strategy` multi_worker needs the environment variable TF_CONFIG on every worker. Received: none. "
            f"Set it, such as {_EXAMPLE}, or pass another --strategy"
        )
    config = _read_tf_config(environ)
    jobs: Any = config.get("cluster")
    task: Any = config.get("task")
    _require(isinstance(jobs, dict) and bool(jobs), "`cluster`, a list of addresses for each job", config)
    _require(isinstance(task, dict) and {"type", "index"} <= set(task), "`task`, with a type and an index", config)
    addresses = {job: jobs[job] for job in ("chief", "worker") if job in jobs}
    _require(set(jobs) == set(addresses), "only the jobs chief and worker", config)
    _require(all(isinstance(a, list) and a for a in addresses.values()), "a list of host:port for each job", config)
    _require(len(addresses.get("chief", [])) <= 1, "at most one chief", config)
    kind, index = task["type"], str(task["index"])
    _require(kind in addresses, "a task whose type is one of its jobs", config)
    workers = len(addresses[kind])
    _require(index.isdigit() and int(index) < workers, f"a task index below {workers}", config)
    before = len(addresses.get("chief", [])) if kind == "worker" else 0
    return Worker(before + int(index), sum(len(a) for a in addresses.values()))


def _read_tf_config(environ: Mapping[str, str]) -> dict[str, Any]:
    text = environ["TF_CONFIG"]
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"the environment variable TF_CONFIG must be JSON: {error}. Received: {' '.join(text.split())}. "
            f"Write it as {_EXAMPLE}, or unset it"
        ) from error
    _require(isinstance(config, dict), "an object with `cluster` and `task`", config)
    return config


def _require(holds: bool, wanted: str, config: object) -> None:
    if not holds:
        raise InputError(
            f"the environment variable TF_CONFIG must hold {wanted}. Received: {json.dumps(config)}. "
            f"Write it as {_EXAMPLE}, or unset it"
        )
