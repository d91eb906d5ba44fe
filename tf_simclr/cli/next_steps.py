"""What a command says last: what to do next, as commands that can be pasted as they are."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from tf_simclr.cli.flags import ParsedFlags
from tf_simclr.config import FLAGS_FILE, FOLDER, ExperimentConfig
from tf_simclr.config.experiment import parts
from tf_simclr.errors import InputError
from tf_simclr.escape import as_command, as_flag
from tf_simclr.files import read_json
from tf_simclr.train.device_choice import read_worker
from tf_simclr.train.interrupts import EXIT_CODES

# What an example reads the files with, where writing them needs less.
_EXAMPLE_NEEDS = {"torch": ("torch", "torchvision")}
_PROGRAM = ("python", "-m", "tf_simclr")


class Step(NamedTuple):
    """A command, in words, and what it does."""

    what: str
    command: tuple[str, ...]


def lines(task: str, argv: Sequence[str], parsed: ParsedFlags, result: Any) -> list[str]:
    """The last lines of a command; none where there is nothing to suggest.

    Args:
        task: its name.
        argv: its flags as they were given.
        parsed: the same, parsed.
        result: what the task returned, with its `exit_code`.
    """
    if result.exit_code:
        steps = _continued(task, argv, parsed, result)
    elif task in _NEXT:
        steps = _NEXT[task](parsed, result)
    else:
        steps = _after_table(task, argv, parsed, result)
    return [line for what, command in steps for line in (f"next: {what}", f"  {as_command(command)}")]


def _continued(task: str, argv: Sequence[str], parsed: ParsedFlags, result: Any) -> list[Step]:
    """The same command for a task that was stopped, with the directory that it made up, if any."""
    directory = getattr(result, "directory", None)
    if result.exit_code not in EXIT_CODES.values() or not directory:
        return []
    invented = "model_dir" in parsed.values and not parsed.values["model_dir"]
    program = training_program() if task == "train" else (*_PROGRAM, task)
    return [Step("go on", (*program, *argv, *([f"--model_dir={directory}"] if invented else [])))]


def training_program() -> tuple[str, ...]:
    """How a training is started from here: by run.py in a checkout, by the package elsewhere."""
    started = sys.argv[0] if os.path.basename(sys.argv[0]) == "run.py" else "run.py"
    return ("python", started) if os.path.isfile(started) else (*_PROGRAM, "train")


def _task(name: str, **flags: Any) -> tuple[str, ...]:
    return (*_PROGRAM, name, *(f"--{flag}={value}" for flag, value in flags.items() if value))


def _open(page: str) -> Step:
    place = page if "://" in page else Path(page).absolute().as_uri()
    return Step("look at the page", ("python", "-m", "webbrowser", "-t", place))


def _after_training(parsed: ParsedFlags, result: Any) -> list[Step]:
    if parsed.values["dry_run"]:
        return [Step("train it", (*training_program(), *_flags_of_run(parsed)))]
    with contextlib.suppress(InputError):
        if not read_worker(os.environ).chief:
            return []  # the chief alone prints
    place = result.directory
    recorded: dict[str, Any] = {}
    with contextlib.suppress(InputError):  # the work is done, whatever became of this file
        recorded = read_json(os.path.join(place, FLAGS_FILE)) or {}
    curves = _curves(place)
    if recorded.get("train_mode") in ("finetune", "distill"):
        csv = os.path.join(place, "predictions.csv")
        return [Step("predict the classes of its images", _task("predict", checkpoint=place, csv=csv)), curves]
    embed = _embedding(place, os.path.join(place, "index"))
    labelled = recorded.get("dataset") != FOLDER or any(name.startswith("eval/") for name in result.metrics)
    evaluate = Step("evaluate the features by every frozen protocol", _task("evaluate", checkpoint=place))
    return [*([evaluate] if labelled else []), embed, curves]


def _embedding(checkpoint: str, out: str, **images: Any) -> Step:
    return Step("make the images searchable", _task("embed", checkpoint=checkpoint, **images, out=out))


def _after_evaluation(parsed: ParsedFlags, result: Any) -> list[Step]:
    images = {name: parsed.values[name] for name in ("dataset", "data_dir", "labels") if name in parsed.given}
    checkpoint = parsed.values["checkpoint"]
    # The run's own images have the index that a training suggests.
    place = result.directory if images or not os.path.isfile(os.path.join(checkpoint, FLAGS_FILE)) else checkpoint
    return [_embedding(checkpoint, os.path.join(place, "index"), **images)]


def _after_study(parsed: ParsedFlags, result: Any) -> list[Step]:
    page = os.path.join(result.directory, "index.html")
    return [_open(page)] if os.path.isfile(page) else []


def _after_preparing(parsed: ParsedFlags, result: Any) -> list[Step]:
    training = (*training_program(), "--mode=train_then_eval", f"--data_dir={result.directory}")
    return [
        Step("look at the views that a training sees", _task("views", data_dir=result.directory)),
        Step("train on the prepared images", training),
    ]


def _after_views(parsed: ParsedFlags, result: Any) -> list[Step]:
    same = _flags_of_run(parsed)
    return [Step("train on these views", (*training_program(), "--mode=train_then_eval", *same))]


def _flags_of_run(parsed: ParsedFlags) -> list[str]:
    """Those flags of a command that `run.py` takes, but not --dry_run."""
    known = {field.name for part in parts(ExperimentConfig()) for field in dataclasses.fields(part)} - {"dry_run"}
    return [as_flag(name, parsed.values[name]) for name in parsed.values if name in parsed.given & known]


def _after_recipe(parsed: ParsedFlags, result: Any) -> list[Step]:
    return [_curves(result.directory)]


def _after_plan(parsed: ParsedFlags, result: Any) -> list[Step]:
    sizes = (*training_program(), *_flags_of_run(parsed), "--dry_run")
    return [Step("see the sizes and lengths of this run; nothing is trained", sizes)]


def _curves(place: str) -> Step:
    return Step("look at the curves", ("tensorboard", f"--logdir={place}"))


def _after_conversion(parsed: ParsedFlags, result: Any) -> list[Step]:
    if parsed.values["to"] != "run":
        example = os.path.join(result.directory, "example.py")
        if not os.path.isfile(example):
            return []
        packages = [name for name in _EXAMPLE_NEEDS.get(parsed.values["to"], ()) if find_spec(name) is None]
        install = Step("install what the example needs", ("python", "-m", "pip", "install", *packages))
        return [*[install] * bool(packages), Step("try the files without tf_simclr", ("python", example))]
    try_out = _task("evaluate", checkpoint=result.directory, dataset="shapes", protocols="knn")
    return [Step("try the network on the built-in images", try_out)]


def _after_embedding(parsed: ParsedFlags, result: Any) -> list[Step]:
    if parsed.values["shard"]:
        return [Step("when all shards are there, merge them", (*_task("embed", out=parsed.values["out"]), "--merge"))]
    index = result.directory
    return [
        Step(
            "find the images that are most like the first", _task("search", index=index, query="0", page="found.html")
        ),
        Step("look at all of them in a browser", _task("browse", index=index)),
        Step("find copies", _task("duplicates", index=index, page="copies.html")),
    ]


def _after_prediction(parsed: ParsedFlags, result: Any) -> list[Step]:
    values, images = parsed.values, ("dataset", "data_dir", "labels")
    return [
        _embedding(values["checkpoint"], "index", **{name: values[name] for name in images if name in parsed.given})
    ]


def _after_projector(parsed: ParsedFlags, result: Any) -> list[Step]:
    return [Step("look at the images", ("tensorboard", "--logdir", result.out))]


def _after_table(task: str, argv: Sequence[str], parsed: ParsedFlags, result: Any) -> list[Step]:
    """After a task that finds images: its page, or the same command with one."""
    if "page" not in parsed.values or not result.lines:
        return []
    if result.page:
        return [_open(result.page)]
    return [Step("see the images on a page", (*_PROGRAM, task, *argv, f"--page={task}.html"))]


# By task; those that write a table of images are not here.
_NEXT: dict[str, Callable[[ParsedFlags, Any], list[Step]]] = {
    "train": _after_training,
    "distill": _after_training,
    "recipe": _after_recipe,
    "plan": _after_plan,
    "evaluate": _after_evaluation,
    "study": _after_study,
    "prepare": _after_preparing,
    "views": _after_views,
    "convert": _after_conversion,
    "embed": _after_embedding,
    "predict": _after_prediction,
    "projector": _after_projector,
}
