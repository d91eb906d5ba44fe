"""Rows of a run as a whole: where it begins, what it writes, and which devices it takes."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorflow as tf
from tf_simclr.cli.session import Session, export, follow, report, train_mode

from tests.wiring.given import STEM, in_small
from tests.wiring.images import as_numbers
from tf_simclr import compat
from tf_simclr.cli import session as session_module
from tf_simclr.cli import train as cli_train
from tf_simclr.cli.train import open_session
from tf_simclr.errors import InputError
from tf_simclr.evaluate.classifier import TOP_1, TOP_5
from tf_simclr.interop import saved_model
from tf_simclr.train import run as run_module
from tf_simclr.train import strategy
from tf_simclr.train.checkpoints import read_values, resolve
from tf_simclr.train.device_choice import DeviceChoice, Worker, choose
from tf_simclr.train.interrupts import StopRequest
from tf_simclr.train.loop import Observers
from tf_simclr.train.run import Outcome
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
            run.config,
            run.durations,
            run.data.train,
            run.strategy,
            directory=directory,
            observer=Observers(),
            say=lambda line: None,
            stop=stop or StopRequest(),
            workers=Workers(Worker(), run.strategy),
        )


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


def begun(run, before=("old.txt",)):
    """The names of what is in a directory, and beside it, when a run begins in one where these files are."""
    with in_small(), tempfile.TemporaryDirectory() as root:
        directory = Path(root, "run")
        directory.mkdir()
        for name in before:
            (directory / name).write_text("")
        config = replace(run.config, runtime=replace(run.config.runtime, model_dir=str(directory)))
        session, _ = open_session(config, run.parsed.given, Workers(Worker(), run.strategy), run.strategy, None)
        session.begin()
        beside = {path.name.partition(".replaced-")[1] for path in Path(root).iterdir()} - {""}
        return sorted(path.name for path in directory.iterdir()), beside


def exports_kept(run):
    """The steps of the exports in a directory when that of step 4 was written beside those of steps 1 and 2."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        # Writing a SavedModel takes seconds, and is tried elsewhere: which are kept is looked at here.
        patch.setattr(saved_model, "export_saved_model", lambda model, path, card: Path(path).mkdir())
        for step in ("1", "2"):
            Path(directory, "saved_model", step).mkdir(parents=True)
        config = replace(run.config, runtime=replace(run.config.runtime, model_dir=directory))
        session = Session(config, run.data, run.durations, run.strategy, StopRequest(), None)
        export(session, Outcome(SimpleNamespace(model=None), 4, finished=True), {})
        return sorted(path.name for path in Path(directory, "saved_model").iterdir())


def checkpoints_kept(run):
    """The files of the checkpoints that a run of four steps leaves."""
    with tempfile.TemporaryDirectory() as directory:
        trained(run, directory)
        return sorted(path.name for path in Path(directory).glob("*.index"))


@contextlib.contextmanager
def watched_session(run):
    """A session in a new directory, and the list of the directories in which it trains; nothing is trained."""
    trained = []

    def stand_in(config, durations, source, strategy, *, directory, **others):
        trained.append(Path(directory).name)
        return Outcome(run.state, durations.train_steps, finished=True)

    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch, in_small():
        patch.setattr(session_module, "train", stand_in)
        patch.setattr(session_module, "export", lambda *words: None)
        Path(root, "run").mkdir()
        config = replace(run.config, runtime=replace(run.config.runtime, model_dir=str(Path(root, "run"))))
        yield Session(config, run.data, run.durations, run.strategy, StopRequest(), None), trained


def trained_after(run):
    with watched_session(run) as (session, trained):
        assert train_mode(session) == 0
    return trained


def curves_in(run):
    """The folders below a run's own with curves of the evaluation."""
    with watched_session(run) as (session, _):
        report(session, 4, {TOP_1: 0.5, TOP_5: 0.5, "eval/examples": 22.0})
        return {path.parent.name for path in Path(session.directory).rglob("events*")}


def kind_of_mode(run):
    """Which task the mode starts."""
    called = []
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as directory:
        for name in ("follow", "train_mode"):
            patch.setattr(cli_train, name, lambda session, name=name: called.append(name) or 0)
        patch.setattr(Workers, "wait_for_all", lambda self: None)
        config = replace(run.config, runtime=replace(run.config.runtime, model_dir=directory))
        cli_train.run(config, run.parsed.given)
    return called[0]


def said_in_mode_eval(run):
    """What a command without a training run to wait for ends with."""
    with in_small(), tempfile.TemporaryDirectory() as directory:
        config = replace(run.config, runtime=replace(run.config.runtime, mode="eval", model_dir=directory))
        session = Session(config, run.data, run.durations, run.strategy, StopRequest(), None)
        with pytest.raises(InputError) as error:
            follow(session)
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
    session, _ = open_session(run.config, run.parsed.given, Workers(Worker(), run.strategy), run.strategy, None)
    return session.directory


def cpu_refused(run):
    """Whether the CPU, which is split into four here already, cannot be split otherwise."""
    tf.zeros([])  # TensorFlow has started
    try:
        replicas(run)
    except InputError as error:
        return "cpu_devices=3" in str(error)
    return False
