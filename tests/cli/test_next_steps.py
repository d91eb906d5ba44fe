"""The last lines of every command are commands, which the command line takes as they are pasted."""

from __future__ import annotations

import importlib
import json
import shlex
from types import SimpleNamespace

import pytest

from tf_simclr.cli import flags, next_steps
from tf_simclr.cli.main import TASKS

# Two go on until they are stopped, and a comparison is an answer by itself.
NOTHING_FOLLOWS = {"browse", "input_worker", "compare"}
HOSTILE = "a b'$(c)\n"
INDEX = "--index=i x"


def steps(task, argv=(), **result):
    """The suggestions after a task, each as the words of a command."""
    parsed = flags.parse(argv, importlib.import_module(TASKS[task]).FLAG_GROUPS)
    printed = next_steps.lines(task, list(argv), parsed, SimpleNamespace(**{"exit_code": 0} | result))
    assert all(line.startswith("next: ") for line in printed[::2])
    assert all(line.startswith("  ") for line in printed[1::2])
    return [shlex.split(line) for line in printed[1::2]]


@pytest.fixture
def run(tmp_path):
    def write(**recorded):
        (tmp_path / "flags.json").write_text(json.dumps(recorded))
        return {"directory": str(tmp_path), "metrics": {}}

    return write


def tasks_of(commands):
    return [words[3] if words[1:3] == ["-m", "tf_simclr"] else words[1].removeprefix("-") for words in commands]


def results(run, tmp_path):
    table = {"lines": [(1,)], "page": None}
    index = ("outliers", "cluster", "select", "label_errors", "duplicates")
    page = tmp_path / "index.html"
    page.write_text("")
    return {
        "train": ([], run(dataset="shapes")),
        "distill": (["--teacher=t"], run(train_mode="distill")),
        "recipe": ([], {"directory": "runs/r"}),
        "plan": (["--accelerator=h100", "--train_batch_size=64", "--use_blur=false"], {}),
        "evaluate": (["--checkpoint=r", "--data_dir=my photos"], {"directory": "r/e"}),
        "study": (["--study=table4"], {"directory": str(tmp_path)}),
        "prepare": (["--data_dir=p", "--out=q"], {"directory": "/q"}),
        "views": (["--data_dir=p", "--min_crop_area=0.3", "--out=v.png"], {}),
        "convert": (["--checkpoint=r", "--output=o"], {"directory": "o"}),
        "embed": (["--checkpoint=r", "--out=i"], {"directory": "i"}),
        "predict": (["--checkpoint=r", "--data_dir=p"], {}),
        "search": ([INDEX, "--query=3"], table),
        "projector": ([INDEX, "--out=p"], {"out": "p"}),
        **{task: ([INDEX], table) for task in index},
    }


def test_every_task_suggests_commands_that_are_accepted(run, tmp_path):
    found = {task: steps(task, argv, **result) for task, (argv, result) in results(run, tmp_path).items()}
    assert set(found) == set(TASKS) - NOTHING_FOLLOWS and all(found.values())
    for command in (command for commands in found.values() for command in commands):
        if command[1:3] == ["-m", "tf_simclr"]:
            flags.parse(command[4:], importlib.import_module(TASKS[command[3]]).FLAG_GROUPS)
        elif command[1] == "run.py":
            flags.parse(command[2:], importlib.import_module(TASKS["train"]).FLAG_GROUPS)
        else:
            assert command[0] == "tensorboard" or command[:4] == ["python", "-m", "webbrowser", "-t"]


def test_after_a_training(run):
    assert tasks_of(steps("train", **run(dataset="shapes"))) == ["evaluate", "embed", "-logdir=" + run()["directory"]]
    unlabelled = run(dataset="folder")
    assert tasks_of(steps("train", **unlabelled))[0] == "embed"
    assert tasks_of(steps("train", **unlabelled | {"metrics": {"eval/knn_top_1": 0.5}}))[0] == "evaluate"
    assert tasks_of(steps("train", **run(train_mode="finetune")))[0] == "predict"


