"""Rows of a run as a whole: where it begins, what it writes, and which devices it takes."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorflow as tf

from tests.wiring.given import STEM, in_small
from tests.wiring.images import as_numbers
from tf_simclr import compat
from tf_simclr.cli import dry_run as cli_dry_run
from tf_simclr.cli import train as cli_train
from tf_simclr.cli import train_flags
from tf_simclr.cli.follow import follow
from tf_simclr.cli.plan import Plan, plan_run
from tf_simclr.cli.run_results import RunResult, export, report
from tf_simclr.errors import InputError
from tf_simclr.evaluate.classifier import TOP_1, TOP_5
from tf_simclr.files import read_json
from tf_simclr.interop import saved_model
from tf_simclr.train import run as run_module
from tf_simclr.train import strategy
from tf_simclr.train.checkpoints import read_values, resolve
from tf_simclr.train.device_choice import DeviceChoice, Worker, choose
from tf_simclr.train.directory import RunDirectory
from tf_simclr.train.interrupts import StopRequest
from tf_simclr.train.observers import Observer
from tf_simclr.train.run import Outcome, RunContext, build_run_state
from tf_simclr.train.workers import Workers


def trained(run, directory, stop=None):
    """How a run in a directory ends; its loop saves after each of four steps, of which it makes none."""

    def loop(*, save, stop, **others):
        for step in () if stop else (1, 2, 3, 4):
            save(step)
        return 4

    with in_small(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "run_loop", loop)
        return run_module.train(
            build_run_state(run.config, run.durations, run.data.train, run.strategy),
            run.data.train,
            context_of(run, stop),
            directory=directory,
            observer=Observer(),
        )


def context_of(run, stop=None):
    """One process, which says nothing."""
    return RunContext(run.strategy, Workers(Worker(), run.strategy), stop or StopRequest(), lambda line: None)


def plan_in(run, directory, **changes):
    """The plan of a run in a directory, of the data that were opened already."""
    config = replace(run.config, runtime=replace(run.config.runtime, model_dir=str(directory), **changes))
    return Plan(config, run.data, run.data, run.durations, None, (), RunDirectory(str(directory)))


def started(run):
    """The weights of the stem with which a run begins."""
    stop = StopRequest()
    stop.signal_name = "SIGTERM"
    with tempfile.TemporaryDirectory() as directory:
        state = trained(run, directory, stop).state
    return as_numbers(compat.raw_variable(state.model.named_variables()[STEM]))


def loaded(run):
    """The weights of the stem in the checkpoint that the run begins with."""
    return as_numbers(read_values(resolve(run.config.train.checkpoint), [STEM])[STEM])


def draws(run):
    """Whether a new run draws its views into its directory, and into the curves."""
    names, _ = begun(run, before=())
    drawn = [name for name in names if name == "views.png" or name.startswith("events.out")]
    assert len(drawn) in (0, 2)
    return bool(drawn)


def begun(run, before=("old.txt",)):
    """The names of what is in a directory, and beside it, when a run begins in one where these files are."""
    with in_small(), tempfile.TemporaryDirectory() as root:
        directory = Path(root, "run")
        directory.mkdir()
        for name in before:
            (directory / name).write_text("")
        config = replace(run.config, runtime=replace(run.config.runtime, model_dir=str(directory)))
        plan = plan_run(config, run.parsed.given, run.strategy)
        plan.claim()
        beside = {path.name.partition(".replaced-")[1] for path in Path(root).iterdir()} - {""}
        names = sorted(path.name for path in directory.iterdir())
        plan.lock.release()
        return names, beside


def exports_kept(run):
    """The steps of the exports in a directory when that of step 4 was written beside those of steps 1 and 2."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        # Writing a SavedModel takes seconds, and is tried elsewhere: which are kept is looked at here.
        patch.setattr(saved_model, "export_saved_model", lambda model, path, card: Path(path).mkdir())
        for step in ("1", "2"):
            Path(directory, "saved_model", step).mkdir(parents=True)
        outcome = Outcome(SimpleNamespace(model=None), 4, finished=True)
        export(plan_in(run, directory), outcome, {}, directory, lambda line: None)
        return sorted(path.name for path in Path(directory, "saved_model").iterdir())


def checkpoints_kept(run):
    """The files of the checkpoints that a run of four steps leaves."""
    with tempfile.TemporaryDirectory() as directory:
        trained(run, directory)
        return sorted(path.name for path in Path(directory).glob("*.index"))


