"""Which precision --precision=auto chooses, and that a run keeps it."""

from __future__ import annotations

import json

import pytest
import tensorflow as tf

from tests.wiring.given import Given, in_small
from tf_simclr.cli import train as train_task
from tf_simclr.cli.main import run_task
from tf_simclr.cli.plan import keep_precision
from tf_simclr.config import RuntimeConfig, build_config
from tf_simclr.errors import InputError
from tf_simclr.train import precision_choice
from tf_simclr.train.directory import RunDirectory
from tf_simclr.train.precision_choice import CANDIDATES, choose_precision, time_candidates, time_in_turn


class Machine:
    """Steps that take so many seconds, on a clock of its own."""

    def __init__(self, **seconds):
        self.now, self.called, self._seconds = 0.0, [], seconds

    def clock(self):
        return self.now

    def step(self, name):
        self.called.append(name)
        self.now += self._seconds[name] if self.called.count(name) > 1 else 100.0  # the first call traces

    def times(self):
        return time_in_turn({name: lambda name=name: self.step(name) for name in self._seconds}, self.clock)


def test_steps_take_turns_and_the_first_of_each_is_not_counted():
    machine = Machine(float32=2.0, bfloat16=1.0)
    assert machine.times() == {"float32": [2.0] * 5, "bfloat16": [1.0] * 5}
    assert machine.called == ["float32", "bfloat16"] * 6


def test_slow_steps_are_timed_for_a_minute_and_once_at_least():
    assert Machine(float32=20.0, bfloat16=11.0).times() == {"float32": [20.0] * 2, "bfloat16": [11.0] * 2}
    assert Machine(float32=900.0, bfloat16=500.0).times() == {"float32": [900.0], "bfloat16": [500.0]}


@pytest.mark.parametrize(
    ("low", "chosen"), [([0.5, 0.5, 9.0], "bfloat16"), ([0.9], "bfloat16"), ([0.92], "float32"), ([2.0], "float32")]
)
def test_bfloat16_must_be_worth_it(low, chosen):
    precision, line = choose_precision({"float32": [1.0] * len(low), "bfloat16": low})
    assert precision == chosen
    assert line.startswith(
        f"precision: {chosen}, because a step took 1 s in float32 and {sorted(low)[len(low) // 2]:g} s"
    )
    assert "\n" not in line


@pytest.mark.parametrize("replicas", [1, 2])
def test_real_steps_of_the_run_are_timed(replicas, mirrored, monkeypatch):
    """Each candidate's own networks take steps on the run's own batch."""
    given = Given(precision="auto", micro_batch_size=4)
    strategy = tf.distribute.OneDeviceStrategy("CPU:0") if replicas == 1 else mirrored(replicas)
    states = []
    build = precision_choice.build_run_state
    monkeypatch.setattr(precision_choice, "ROUNDS", 2)
    monkeypatch.setattr(
        precision_choice,
        "build_run_state",
        lambda *words, **others: states.append(build(*words, **others)) or states[-1],
    )
    with in_small():
        seconds = time_candidates(given.config, given.durations, given.data.train, strategy)
    assert [len(seconds[name]) for name in CANDIDATES] == [2, 2] and min(map(min, seconds.values())) > 0
    assert [state.config.runtime.precision for state in states] == list(CANDIDATES)
    assert [int(state.optimizer.iterations.numpy()) for state in states] == [3, 3]


def test_a_run_records_its_choice_and_keeps_it(tmp_path, tiny_flags, monkeypatch, capsys):
    flags = [*tiny_flags, f"--model_dir={tmp_path}", "--mode=train", "--precision=auto"]
    monkeypatch.setattr(train_task, "export", lambda *words: None)
    monkeypatch.setattr(train_task, "time_candidates", lambda *words: {"float32": [2.0], "bfloat16": [1.0]})
    assert run_task("train", flags) == 0
    assert "precision: bfloat16, because a step took 2 s in float32 and 1 s in bfloat16" in capsys.readouterr().out
    assert json.loads((tmp_path / "flags.json").read_text())["precision"] == "bfloat16"
    monkeypatch.setattr(train_task, "time_candidates", lambda *words: pytest.fail("it was chosen already"))
    assert run_task("train", [*flags, "--train_steps=5"]) == 0
    assert f"--precision=auto: bfloat16, with which the run in {tmp_path} began" in capsys.readouterr().out


def test_an_evaluation_alone_chooses_nothing():
    config = build_config({"precision": "auto", "mode": "eval"})
    assert keep_precision(config, RunDirectory("nowhere"))[0].runtime.precision == "float32"


@pytest.mark.parametrize("task", ["evaluate", "study"])
def test_tasks_that_compare_leave_no_choice(task, tmp_path, capsys):
    with pytest.raises(InputError, match=rf"^`precision` must be float32, bfloat16, float16 for {task}\. Received: "):
        RuntimeConfig(precision="auto").require_precision(task)
    where = {"evaluate": f"--checkpoint={tmp_path}", "study": "--study=projection_head"}[task]
    assert run_task(task, [where, "--precision=auto", f"--model_dir={tmp_path / 'new'}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: `precision` must be") and not (tmp_path / "new").exists()
