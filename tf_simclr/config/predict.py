"""What is predicted, and where it is written."""

from __future__ import annotations

from dataclasses import dataclass

from tf_simclr.config.option import check_options, option
from tf_simclr.errors import InputError


@dataclass(frozen=True)
class PredictConfig:
    """Which classifier predicts, and where its predictions go."""

    checkpoint: str | None = option(
        None,
        "The network with a supervised head: a run's directory (its newest checkpoint), a checkpoint, an exported "
        "SavedModel, or weights of the authors' or PyTorch's (docs/weights.md).",
        path=True,
    )
    csv: str = option("predictions.csv", "File for the predictions, one row per image.", path=True)
    top: int = option(1, "Number of most probable classes to write for each image.", at_least=1, at_most=1000)
    predict_split: str = option(
        "",
        "Comma-separated splits to predict. Empty: every split of a folder, and --train_split of another data set.",
    )

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
        if not self.checkpoint:
            raise InputError(
                "`checkpoint` must name the network: a run's directory, a checkpoint or an exported SavedModel. "
                "Received: none. Pass --checkpoint=DIR"
            )
