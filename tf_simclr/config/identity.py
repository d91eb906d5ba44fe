"""What makes a run the run it is, and what may differ between two commands that go on with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from tf_simclr.config.experiment import ExperimentConfig, build_config, known_flags, of_recorded, parts
from tf_simclr.config.model import ModelConfig
from tf_simclr.config.option import paths_of
from tf_simclr.config.paths import absolute
from tf_simclr.errors import InputError
from tf_simclr.stored import require_types

# About the machine and not the run: another machine may go on with it, or evaluate it.
DEVICE_FLAGS = ("strategy", "cpu_devices", "use_tpu", "tpu_name", "tpu_zone", "gcp_project", "master")
# All that may differ. Every other flag is part of what the run is, and so is a new one until somebody adds it here.
MAY_CHANGE = frozenset(
    {
        # What is done with the run.
        *("mode", "model_dir", "overwrite", "profile_steps", "draw_views", "dry_run"),
        # The machine, and how the images get to it. Whether they are the same images is compared by what they are.
        *(*DEVICE_FLAGS, "jit_compile", "augment_on", "input_workers", "cache_dataset", "data_dir", "on_bad_image"),
        "max_image_pixels",
        # Where the teacher lies. Whether it is the same one is compared by its values.
        "teacher",
        # How often it is saved, and how much is kept.
        *("checkpoint_epochs", "checkpoint_steps", "keep_checkpoint_max", "keep_hub_module_max"),
        # What is measured beside the training.
        *("eval_split", "eval_crop", "eval_batch_size", "eval_steps", "eval_name", "eval_timeout", "eval_every_epochs"),
        *("online_eval_examples", "online_data_dir", "untrained_baseline"),
        # How many steps that are not finite end it; all others stay as they are.
        "skip_nonfinite_steps",
        # How long it is: never less than is done, and with a note, because the learning rate follows the length.
        *("train_epochs", "train_steps"),
    }
)
# Flags of one command, which say nothing of the run: not recorded, or not worth a line when they change.
_OF_ONE_COMMAND = frozenset({"overwrite", "profile_steps", "draw_views", "dry_run"})
_UNREMARKABLE = frozenset({"mode", "model_dir", "eval_timeout", "eval_name", "train_epochs", "train_steps"})
# What decides the networks and what their figures mean, which --mode=eval takes from the run.
NETWORK_FLAGS = frozenset(field.name for field in dataclasses.fields(ModelConfig)) - {
    *("batch_norm_decay", "global_bn", "zero_init_logits_layer")
} | {"image_size", "train_mode", "ft_proj_selector", "lineareval_while_pretraining"}


def recorded_flags(config: ExperimentConfig) -> dict[str, Any]:
    """What flags.json says of a run: every flag that outlives the command, paths of other places made absolute.

    A relative path would name another place when the run is evaluated from another working directory.
    """
    paths = paths_of(*(type(part) for part in parts(config))) - {"model_dir"}
    return {
        name: absolute(value) if name in paths else value
        for name, value in config.to_flags().items()
        if name not in _OF_ONE_COMMAND
    }


def read_recorded(values: Mapping[str, Any], place: str) -> ExperimentConfig:
    """The config of a run from its flags.json: flags that are missing or unknown count as their defaults.

    Args:
        values: the contents of flags.json.
        place: of the file, for the message.

    Raises:
        InputError: values that this version cannot work with; DamagedFileError where they are of other types.
    """
    for part in parts(ExperimentConfig()):
        require_types(values, type(part), place)
    try:
        return build_config({name: value for name, value in of_recorded(values).items() if name in known_flags()})
    except (InputError, TypeError) as error:
        raise InputError(
            f"{place} holds flags that this version cannot work with: {error}. Received: {place}. Pass another "
            "--model_dir, or --overwrite to keep the old one aside"
        ) from error


def differences(was: ExperimentConfig, now: ExperimentConfig, names: Iterable[str] | None = None) -> list[str]:
    """What two configs do not have in common of what a run is, as "--temperature was 0.1, is 0.5".

    Flags that decide one thing together are compared by what they decide.

    Args:
        was: of the run.
        now: of the command.
        names: of the flags to compare; None for all that may not change.
    """
    compared = known_flags() - MAY_CHANGE if names is None else set(names)
    return _described(compared, was, now)


def changes(was: ExperimentConfig, now: ExperimentConfig) -> list[str]:
    """What has changed of what may, as `differences`."""
    return _described(MAY_CHANGE - _UNREMARKABLE - _OF_ONE_COMMAND, was, now)


def _described(names: Iterable[str], was: ExperimentConfig, now: ExperimentConfig) -> list[str]:
    old, new = recorded_flags(was), recorded_flags(now)
    old_meaning, new_meaning = _resolved(was), _resolved(now)
    return [
        f"--{name} was {_shown(old[name])}, is {_shown(new[name])}"
        for name in sorted(names)
        if old[name] != new[name] and old_meaning.get(name, old[name]) != new_meaning.get(name, new[name])
    ]


def _resolved(config: ExperimentConfig) -> dict[str, Any]:
    """What the flags that may say one thing in several ways decide, by name."""
    peak = config.optimizer.peak_learning_rate(config.data.train_batch_size)
    return {
        "stem": config.model.stem_for(config.data.image_size),
        "augmentation": config.augmentation.operators,
        "online_head": config.train.online_head if config.train.trains_online_head else "",
        "learning_rate": peak,
        "learning_rate_scaling": peak,
    }


def _shown(value: Any) -> str:
    return "not given" if value is None or value == "" else str(value)
