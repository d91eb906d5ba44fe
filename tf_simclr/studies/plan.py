"""Which cells a call of a study runs, and what each of them trains; without TensorFlow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tf_simclr.config import Durations, ExperimentConfig, StudyConfig, build_config, resolve_durations
from tf_simclr.errors import InputError, require_choice
from tf_simclr.studies.study import WITHOUT_TRAINING, StudyCell


@dataclass(frozen=True)
class PlannedCell:
    """A cell with a seed."""

    cell: StudyCell
    seed: int

    @property
    def title(self) -> str:
        """For a person."""
        return f"{self.cell.name}, seed {self.seed}"

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Puts the cell before the message of an InputError."""
        try:
            yield
        except InputError as error:
            raise InputError(f"cell {self.title}: {error}") from error


def plan(cells: Sequence[StudyCell], config: StudyConfig) -> list[PlannedCell]:
    """What a call runs: the chosen cells, all of them with the first seed first, and of these its shard.

    Raises:
        InputError: a cell that the study has not, with the list of those it has.
    """
    known = {cell.name: cell for cell in cells}
    for name in config.cell_names:
        require_choice("cells", name, known)
    chosen = [known[name] for name in config.cell_names or known]
    index, count = config.part
    return [PlannedCell(cell, seed) for seed in config.seed_numbers for cell in chosen][index::count]


def cell_config(flags: Mapping[str, Any], cell: StudyCell, seed: int, directory: str) -> ExperimentConfig:
    """The config of a cell's training.

    Args:
        flags: what all cells share.
        cell: what differs.
        seed: of weights, order and augmentations.
        directory: of its checkpoints.

    Raises:
        InputError: values that cannot work together.
    """
    return build_config({**flags, **cell.flags, "seed": seed, "model_dir": directory})


def durations_of(config: ExperimentConfig, cell: StudyCell, num_examples: int) -> Durations:
    """The lengths of a cell's training in steps, with the points of its curves."""
    durations = resolve_durations(config, num_examples)
    points = cell.options.get("curve_points", 0)
    every = max(1, durations.train_steps // points) if points else 0
    return replace(durations, online_eval_steps=every)


def check_cells(todo: Sequence[PlannedCell], flags: Mapping[str, Any], directory: str, num_examples: int) -> None:
    """What can be known of cells to fail before the first one runs.

    Args:
        todo: what is run.
        flags: what all cells share.
        directory: of the study.
        num_examples: images of the training split.

    Raises:
        InputError: naming the cell; flags that cannot work together, or a batch larger than the split.
    """
    for planned in todo:
        if planned.cell.task not in WITHOUT_TRAINING:
            with planned.named():
                config = cell_config(flags, planned.cell, planned.seed, directory)
                durations_of(config, planned.cell, num_examples)
