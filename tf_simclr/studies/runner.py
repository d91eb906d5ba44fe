"""Runs the cells of a study in order, keeps each result, and goes on where an earlier call was stopped."""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import tensorflow as tf

import tf_simclr
from tf_simclr import resumable
from tf_simclr.config import DataConfig, ExperimentConfig, StudyConfig, of_recorded
from tf_simclr.config.option import affecting
from tf_simclr.data.memory import held
from tf_simclr.errors import InputError, require_choice
from tf_simclr.evaluate.measures.linear import PROBE
from tf_simclr.evaluate.protocols.context import Splits
from tf_simclr.files import read_json, write_json
from tf_simclr.studies.results import CellResult, file_name, read_result, write_result
from tf_simclr.studies.run_cell import StudyContext, cell_config, durations_of, run_cell
from tf_simclr.studies.study import HISTOGRAMS, MEASURES, Study, StudyCell
from tf_simclr.train.strategy import per_replica_batch

# Of what is in a directory; another number means that its results cannot be compared with ours.
FORMAT = 2
STUDY_FILE, RUNS_DIRECTORY = "study.json", "runs"
# The names of parts of study.json, for a person.
_SHOWN = {"pictures": "images"}
# The linear probe of results of this FORMAT that do not name theirs.
_FIRST_PROBE = {"optimizer": "Nesterov SGD 0.9", "schedule": "cosine", "start": "zeros", "standardise": True}
_FINGERPRINTS = frozenset({"train_fingerprint", "test_fingerprint"})


@dataclass(frozen=True)
class Task:
    """A cell with a seed."""

    cell: StudyCell
    seed: int

    @property
    def title(self) -> str:
        """For a person."""
        return f"{self.cell.name}, seed {self.seed}"


def tasks(cells: Sequence[StudyCell], config: StudyConfig) -> list[Task]:
    """What a call runs: the chosen cells, all of them with the first seed first, and of these its shard.

    Raises:
        InputError: a cell that the study has not, with the list of those it has.
    """
    known = {cell.name: cell for cell in cells}
    for name in config.cell_names:
        require_choice("cells", name, known)
    chosen = [known[name] for name in config.cell_names or known]
    index, count = config.part
    return [Task(cell, seed) for seed in config.seed_numbers for cell in chosen][index::count]


def identity(study: Study, context: StudyContext) -> dict[str, Any]:
    """What results must have in common to stand in one table.

    Args:
        study: the study.
        context: its scale, flags and images.
    """
    # Where the images lie changes no result: what they are is recorded by fingerprint.
    unaffecting = {field.name for field in fields(DataConfig)} - affecting(DataConfig, "study")
    return {
        "format": FORMAT,
        "version": tf_simclr.__version__,
        "study": study.name,
        "scale": context.scale,
        "flags": {
            "hold_out_by": DataConfig.hold_out_by,
            **{name: value for name, value in context.flags.items() if name not in unaffecting},
        },
        "pictures": {
            "train": context.splits.train.num_examples,
            "test": context.splits.test.num_examples,
            "classes": list(context.splits.train.class_names),
            "train_fingerprint": context.splits.train.fingerprint,
            "test_fingerprint": context.splits.test.fingerprint,
        },
        "probe": PROBE,
        "cells": {cell.name: dict(cell.flags) for cell in study.cells(context.scale)},
    }


def recorded_hold_out(directory: str) -> dict[str, Any]:
    """The flag for the draw of the hold-out that a directory's results began with, where it is not today's."""
    found = read_json(os.path.join(directory, STUDY_FILE))
    draw = DataConfig.hold_out_by if found is None else of_recorded(found.get("flags", {}))["hold_out_by"]
    return {} if draw == DataConfig.hold_out_by else {"hold_out_by": draw}


