"""SIGTERM in each part of a run, and a second Ctrl-C anywhere: real signals, in this process and in others."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from tests.networks import small_networks
from tf_simclr.cli import convert_out, convert_tflite, follow, run_results
from tf_simclr.cli import evaluate as evaluate_task
from tf_simclr.cli import study as study_task
from tf_simclr.cli import train as train_task
from tf_simclr.cli.main import run_task
from tf_simclr.cli.online import OnlineWatch
from tf_simclr.errors import StoppedError
from tf_simclr.evaluate import load
from tf_simclr.interop import saved_model
from tf_simclr.train import build
from tf_simclr.train import run as train_run
from tf_simclr.train.interrupts import StopRequest

pytestmark = pytest.mark.whole_runs
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small networks, and the handlers as they were afterwards."""
    for module in (build, load):
        monkeypatch.setattr(module, "build_networks", small_networks)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def command(tiny_flags, tmp_path):
    more = ["--mode=train_then_eval", "--untrained_baseline", "--eval_every_epochs=1", "--online_eval_examples=16"]
    return [*tiny_flags, "--width_multiplier=1", *more, f"--model_dir={tmp_path / 'run'}"]


def run(flags, task="train"):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_task(task, flags)
    return code, out.getvalue(), err.getvalue()


def asked_to_stop(monkeypatch, holder, name, number=signal.SIGTERM):
    """Has a signal come in the first call of a function; returns what undoes it."""
    real, calls = getattr(holder, name), []

    def interrupted(*words, **options):
        if not calls:
            calls.append(name)
            os.kill(os.getpid(), number)
        return real(*words, **options)

    monkeypatch.setattr(holder, name, interrupted)
    return calls


