"""The data sets that networks are transferred to (Table 8), as they are named; without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tf_simclr.config import DataConfig, build_config

MAP_11_POINT = "map_11_point"
# Of the images of a set, not of how they are read.
_WHICH = frozenset({"dataset", "data_dir", "train_split", "eval_split", "labels", "hold_out_by"})


@dataclass(frozen=True)
class TransferSet:
    """A data set with its splits and its metric.

    Attributes:
        name: of its cells.
        flags: which images, by flag name: dataset, train_split, eval_split, and data_dir where it has one.
        metric: top_1, mean_per_class or map_11_point.
        validation_split: on which strengths and grids are chosen; None: a tenth of the training split.
        known_as: in the paper's Table 8, as a name of TensorFlow Datasets; empty for another data set.
    """

    name: str
    flags: Mapping[str, Any]
    metric: str = "top_1"
    validation_split: str | None = None
    known_as: str = ""

    @property
    def several(self) -> bool:
        """Whether an image may show several classes: then the network cannot be fine-tuned on it."""
        return self.metric == MAP_11_POINT

    def data(self, shared: Mapping[str, Any]) -> DataConfig:
        """The images as a study reads them.

        Args:
            shared: the study's flags by name, of which how images are read counts.

        Raises:
            InputError: values that cannot work together.
        """
        reading = {field.name for field in fields(DataConfig)} - _WHICH
        return build_config({name: shared[name] for name in reading & set(shared)} | dict(self.flags)).data