def claim(directory: str, wanted: Mapping[str, Any], *, new: bool = True) -> tuple[str, ...]:
    """Marks a directory as that of a study.

    Args:
        directory: of the results.
        wanted: the study's identity.
        new: whether the directory may be one in which nothing was run yet.

    Returns:
        lines that a person should see.

    Raises:
        InputError: it holds results that cannot stand in the same table, or nothing.
    """
    path = os.path.join(directory, STUDY_FILE)
    found = read_json(path)
    if found is None and not new:
        raise InputError(
            f"`report` merges what cells of {wanted['study']} have left in `model_dir`. Received: "
            f"model_dir={directory}, where there is nothing. Pass the --model_dir of the cells, or leave out --report"
        )
    if found is None:
        tf.io.gfile.makedirs(directory)
        write_json(path, dict(wanted))
        return ()
    notes: tuple[str, ...] = ()
    found = {"probe": _FIRST_PROBE, **found}
    if _FINGERPRINTS - set(found.get("pictures", {})):
        # Of an earlier version, which cannot say whether its images were these.
        unknown = {name: wanted["pictures"][name] for name in _FINGERPRINTS}
        images = {**found.get("pictures", {}), **unknown}
        flags = found.get("flags", {})
        hold_out = {"hold_out_by": of_recorded(flags)["hold_out_by"]}
        found = {**found, "pictures": images, "flags": {**hold_out, **flags}}
        notes = (f"the results in {directory} do not say what their images were: taken to be those of now",)
    differences = list(_differences(found, wanted))
    if differences:
        more = f", and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise InputError(
            f"`model_dir` holds the results of another study, setting or version: {'; '.join(differences[:3])}{more}. "
            f"Received: model_dir={directory}. Pass another --model_dir"
        )
    if notes:
        write_json(path, dict(wanted))
    return notes


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> list[str]:
    lines = []
    for key in dict.fromkeys((*wanted, *found)):
        old, new = found.get(key), wanted.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += _differences(old, new, f"{prefix}{_SHOWN.get(key, key)} ")
        elif old != new and not (isinstance(old, list) and old == list(new or ())):
            lines.append(f"{prefix}{key} is {old!r} there and {new!r} here")
    return lines


class Runner:
    """Runs tasks one after the other.

    Args:
        study: the study.
        context: what its cells need.
        directory: of the study.
        keep_runs: whether checkpoints stay when a cell is measured.
    """

    def __init__(self, study: Study, context: StudyContext, directory: str, *, keep_runs: bool = False):
        self._study, self._context, self._directory, self._keep_runs = study, context, directory, keep_runs

    def check(self, todo: Sequence[Task]) -> None:
        """What can be known to fail before the first cell runs.

        Raises:
            InputError: naming the cell.
        """
        for task in todo:
            if task.cell.task == HISTOGRAMS:
                continue
            try:
                config = self._config(task)
                durations_of(config, task.cell, self._context.splits.train.num_examples)
                per_replica_batch("train_batch_size", config.data.train_batch_size, self._context.strategy)
            except InputError as error:
                raise InputError(f"cell {task.title}: {error}") from error

    def _config(self, task: Task) -> ExperimentConfig:
        return cell_config(self._context.flags, task.cell, task.seed, self._directory)

    def _work(self, task: Task) -> float:
        """How much a task is, in no unit: images, times what an image costs."""
        if task.cell.task == HISTOGRAMS:
            return 0.0
        config = self._config(task)
        durations = durations_of(config, task.cell, self._context.splits.train.num_examples)
        network = config.model.width_multiplier**2 * config.model.resnet_depth * config.data.image_size**2
        views = 1 if config.train.train_mode == "finetune" else 2
        return durations.train_steps * config.data.train_batch_size * views * network

    def hold_images(self) -> None:
        """Reads the images into memory once, for all cells: each would read and decode them again."""
        splits = self._context.splits
        self._context = replace(self._context, splits=Splits(held(splits.train), held(splits.test)))

    def run(self, todo: Sequence[Task]) -> list[str]:
        """Runs what is not there yet; returns a line for each cell that could not be finished.

        Raises:
            StoppedError: somebody asked to stop; what was done is kept.
        """
        _, failed = resumable.run_tasks(
            [self._resumable(task) for task in todo],
            say=self._context.reporter.say,
            stop=lambda: bool(self._context.stop),
        )
        return failed

    def _resumable(self, task: Task) -> resumable.Task[CellResult]:
        return resumable.Task(
            task.title,
            read=lambda: read_result(self._directory, task.cell.name, task.seed),
            run=lambda: self._run(task),
            keep=lambda result: self._keep(task, result),
            describe=lambda result: [f"{self._result_line(result)} ({result.seconds:.0f} s)"],
            work=self._work(task),
        )

    def _run(self, task: Task) -> CellResult:
        try:
            return run_cell(self._context, task.cell, task.seed, self._run_directory(task))
        finally:
            # Graphs of the networks refer to themselves: without this a study of many cells fills the memory.
            tf.keras.backend.clear_session()
            gc.collect()

    def _keep(self, task: Task, result: CellResult) -> None:
        write_result(self._directory, result)
        run = self._run_directory(task)
        if not self._keep_runs and tf.io.gfile.exists(run):
            tf.io.gfile.rmtree(run)

    def _run_directory(self, task: Task) -> str:
        name = file_name(task.cell.name, task.seed).removesuffix(".json")
        return os.path.join(self._directory, RUNS_DIRECTORY, name)

    def _result_line(self, result: CellResult) -> str:
        shown = [name for name in self._study.measures if name in result.measures]
        return ", ".join(f"{name} {MEASURES[name].show(result.measures[name])}" for name in shown)
