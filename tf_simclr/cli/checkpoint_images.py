"""The images that a task reads with the network of a checkpoint: given ones, or those of the checkpoint's own run."""

from __future__ import annotations

import dataclasses
from typing import Any

from tf_simclr.cli import flags
from tf_simclr.cli.completion import ONLY_DATA_DIR, with_other_folder
from tf_simclr.cli.evaluate_flags import described
from tf_simclr.cli.main import say
from tf_simclr.config import FOLDER, DataConfig, RuntimeConfig
from tf_simclr.config.paths import absolute
from tf_simclr.data.folder_splits import whole_folder
from tf_simclr.data.request import request_of
from tf_simclr.errors import InputError
from tf_simclr.evaluate.recorded import read_config

DATA = flags.Group(DataConfig, frozenset({"train_batch_size", "eval_split", "hold_out_by", "cache_dataset"}))
RUNTIME = flags.Group(
    RuntimeConfig,
    frozenset({"mode", "model_dir", "overwrite", "seed", "precision", "jit_compile", "augment_on", "input_workers"}),
)
_ALWAYS = ("image_size", "data_seed", "eval_crop", "decoder")
_OWN_IMAGES = ("dataset", "data_dir", "train_split", "labels", "on_bad_image", "max_image_pixels")


def images_for(checkpoint: str, parsed: flags.ParsedFlags) -> tuple[DataConfig, RuntimeConfig, dict[str, Any]]:
    """What is read, on what, and all flags that say so: those that are given, and those of the checkpoint's run.

    Raises:
        InputError: no such checkpoint, no images, or values that cannot work.
    """
    origin, prefix = read_config(checkpoint, say)
    recorded = origin.to_flags()
    for line in described(prefix, parsed.given):
        say(line)
    parsed = with_other_folder(parsed, origin.data)
    own = not parsed.values["dataset"]
    if own and not origin.data.dataset:
        raise InputError(
            f"`data_dir` must name the images: {prefix} is of another program and records none. Received: no "
            "--data_dir. Pass --data_dir=FOLDER, or --dataset"
        )
    names = _ALWAYS + _OWN_IMAGES * own
    taken = {name: recorded[name] for name in names if name not in parsed.given and recorded[name] is not None}
    parsed = flags.fill_from_values(parsed, taken)
    data = DATA.build(parsed.values).with_table_path()
    data = dataclasses.replace(data, data_dir=absolute(data.data_dir))
    runtime = RUNTIME.build(parsed.values)
    for part in (data, runtime):
        part.validate()
    if data.dataset == FOLDER and "dataset" not in parsed.given and not own:
        say(f"note: {ONLY_DATA_DIR}")
    if own:
        say(f"no --data_dir given: the images are those of the checkpoint's run, {data.data_dir or data.dataset}")
    if data.dataset == FOLDER:
        whole_folder(request_of(data, eval_split=None))  # a wrong folder is found before TensorFlow is imported
    used = {name: parsed.values[name] for name in parsed.values if name in parsed.given or name in taken}
    return data, runtime, used
