"""Every flag of `study`, and what it changes in what is run."""

from __future__ import annotations

import contextlib
import io
import tempfile

import pytest

from tests.wiring import test_train_flags
from tests.wiring.evaluations import StopError, called
from tests.wiring.given import check, flags_of, row, shared
from tf_simclr.cli import flags, study, study_flags, study_plan
from tf_simclr.config import build_config
from tf_simclr.config.identity import DEVICE_FLAGS
from tf_simclr.studies.catalogue import find_study
from tf_simclr.studies.plan import cell_config
from tf_simclr.studies.study import StudyCell

OWN = [field.name for field in study_flags.STUDY.fields]


class Studied:
    """What a command line of `study` asks for, and what it opens."""

    def __init__(self, **values):
        words = [f"--{name}={value}" for name, value in ({"study": "table4", "scale": "tiny"} | values).items()]
        asked, called_with = [], []
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
            patch.setattr(study_flags, "plan_study", lambda *arguments: asked.extend(arguments))
            patch.setattr(study, "run", lambda *arguments: called_with.extend(arguments) or 0)
            assert study_flags.main(flags.parse(words, study_flags.FLAG_GROUPS)) == 0
        self.config, self.given, self.directory = asked
        _, self.command = called_with

    def planned(self, directory):
        """The plan of the call, in another directory."""
        return study_plan.plan_study(self.config, self.given, directory)


def started(run):
    """The arguments of the runner, which runs nothing."""
    with contextlib.redirect_stdout(io.StringIO()), called(study, "Runner", stops=True) as words:
        with tempfile.TemporaryDirectory() as directory, pytest.raises(StopError):
            study.run(run.planned(directory), run.command)
        return dict(words)


def todo(run):
    """Cell and seed of what is run."""
    return [(task.cell.name, task.seed) for task in run.planned("nowhere").todo]


def cells_of_tiny():
    return [cell.name for cell in find_study("table4").cells("tiny")]


def sets(run):
    """The names of the data sets that networks are transferred to."""
    return [one.name for one in run.planned("nowhere").sets]


def takes_new_directory(run):
    """Whether results may go into a directory where there are none yet."""
    with called(study, "claim", stops=True) as words, contextlib.redirect_stdout(io.StringIO()):
        with pytest.raises(StopError):
            study.run(run.planned("nowhere"), run.command)
        return words["new"]


def network_opened(run):
    """Which networks are read to be measured."""
    with contextlib.ExitStack() as stack:
        words = stack.enter_context(called(study, "open_network", stops=True))
        for other in (
            called(study, "Runner", stops=True),
            contextlib.redirect_stdout(io.StringIO()),
            pytest.raises(StopError),
        ):
            stack.enter_context(other)
        study.run(run.planned("nowhere"), run.command)
    return words.get(0)


FEW = {"train_split": "train[:150]", "eval_split": "test[:40]"}
NAMES = cells_of_tiny()
ROWS = [
    row("study", "table5", lambda run: started(run)[0].name, "table5", instead="table4"),
    row("scale", "small", lambda run: started(run)[1].scale, "small", instead="tiny", **FEW),
    row("scale", "small", lambda run: run.directory, "runs/table4-small-shapes", instead="tiny"),
    row("checkpoint", "runs/mine", network_opened, "runs/mine", study="table3"),
    row("study_datasets", "cifar10,dtd", sets, ["cifar10", "dtd"], study="table8", instead="food101"),
    row("cells", NAMES[1], todo, [(NAMES[1], 0)]),
    row("seeds", "4,2", todo, [(name, seed) for seed in (4, 2) for name in NAMES]),
    row("shard", "1/2", todo, [(name, 0) for name in NAMES[1::2]]),
    row("keep_runs", True, lambda run: started(run)["keep_runs"], True),
    row("report", True, takes_new_directory, False),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_flag_does_what_its_row_says(row):
    check(row, shared(Studied))


def test_every_flag_of_its_own_has_a_row():
    assert sorted(OWN) == sorted({row.flag for row in ROWS})


TRAINING = sorted(set(flags_of("study")) - set(OWN))
# For each the value of its row in the table of run.py, and what goes with it.
VALUES = {row.flag: row for row in reversed(test_train_flags.ROWS)}


@pytest.mark.parametrize("name", TRAINING)
def test_a_training_flag_holds_for_every_cell(name):
    """And through the config of the cell for all that its row in the table of run.py says."""
    its = VALUES[name]
    run = Studied(
        **{**dict(its.others), name: its.value} if set(dict(its.others)) <= set(TRAINING) else {name: its.value}
    )
    if name == "model_dir":
        assert run.directory == its.value
        return
    if name in DEVICE_FLAGS:
        assert str(getattr(build_config(run.given).runtime, name)) == str(its.value)
        return
    shared_flags = study_plan.shared_flags({}, run.given, frozenset())
    config = cell_config(shared_flags, StudyCell("a cell", {}), seed=0, directory="runs")
    assert config.to_flags()[name] == its.value
