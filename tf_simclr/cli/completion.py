"""What a command line leaves out: flags from the quickstart or from a run's own directory, and the directory."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path

import tf_simclr
from tf_simclr.cli import flags
from tf_simclr.config import FLAGS_FILE, ExperimentConfig, of_recorded
from tf_simclr.errors import InputError

ALL_FLAG_GROUPS = tuple(flags.Group(type(field.default)) for field in dataclasses.fields(ExperimentConfig))
QUICKSTART = Path(tf_simclr.__file__).parent.parent / "configs" / "quickstart.cfg"
# About the machine and not the run: another machine may go on with it, or evaluate it.
DEVICE_FLAGS = ("strategy", "cpu_devices", "use_tpu", "tpu_name", "tpu_zone", "gcp_project", "master")


def complete(parsed: flags.ParsedFlags) -> tuple[flags.ParsedFlags, str]:
    """Fills in the flags of a run without --dataset, from its own directory or from the quickstart; says which.

    With --dataset, too, a run goes on with the draw of its hold-out that it began with: under another one it would
    train on what it had held out.

    Raises:
        InputError: the quickstart file is not beside the package.
    """
    model_dir = parsed.values["model_dir"]
    recorded = Path(model_dir, FLAGS_FILE) if model_dir else None
    found = of_recorded(json.loads(recorded.read_text())) if recorded is not None and recorded.is_file() else None
    if parsed.values["dataset"]:
        own = {} if found is None else {"hold_out_by": found["hold_out_by"]}
        return flags.fill_from_values(parsed, own), f"dataset {parsed.values['dataset']}"
    if found is not None:
        keep_own = ("mode", "model_dir", *DEVICE_FLAGS)
        values = {name: value for name, value in found.items() if name not in keep_own}
        return flags.fill_from_values(parsed, values), f"no --dataset given: flags not given come from {recorded}"
    if not QUICKSTART.is_file():
        raise InputError(
            f"`dataset` is empty and {QUICKSTART} is not there to supply one. Received: no --dataset. Pass "
            "--dataset=shapes, or another, with its flags"
        )
    filled = flags.fill_from_file(parsed, str(QUICKSTART), ALL_FLAG_GROUPS)
    return filled, "no --dataset given: flags not given come from configs/quickstart.cfg"


def with_model_dir(config: ExperimentConfig, *, shared: bool = False) -> ExperimentConfig:
    """The config with a model_dir: the given one, or a new one named after data and time.

    Args:
        config: as given.
        shared: whether several workers must have the same one.

    Raises:
        InputError: --mode=eval, or several workers, without one.
    """
    if config.runtime.model_dir:
        return config
    if shared:
        raise InputError(
            "`model_dir` must name one directory that all workers share. Received: none. Pass the same "
            "--model_dir=DIR to each"
        )
    if config.runtime.mode == "eval":
        raise InputError(
            "`model_dir` must name the run to evaluate with --mode=eval. Received: none. Pass --model_dir=DIR"
        )
    name = f"{config.data.dataset.replace('/', '_').replace(':', '_')}-{time.strftime('%Y%m%d-%H%M%S')}"
    runtime = dataclasses.replace(config.runtime, model_dir=os.path.join("runs", name))
    return dataclasses.replace(config, runtime=runtime)


def changed_flags(config: ExperimentConfig, recorded: dict[str, object]) -> list[str]:
    """Lines that name the flags whose value differs from the one a run was started with."""
    now = config.to_flags()
    harmless = ("mode", "model_dir", "eval_timeout", "eval_name")
    return [
        f"--{name} was {recorded[name]} when this run was started and is {value} now"
        for name, value in now.items()
        if name in recorded and recorded[name] != value and name not in harmless
    ]
