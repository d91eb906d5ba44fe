"""Whether the finished stages of a recipe were trained on the images that are there now."""

from __future__ import annotations

from tf_simclr.config import ExperimentConfig
from tf_simclr.errors import InputError
from tf_simclr.train.build import build_data
from tf_simclr.train.directory import compare_images, look_into


def notes_on_images(name: str, directory: str, config: ExperimentConfig) -> list[str]:
    """What has changed of the training images of a finished stage.

    Args:
        name: of the stage.
        directory: of its run.
        config: of its flags as they are now.

    Returns:
        a line for each change that the stage survives.

    Raises:
        InputError: they are other images.
    """
    found = look_into(directory)
    if found.config is None:
        return []
    other, notes = compare_images(found, config, build_data(config).train)
    if other:
        raise InputError(
            f"`model_dir` must be of the same images. Received: {directory}, which is finished; {'; '.join(other)}. "
            "Pass another --model_dir"
        )
    return [f"note: stage {name} is finished, and {note}" for note in notes]