@pytest.mark.parametrize(
    ("holder", "name", "said"),
    [
        (train_task, "build_strategy", "training had not begun: no step is lost"),
        (train_task, "plan_run", "training had not begun: no step is lost"),
        (train_run, "build_train_iterator", "no step was done, and nothing is saved"),
        (OnlineWatch, "__call__", "saved step 3 in"),
        (train_task, "evaluate_classifier", "saved step 4 in"),
        (train_task, "untrained_baseline", "saved step 4 in"),
        (run_results, "export_step", "saved step 4 in"),
        (saved_model, "write_stock_encoder", "saved step 4 in"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_sigterm_is_heard_in_each_part_and_the_same_command_finishes(
    monkeypatch, tmp_path, command, holder, name, said
):
    with monkeypatch.context() as patch:
        calls = asked_to_stop(patch, holder, name)
        code, output, errors = run(command)
    assert calls and code == 143, errors
    assert "SIGTERM received: " in output and said in output and "to go on" in output
    assert errors == "" and not list((tmp_path / "run").glob("lock*"))
    exports = tmp_path / "run" / "saved_model"
    assert not exports.exists() or list(exports.iterdir()) == []
    if name in ("untrained_baseline", "write_stock_encoder", "OnlineWatch"):
        code, output, errors = run(command)
        assert code == 0 and "SavedModel written to" in output, errors


def test_sigterm_while_an_evaluation_waits_for_checkpoints(monkeypatch, command):
    assert run([*command, "--mode=train", "--train_steps=2", "--warmup_epochs=0"])[0] == 0
    real = follow.report

    def then_wait(*words):
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return real(*words)

    monkeypatch.setattr(follow, "report", then_wait)
    code, output, _ = run([*command, "--mode=eval", "--train_steps=4", "--eval_timeout=60"])
    assert code == 143 and "figures that were reported are kept" in output


@pytest.mark.parametrize("name", ["open_context", "report"])
def test_sigterm_in_an_evaluation(monkeypatch, tmp_path, command, name):
    assert run([*command, "--mode=train"])[0] == 0
    flags = [f"--checkpoint={tmp_path / 'run'}", "--protocols=knn", f"--model_dir={tmp_path / 'report'}"]
    with monkeypatch.context() as patch:
        calls = asked_to_stop(patch, evaluate_task, name)
        code, output, errors = run(flags, "evaluate")
    assert calls and code == 143, errors
    assert "SIGTERM received: what was done is kept" in output
    assert not list(tmp_path.rglob("lock*"))
    code, output, errors = run(flags, "evaluate")
    assert code == 0 and ("1 of 1 results are kept" in output) == (name == "report"), errors


@pytest.mark.parametrize("name", ["open_context", "run_cells", "report"])
def test_sigterm_in_a_study(monkeypatch, tmp_path, name):
    flags = ["--study=figure5", "--cells=crop", "--scale=tiny", "--train_split=train[:48]", "--eval_split=test[:22]"]
    calls = asked_to_stop(monkeypatch, study_task, name)
    code, output, errors = run([*flags, f"--model_dir={tmp_path / 'study'}"], "study")
    assert calls and code == 143, errors
    assert "SIGTERM received: what was done is kept" in output and not list(tmp_path.rglob("lock*"))
    assert len(list(tmp_path.rglob("cells/*.json"))) == (name == "report")


TWICE = """
import os, signal, sys, threading, time
from tf_simclr.cli import main, train_flags

def busy(parsed):
    import hashlib
    from tf_simclr.train.interrupts import StopRequest
    with StopRequest().watch():
        print("busy", flush=True)
        hashlib.pbkdf2_hmac("sha512", b"x", b"y", 2**31 - 1)  # minutes in one instruction of Python's, as compiling is

train_flags.main = busy
sys.exit(main.run_task("train", []))
"""


def test_a_second_ctrl_c_ends_a_process_that_python_cannot_interrupt():
    words = [sys.executable, "-c", TWICE]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "busy\n"
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "SIGINT received: ended at once" in errors and "Traceback" not in errors


def test_ctrl_c_before_anything_is_watched_is_one_line(monkeypatch):
    from tf_simclr.cli import train_flags

    monkeypatch.setattr(train_flags, "complete", lambda parsed: os.kill(os.getpid(), signal.SIGINT))
    code, _, errors = run([])
    assert code == 130 and errors == "SIGINT received: ended; what was saved before is kept\n"


def test_sigterm_in_a_conversion_leaves_nothing_and_the_same_command_works(monkeypatch, tmp_path, command):
    assert run([*command, "--mode=train"])[0] == 0
    flags = [f"--checkpoint={tmp_path / 'run'}", f"--output={tmp_path / 'out'}"]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    for to, holder, name in (("saved_model", convert_out, "write_format"), ("tflite", convert_tflite, "run_apart")):
        with monkeypatch.context() as patch:
            calls = asked_to_stop(patch, holder, name)
            code, output, errors = run([*flags, f"--to={to}"], "convert")
        assert calls and code == 143, errors
        assert "SIGTERM received: nothing is written to" in output and not list(tmp_path.glob("out*"))
        assert not list(scratch.iterdir())
    assert run([*flags, "--to=saved_model"], "convert")[0] == 0
    assert [path.name for path in tmp_path.glob("out*")] == ["out"]


LOADING = """
import builtins, os, runpy, signal, sys
real, watched, program = __import__, sys.argv[1], sys.argv[2]
def stopping(name, *words, **options):
    if name.partition(".")[0] == watched:
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *words, **options)
builtins.__import__ = stopping
del sys.argv[:2]
(runpy.run_path if program.endswith(".py") else runpy.run_module)(program, run_name="__main__")
"""


@pytest.mark.parametrize("program", [[str(ROOT / "run.py")], ["tf_simclr", "evaluate"]])
def test_ctrl_c_while_the_program_is_loaded_shows_no_traceback(program):
    words = [sys.executable, "-c", LOADING, "absl", *program]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGINT and done.stderr == "" and done.stdout == ""


def test_a_signal_before_workers_connect_is_not_forgotten():
    stop = StopRequest()
    with stop.watch():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StoppedError), stop.left_to_the_system():
            pytest.fail("the work has begun")
        handler = signal.getsignal(signal.SIGTERM)
        with StopRequest().left_to_the_system():
            assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGINT) == signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) == handler
