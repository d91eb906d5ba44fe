"""Run one of the paper's tables or figures, cell by cell, and draw it."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from tf_simclr.cli import flags
from tf_simclr.cli.completion import ALL_FLAG_GROUPS, ONLY_DATA_DIR
from tf_simclr.cli.main import say
from tf_simclr.cli.study_plan import plan_study
from tf_simclr.config import FOLDER, RuntimeConfig, StudyConfig
from tf_simclr.errors import InputError
from tf_simclr.escape import as_command

if TYPE_CHECKING:
    from tf_simclr.cli.study import StudyResult

USAGE = """usage: python -m tf_simclr study --study=NAME [--scale=tiny|small|paper] [flags]

Repeats a table or figure of the paper: pretrains and measures one network for each of its cells, keeps every result
in --model_dir, and writes there index.html, images, numbers.csv and numbers.json. Run the same command
again to resume. Flags that are given hold for every cell; what the study varies cannot be given."""
STUDY = flags.Group(StudyConfig)
# Of a training, without what a study decides by itself.
_OWN = frozenset(
    {
        *("mode", "overwrite", "seed", "train_mode", "checkpoint", "untrained_baseline", "eval_every_epochs"),
        *("skip_nonfinite_steps", "profile_steps", "draw_views", "dry_run", "online_data_dir"),
        *("teacher", "distill_temperature", "distill_alpha", "ema_decay"),
        # Cells of other losses and batches could not have it.
        *("memory_size", "memory_decay"),
    }
)
TRAINING = tuple(
    flags.Group(group.config, _OWN & {field.name for field in dataclasses.fields(group.config)})
    for group in ALL_FLAG_GROUPS
)
FLAG_GROUPS = (STUDY, *TRAINING)


def main(parsed: flags.ParsedFlags) -> StudyResult:
    """Runs the task."""
    config = STUDY.build(parsed.values)
    config.validate()
    RuntimeConfig(precision=parsed.values["precision"]).require_precision("study")
    if parsed.values["data_dir"] and not parsed.values["dataset"]:
        say(f"note: {ONLY_DATA_DIR}")
        parsed = dataclasses.replace(parsed, values=parsed.values | {"dataset": FOLDER})
    dataset = dataset_of(config, parsed.values["dataset"])
    directory = parsed.values["model_dir"] or default_directory(config, dataset)
    given = {name: parsed.values[name] for name in parsed.given if name in _training_flags()}
    words = [f"--{name}={value}" for name, value in parsed.values.items() if name in parsed.given - {"report"}]
    command = as_command(["python", "-m", "tf_simclr", "study", *words])
    planned = plan_study(config, {**given, "dataset": dataset}, directory)
    from tf_simclr.cli import study  # imports TensorFlow, which takes seconds

    return study.run(planned, command)


def _training_flags() -> set[str]:
    return {field.name for group in TRAINING for field in group.fields} - {"model_dir"}


def dataset_of(config: StudyConfig, given: str) -> str:
    """The images of a study: the built-in ones where none are given, except for the scale that they are too small for.

    Raises:
        InputError: the paper's scale without images.
    """
    if config.scale == "paper" and not given:
        raise InputError(
            "`dataset` must be given at --scale=paper: days of training on the built-in images would show nothing. "
            "Received: none. The paper's is --dataset=imagenet2012"
        )
    return given or "shapes"


def default_directory(config: StudyConfig, dataset: str) -> str:
    """Where a study's results go without --model_dir: the same place at every call, so that it goes on."""
    return os.path.join("runs", f"{config.study}-{config.scale}-{dataset.replace('/', '_').replace(':', '_')}")
