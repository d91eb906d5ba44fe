"""The images that a task reads with the network of a checkpoint: given ones, or those of the checkpoint's own run."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tf_simclr.cli import flags
from tf_simclr.cli.completion import ONLY_DATA_DIR, with_other_folder
from tf_simclr.cli.main import say
from tf_simclr.config import FOLDER, DataConfig, ExperimentConfig, RuntimeConfig
from tf_simclr.config.option import paths_of
from tf_simclr.config.paths import absolute
from tf_simclr.data.folder_splits import whole_folder
from tf_simclr.data.request import request_of
from tf_simclr.errors import InputError
from tf_simclr.escape import as_command
from tf_simclr.evaluate.recorded import read_config
from tf_simclr.train import checkpoints

DATA = flags.Group(DataConfig, frozenset({"train_batch_size", "eval_split", "hold_out_by", "cache_dataset"}))
RUNTIME = flags.Group(
    RuntimeConfig,
    frozenset({"mode", "model_dir", "overwrite", "seed", "precision", "jit_compile", "augment_on", "input_workers"}),
)
_ALWAYS = ("image_size", "data_seed", "eval_crop", "decoder")
_OWN_IMAGES = ("dataset", "data_dir", "train_split", "labels", "on_bad_image", "max_image_pixels")


@dataclass(frozen=True)
class Recorded:
    """A command line with what a checkpoint's run says of its images where that was not given.

    Attributes:
        parsed: the flags.
        origin: config of the run.
        prefix: of the checkpoint.
        used: the flags that were given or taken, by name: what a person pastes to have the same again.
    """

    parsed: flags.ParsedFlags
    origin: ExperimentConfig
    prefix: str
    used: dict[str, Any]


def with_recorded_images(
    checkpoint: str,
    parsed: flags.ParsedFlags,
    always: tuple[str, ...] = _ALWAYS,
    own_images: tuple[str, ...] = _OWN_IMAGES,
) -> Recorded:
    """Takes what is not given of the images from the run of a checkpoint, and says so.

    Args:
        checkpoint: as the flag has it.
        parsed: the command line.
        always: names of the flags that are taken whatever the images are.
        own_images: names of those that are taken with the run's own images, where no others are named.

    Raises:
        InputError: no such checkpoint, or one that records no images where none are named.
    """
    origin, prefix = read_config(checkpoint, say)
    recorded = origin.to_flags()
    for line in _described(prefix, parsed.given):
        say(line)
    parsed = with_other_folder(parsed, origin.data)
    own = not parsed.values["dataset"]
    if own and not origin.data.dataset:
        raise InputError(
            f"`dataset` must name the images: {prefix} is of another program and records none. Received: no --dataset. "
            "Pass --data_dir=DIR for a folder of images, or --dataset"
        )
    names = always + own_images * own
    taken = {name: recorded[name] for name in names if name not in parsed.given and recorded[name] is not None}
    parsed = flags.fill_from_values(parsed, taken)
    if own:
        images = parsed.values["data_dir"] or parsed.values["dataset"]
        say(f"no --dataset given: the images are those of the checkpoint's run, {images}")
    elif parsed.values["dataset"] == FOLDER and "dataset" not in parsed.given:
        say(f"note: {ONLY_DATA_DIR}")
    used = {name: parsed.values[name] for name in parsed.values if name in parsed.given or name in taken}
    return Recorded(parsed, origin, prefix, used)


def images_for(checkpoint: str, parsed: flags.ParsedFlags) -> tuple[DataConfig, RuntimeConfig, dict[str, Any]]:
    """What is read, on what, and all flags that say so: those that are given, and those of the checkpoint's run.

    Raises:
        InputError: no such checkpoint, no images, or values that cannot work.
    """
    found = with_recorded_images(checkpoint, parsed)
    data = DATA.build(found.parsed.values).with_table_path()
    data = dataclasses.replace(data, data_dir=absolute(data.data_dir))
    runtime = RUNTIME.build(found.parsed.values)
    for part in (data, runtime):
        part.validate()
    if data.dataset == FOLDER:
        whole_folder(request_of(data, eval_split=None))  # a wrong folder is found before TensorFlow is imported
    return data, runtime, found.used


def pasted(task: str, values: dict[str, Any], *parts: type) -> str:
    """The command of a task, as it can be pasted in any directory: local paths are absolute.

    Args:
        task: its name.
        values: of its flags, by name.
        parts: the config dataclasses that they are fields of, which know what is a path.
    """
    paths = paths_of(*parts)
    words = [f"--{name}={absolute(value) if name in paths else value}" for name, value in values.items()]
    return as_command(["python", "-m", "tf_simclr", task, *words])


def _described(prefix: str, given: Collection[str]) -> list[str]:
    """What is known and assumed of weights of another program; nothing of a checkpoint of ours."""
    foreign = checkpoints.foreign_at(prefix)
    return [] if foreign is None else foreign.describe(given)
