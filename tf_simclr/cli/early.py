"""What a training is refused for before TensorFlow is imported, which takes seconds."""

from __future__ import annotations

from tf_simclr.cli.completion import complete_by_images
from tf_simclr.config import ExperimentConfig, resolve_durations
from tf_simclr.data.folder_splits import ListedSplits
from tf_simclr.errors import InputError
from tf_simclr.train import checkpoints
from tf_simclr.train.checkpoint_files import prefixes_in
from tf_simclr.train.images import known_images
from tf_simclr.train.recorded_run import recorded_run_config


def check_run_early(config: ExperimentConfig, given: frozenset[str]) -> ListedSplits | None:
    """Checks images, batch and checkpoint of a run as far as that needs no TensorFlow; `plan_run` checks the rest.

    Args:
        config: of the command.
        given: names of the flags that were given, and not filled in.

    Returns:
        the files of a folder, for the code that opens it.

    Raises:
        InputError: with the flag to change.
    """
    known, runtime = known_images(config), config.runtime
    if known is not None:
        # Without flags of training, lengths and batch follow the number of images, or the run that goes on.
        run = None if runtime.overwrite else recorded_run_config(runtime.directory)
        complete, _ = complete_by_images(config, given, known.train.num_examples, run)
        resolve_durations(complete, known.train.num_examples)
    begins = runtime.overwrite or not prefixes_in(runtime.directory)
    if config.train.trains_classifier and config.train.checkpoint and begins:
        checkpoints.find(config.train.checkpoint)
    if config.distillation.teacher and runtime.mode != "eval":
        find_teacher(config.distillation.teacher)
    return None if known is None else known.listed


def find_teacher(teacher: str) -> None:
    """Raises InputError where there is no checkpoint at --teacher."""
    try:
        checkpoints.find(teacher)
    except InputError as error:
        raise InputError(f"--teacher={teacher}: {error}") from error
