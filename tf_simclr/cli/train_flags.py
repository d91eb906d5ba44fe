"""Pretrain, fine-tune or evaluate a network (the same as run.py)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import tf_simclr
from tf_simclr.cli import flags
from tf_simclr.cli.completion import ALL_FLAG_GROUPS, complete, with_model_dir
from tf_simclr.cli.early import check_run_early
from tf_simclr.cli.main import say
from tf_simclr.cli.pretrained_network import with_network_of_checkpoint
from tf_simclr.config import build_config
from tf_simclr.directory_lock import refuse_if_in_use
from tf_simclr.train.device_choice import choose

if TYPE_CHECKING:
    from tf_simclr.cli.run_results import RunResult

USAGE = """usage: python run.py --mode=train_then_eval [flags]

Pretrains a ResNet by SimCLR (--train_mode=pretrain) or trains it with labels (--train_mode=finetune), evaluates its
linear head, and leaves checkpoints, TensorBoard curves, result.json and a SavedModel in --model_dir. With
--data_dir and no flag of training, the settings follow the number of images. Without --data_dir and --dataset,
configs/quickstart.cfg supplies every flag that is not given. Recipes: --flagfile=configs/NAME.cfg."""
FLAG_GROUPS = ALL_FLAG_GROUPS


def main(parsed: flags.ParsedFlags) -> RunResult:
    """Runs the task."""
    parsed, origin = complete(parsed)
    parsed, taken = with_network_of_checkpoint(parsed)
    config = build_config(parsed.values)
    if config.train.dry_run:
        say(f"tf_simclr {tf_simclr.__version__}: {origin}")
        for line in taken:
            say(line)
        from tf_simclr.cli import dry_run

        return dry_run.run(config, parsed.given)
    worker = choose(config.runtime, os.environ).worker
    config = with_model_dir(config, shared=worker.count > 1)
    if worker.chief:
        if config.runtime.mode != "eval":
            refuse_if_in_use(config.runtime.directory)
        say(f"tf_simclr {tf_simclr.__version__}: {origin}; results in {config.runtime.model_dir}")
        for name in parsed.ignored:
            say(f"note: --{name} is accepted for older recipes and has no effect")
        for line in taken:
            say(line)
    # Several workers are first connected, and then refused together: one alone would leave the others waiting.
    listed = check_run_early(config, parsed.given) if worker.count == 1 else None
    from tf_simclr.cli import train  # imports TensorFlow, which takes seconds: not before the first line

    return train.run(config, parsed.given, listed)