def trained_after(run):
    """The directories in which a run trains; nothing is trained."""
    return [Path(words["directory"]).name for words in trainings(run)]


def profiled(run):
    """The steps of which each training of a run writes a trace."""
    return [words.get("profile_steps") for words in trainings(run)]


def settled(run):
    """The precision of the networks that a run trains, on a machine on which bfloat16 is twice as fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli_train, "time_candidates", lambda *words: {"float32": [2.0], "bfloat16": [1.0]})
        plan = plan_run(run.config, run.parsed.given, run.strategy)
        return cli_train.settle_precision(plan, context_of(run)).config.runtime.precision


def counted(run):
    """How many updates were left out, as result.json says; none were."""
    found = []
    trainings(run, lambda directory: found.append(read_json(str(directory / "result.json"))))
    return found[0] and found[0]["train/skipped_steps"]


def trainings(run, look=lambda directory: None):
    """What each training of a run is called with; nothing is trained. `look` sees the directory afterwards."""
    trained = []

    def stand_in(state, source, context, **words):
        trained.append(words)
        return Outcome(run.state, run.durations.train_steps, finished=True)

    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch, in_small():
        patch.setattr(cli_train, "train", stand_in)
        patch.setattr(cli_train, "export", lambda *words: None)
        Path(root, "run").mkdir()
        assert cli_train.train_and_evaluate(plan_in(run, Path(root, "run")), context_of(run)).finished
        look(Path(root, "run"))
    return trained


def curves_in(run):
    """The folders below a run's own with curves of the evaluation."""
    with tempfile.TemporaryDirectory() as root:
        directory = Path(root, "run")
        directory.mkdir()
        report(plan_in(run, directory), 4, {TOP_1: 0.5, TOP_5: 0.5, "eval/examples": 22.0})
        return {path.parent.name for path in directory.rglob("events*")}


def described_or_trained(run):
    """Whether the command trains, or describes what it would train."""
    called = []
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((cli_train, "trains"), (cli_dry_run, "describes")):
            patch.setattr(module, "run", lambda *words, name=name: called.append(name))
        train_flags.main(run.parsed)
    return called


def kind_of_mode(run):
    """Which task the mode starts."""
    called = []
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as directory:
        for name in ("follow", "train_and_evaluate"):
            patch.setattr(cli_train, name, lambda *words, name=name: called.append(name) or RunResult(directory))
        patch.setattr(Workers, "wait_for_all", lambda self: None)
        config = replace(run.config, runtime=replace(run.config.runtime, model_dir=directory))
        cli_train.run(config, run.parsed.given)
    return called[0]


def said_in_mode_eval(run):
    """What a command without a training run to wait for ends with."""
    with in_small(), tempfile.TemporaryDirectory() as directory, pytest.raises(InputError) as error:
        follow(plan_in(run, directory, mode="eval"), run.strategy)
    return str(error.value).partition("Received: ")[2].partition(" s;")[0]


def asked_of_tpu(run):
    """What the resolver of TPUs is asked for; there is no TPU here, and so no answer."""
    asked = {}

    def resolver(**words):
        asked.update(words)
        raise ValueError("no TPU here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", resolver)
        patch.delenv("TPU_NAME", raising=False)
        with pytest.raises(InputError, match="no TPU here"):
            strategy.build_strategy(run.config.runtime, DeviceChoice("tpu", "a test asks for it"))
    return asked


def chosen(run):
    choice = choose(run.config.runtime, {})
    return choice.kind, choice.why


def replicas(run):
    return strategy.build_strategy(run.config.runtime, choose(run.config.runtime, {}))[0].num_replicas_in_sync


def opened_in(run):
    return plan_run(run.config, run.parsed.given, run.strategy).directory


def cpu_refused(run):
    """Whether the CPU, which is split into four here already, cannot be split otherwise."""
    tf.zeros([])  # TensorFlow has started
    try:
        replicas(run)
    except InputError as error:
        return "cpu_devices=3" in str(error)
    return False


def input_worker_missed(run):
    """The address of an input worker that is not there, as the plan of a run names it."""
    try:
        with in_small():
            plan_run(run.config, run.parsed.given, run.strategy)
    except InputError as error:
        return str(error).partition("Received: ")[2].partition(". ")[0]
    return None