def test_after_a_dry_run_and_a_plan(run):
    given = ["--train_batch_size=64", "--nouse_blur"]
    [[*_, batch, blur]] = steps("train", [*given, "--dry_run"])
    assert {batch, blur} == {"--train_batch_size=64", "--use_blur=False"}
    [command] = steps("plan", ["--accelerator=h100", *given])
    assert set(command[-3:]) == {batch, blur, "--dry_run"} and not any("accelerator" in word for word in command)


def test_an_evaluation_suggests_the_index_of_the_run(run):
    checkpoint = run()["directory"]
    [command] = steps("evaluate", [f"--checkpoint={checkpoint}"], directory="r/e")
    assert command[-1] == f"--out={checkpoint}/index"
    [command] = steps("evaluate", [f"--checkpoint={checkpoint}", "--data_dir=other"], directory="r/e")
    assert command[-2:] == ["--data_dir=other", "--out=r/e/index"]


def test_an_example_that_lacks_a_package_comes_after_its_installation(tmp_path, monkeypatch):
    (tmp_path / "example.py").write_text("")
    converted = ["--checkpoint=r", f"--output={tmp_path}", "--to=torch"]
    monkeypatch.setattr(next_steps, "find_spec", lambda name: None if name == "torchvision" else "there")
    install, example = steps("convert", converted, directory=str(tmp_path))
    assert install == ["python", "-m", "pip", "install", "torchvision"] and example[-1].endswith("example.py")
    monkeypatch.setattr(next_steps, "find_spec", lambda name: "there")
    assert steps("convert", converted, directory=str(tmp_path)) == [example]


def test_a_worker_that_prints_nothing_suggests_nothing(run, monkeypatch):
    cluster = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    assert steps("train", **run()) == []
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster | {"task": {"type": "worker", "index": 0}}))
    assert len(steps("train", **run())) == 3


def test_a_stopped_task_names_the_command_that_goes_on():
    [command] = steps("train", ["--dataset=shapes"], directory="runs/x", exit_code=143)
    assert command[-2:] == ["--dataset=shapes", "--model_dir=runs/x"]
    [command] = steps("evaluate", ["--checkpoint=r", "--model_dir=own"], directory="own", exit_code=130)
    assert command == ["python", "-m", "tf_simclr", "evaluate", "--checkpoint=r", "--model_dir=own"]
    assert steps("evaluate", ["--checkpoint=r"], directory="own", exit_code=1) == []


def test_a_page_is_opened_and_a_table_gets_one(tmp_path):
    [command] = steps("outliers", [INDEX], lines=[1], page=str(tmp_path / "two words.html"))
    assert command[-1] == f"file://{tmp_path}/two%20words.html"
    assert steps("outliers", [INDEX], lines=[1], page=None)[0][-2:] == [INDEX, "--page=outliers.html"]
    assert steps("duplicates", [INDEX], lines=[], page=None) == []


def test_names_of_every_kind_stay_words_on_a_line(tmp_path):
    parsed = flags.parse(["--checkpoint=r"], importlib.import_module(TASKS["embed"]).FLAG_GROUPS)
    printed = next_steps.lines("embed", [], parsed, SimpleNamespace(exit_code=0, directory=HOSTILE))
    assert all("\n" not in line for line in printed) and r"--index=a b\047$(c)\012" in printed[1]
    assert steps("embed", ["--checkpoint=r", "--shard=1/2", "--out=two words"], directory="x") == [
        ["python", "-m", "tf_simclr", "embed", "--out=two words", "--merge"]
    ]


def test_a_checkout_trains_by_run_py_and_an_installed_package_by_its_task(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert next_steps.training_program() == ("python", "-m", "tf_simclr", "train")
    (tmp_path / "run.py").write_text("")
    assert next_steps.training_program() == ("python", "run.py")
