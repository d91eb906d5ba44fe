"""Runs the cells of a study in order, keeps each result, and goes on where an earlier call was stopped."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from dataclasses import replace

import tensorflow as tf

from tf_simclr.config import ExperimentConfig
from tf_simclr.data.memory import held
from tf_simclr.evaluate.protocols.context import Splits
from tf_simclr.files import remove_tree
from tf_simclr.resumable import Task, run_tasks
from tf_simclr.studies.few_labels import require_enough_labels
from tf_simclr.studies.plan import PlannedCell, cell_config, check_cells, durations_of
from tf_simclr.studies.results import CellResult, file_name, read_result, write_result
from tf_simclr.studies.run_cell import StudyContext, run_cell
from tf_simclr.studies.study import FEW_LABELS, MEASURES, WITHOUT_TRAINING, Study
from tf_simclr.train.strategy import per_replica_batch

RUNS_DIRECTORY = "runs"


class Runner:
    """Runs what is planned of a study, one cell after the other.

    Args:
        study: the study.
        context: what its cells need.
        directory: of the study.
        keep_runs: whether checkpoints stay when a cell is measured.
    """

    def __init__(self, study: Study, context: StudyContext, directory: str, *, keep_runs: bool = False):
        self.directory = directory
        self._study, self._context, self._keep_runs = study, context, keep_runs

    def check(self, todo: Sequence[PlannedCell]) -> None:
        """What can be known to fail before the first cell runs.

        Raises:
            InputError: naming the cell.
        """
        check_cells(todo, self._context.flags, self.directory, self._context.splits.train.num_examples)
        for planned in todo:
            if planned.cell.task not in WITHOUT_TRAINING:
                with planned.named():
                    batch = self._config(planned).data.train_batch_size
                    per_replica_batch("train_batch_size", batch, self._context.strategy)
                    if planned.cell.task == FEW_LABELS:
                        require_enough_labels(self._context.splits.train, planned.seed)

    def _config(self, planned: PlannedCell) -> ExperimentConfig:
        return cell_config(self._context.flags, planned.cell, planned.seed, self.directory)

    def _work(self, planned: PlannedCell) -> float:
        """How much a task is, in no unit: images, times what an image costs."""
        if planned.cell.task in WITHOUT_TRAINING:
            return 0.0
        config = self._config(planned)
        durations = durations_of(config, planned.cell, self._context.splits.train.num_examples)
        network = config.model.width_multiplier**2 * config.model.resnet_depth * config.data.image_size**2
        views = 1 if config.train.train_mode == "finetune" else 2
        return durations.train_steps * config.data.train_batch_size * views * network

    def hold_images(self) -> None:
        """Reads the images into memory once, for all cells: each would read and decode them again."""
        splits = self._context.splits
        self._context = replace(self._context, splits=Splits(held(splits.train), held(splits.test)))

    def run(self, todo: Sequence[PlannedCell]) -> list[str]:
        """Runs what is not there yet; returns a line for each cell that could not be finished.

        Raises:
            StoppedError: somebody asked to stop; what was done is kept.
        """
        _, failed = run_tasks(
            [self._task(planned) for planned in todo],
            say=self._context.reporter.say,
            stop=lambda: bool(self._context.stop),
        )
        return failed

    def _task(self, planned: PlannedCell) -> Task[CellResult]:
        return Task(
            planned.title,
            read=lambda: read_result(self.directory, planned.cell.name, planned.seed),
            run=lambda: self._run(planned),
            keep=lambda result: self._keep(planned, result),
            describe=lambda result: [f"{self._result_line(result)} ({result.seconds:.0f} s)"],
            work=self._work(planned),
        )

    def _run(self, planned: PlannedCell) -> CellResult:
        try:
            return run_cell(self._context, planned.cell, planned.seed, self._run_directory(planned))
        finally:
            # Graphs of the networks refer to themselves: without this a study of many cells fills the memory.
            tf.keras.backend.clear_session()
            gc.collect()

    def _keep(self, planned: PlannedCell, result: CellResult) -> None:
        write_result(self.directory, result)
        run = self._run_directory(planned)
        if not self._keep_runs:
            remove_tree(run)

    def _run_directory(self, planned: PlannedCell) -> str:
        name = file_name(planned.cell.name, planned.seed).removesuffix(".json")
        return os.path.join(self.directory, RUNS_DIRECTORY, name)

    def _result_line(self, result: CellResult) -> str:
        shown = [name for name in self._study.measures if name in result.measures]
        return ", ".join(f"{name} {MEASURES[name].show(result.measures[name])}" for name in shown) or "to be drawn"
