"""Predict the classes of images by the supervised head of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tf_simclr.cli import flags
from tf_simclr.cli.checkpoint_images import DATA, RUNTIME, images_for
from tf_simclr.config.paths import require_folder
from tf_simclr.config.predict import PredictConfig

if TYPE_CHECKING:
    from tf_simclr.cli.index_results import IndexResult

USAGE = """usage: python -m tf_simclr predict --checkpoint=RUN --data_dir=FOLDER [flags]

Writes the class of every image of a folder or data set, and its probability, as the supervised head of a run says: the
linear head of a pretraining, or the head of a fine-tuning. Labels are not needed. Without --data_dir and --dataset, the
images are those of the checkpoint's own run."""
PREDICT = flags.Group(PredictConfig)
FLAG_GROUPS = (PREDICT, DATA, RUNTIME)


def main(parsed: flags.ParsedFlags) -> IndexResult:
    """Runs the task."""
    wanted: PredictConfig = PREDICT.build(parsed.values)
    wanted.validate()
    assert wanted.checkpoint is not None
    require_folder("csv", wanted.csv)
    data, runtime, _ = images_for(wanted.checkpoint, parsed)
    from tf_simclr.cli import predict  # imports TensorFlow, which takes seconds

    return predict.run(wanted, data, runtime)
