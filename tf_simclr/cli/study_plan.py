"""What a call of a study is going to do, checked before TensorFlow is imported."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tf_simclr.cli.study_sets import transfer_sets
from tf_simclr.config import DataConfig, RuntimeConfig, StudyConfig, build_config
from tf_simclr.config.identity import DEVICE_FLAGS
from tf_simclr.config.study import OF_DATA_SETS
from tf_simclr.data.folder_splits import ListedSplits
from tf_simclr.data.known_data import KnownSplits, known_splits
from tf_simclr.data.known_split import require_evaluable
from tf_simclr.errors import InputError
from tf_simclr.studies.catalogue import find_study
from tf_simclr.studies.plan import PlannedCell, check_cells, plan
from tf_simclr.studies.recorded import recorded_hold_out
from tf_simclr.studies.result_tables import table8
from tf_simclr.studies.study import WITHOUT_TRAINING, Study, StudyCell
from tf_simclr.studies.transfer_sets import TransferSet


@dataclass(frozen=True)
class StudyPlan:
    """A call of a study that was checked as far as that needs no TensorFlow.

    Attributes:
        config: which study, and how much of it.
        study: the same.
        directory: of its results.
        given: training flags of the command line, the data set among them.
        flags: what all cells share, by flag name.
        data: their images.
        runtime: devices.
        todo: what is run.
        listed: the files of a folder; None of other data sets.
        sets: that networks are transferred to.
    """

    config: StudyConfig
    study: Study
    directory: str
    given: dict[str, Any]
    flags: dict[str, Any]
    data: DataConfig
    runtime: RuntimeConfig
    todo: Sequence[PlannedCell]
    listed: ListedSplits | None = None
    sets: tuple[TransferSet, ...] = ()

    @property
    def cells(self) -> Sequence[StudyCell]:
        """All of the study at this scale, whatever is run."""
        return self.study.cells(self.config.scale)

    @property
    def evaluates(self) -> bool:
        """Whether a cell needs labels and a second split."""
        return evaluates(self.cells)


def evaluates(cells: Sequence[StudyCell]) -> bool:
    """Whether one of the cells needs labels and a second split."""
    return any(cell.task not in WITHOUT_TRAINING for cell in cells)


def plan_study(config: StudyConfig, given: dict[str, Any], directory: str) -> StudyPlan:
    """Plans a call of a study.

    Args:
        config: which study, and how much of it.
        given: training flags of the command line, the data set among them.
        directory: of its results.

    Raises:
        InputError: what a person can fix.
    """
    study = find_study(config.study)
    given = {**recorded_hold_out(directory), **given}
    sets: tuple[TransferSet, ...] = ()
    if config.study in OF_DATA_SETS:
        sets = transfer_sets(config.study_datasets, {**study.shared(config.scale), **given})
        study = replace(study, cells=functools.partial(table8, sets=sets))
    flags = shared_flags(study.shared(config.scale), given, study.varied(config.scale))
    cells = study.cells(config.scale)
    todo = [] if config.report else plan(cells, config)
    data = build_config(flags).data
    known = _known_images(data, cells)
    if known is not None:
        check_cells(todo, flags, directory, known.train.num_examples)
    listed = None if known is None else known.listed
    for one in sets:
        known_splits(one.data(flags), eval_split=one.flags["eval_split"], validation_split=one.validation_split)
    return StudyPlan(config, study, directory, given, flags, data, build_config(given).runtime, todo, listed, sets)


def _known_images(data: DataConfig, cells: Sequence[StudyCell]) -> KnownSplits | None:
    """The images of a study, looked at and not opened; None where TensorFlow is needed to look at them."""
    if not evaluates(cells):
        return known_splits(data, eval_split=None)
    known = known_splits(data, eval_split=data.eval_split)
    if known is not None:
        require_evaluable(known.train, known.evaluation, eval_split=data.eval_split)
    return known


def shared_flags(scale: dict[str, Any], given: dict[str, Any], varied: frozenset[str]) -> dict[str, Any]:
    """The flags of all cells that decide their results: the scale's, and over them those that were given.

    Raises:
        InputError: a given flag is one that the study varies.
    """
    both = sorted(varied & set(given))
    if both:
        raise InputError(
            f"`{both[0]}` is what this study varies. Received: {both[0]}={given[both[0]]}. Leave it out; --cells "
            "chooses among its values"
        )
    return {name: value for name, value in {**scale, **given}.items() if name not in DEVICE_FLAGS}
