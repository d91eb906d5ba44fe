"""Stages that follow one another, read from a JSON file: what each is called with, which are done, what they found.

It needs no TensorFlow: the stages import it.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tf_simclr
from tf_simclr.cli import flags
from tf_simclr.cli.main import TASKS, say
from tf_simclr.config import ExperimentConfig, RuntimeConfig, build_config
from tf_simclr.config.identity import DEVICE_FLAGS
from tf_simclr.errors import InputError, require_choice
from tf_simclr.files import read_json, write_json
from tf_simclr.stored import require_types
from tf_simclr.train.device_choice import choose

RECIPES = Path(tf_simclr.__file__).parent / "recipes"
RECIPE_FILE = "recipe.json"
STAGE_TASKS = ("train", "distill", "evaluate")
# Of the flags that are given, those that an evaluation takes: the images are those of the run it evaluates.
_OF_EVALUATION = frozenset({*DEVICE_FLAGS, "eval_batch_size"})
# The flags that name an earlier stage.
_OF_STAGES = ("checkpoint", "teacher")


@dataclass(frozen=True)
class Stage:
    """One task with its flags.

    Attributes:
        name: of its directory.
        task: one of STAGE_TASKS.
        flags: by name; {NAME} as a checkpoint or teacher is the directory of an earlier stage.
    """

    name: str
    task: str
    flags: dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """Stages in their order.

    Attributes:
        name: of the recipe.
        purpose: a line for a person.
        source: where its numbers come from.
        stages: at least one, with the flags that all of them have in common.
    """

    name: str
    purpose: str
    source: str
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class _Written:
    """The types of a recipe's file."""

    purpose: str = ""
    source: str = ""
    flags: dict[str, Any] = field(default_factory=dict)
    stages: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class RecipeResult:
    """What the stages found.

    Attributes:
        directory: of the recipe, `model_dir`.
        figures: stage -> its figures by name; of the stages that are finished.
        exit_code: of the program that does the same; 0 where all stages are finished.
    """

    directory: str
    figures: Mapping[str, Mapping[str, float]]
    exit_code: int = 0


def read_recipe(name: str) -> Recipe:
    """A recipe of the package, or of a file.

    Raises:
        InputError: there is none, or the file is of another form.
    """
    known = {path.stem: path for path in sorted(RECIPES.glob("*.json"))}
    place = known.get(name, Path(name))
    values = read_json(str(place)) if place.suffix == ".json" else None
    if values is None:
        raise InputError(
            f"`recipe` must be one of: {', '.join(known)}, or the path of a JSON file. Received: recipe={name}. Check "
            "the name"
        )
    require_types(values, _Written, str(place))
    common, stages = values.get("flags", {}), []
    for number, entry in enumerate(values.get("stages", []), start=1):
        what = f"stage {number} of {place}"
        require_types(entry, Stage, what)
        if not {"name", "task"} <= set(entry):
            raise InputError(f"A stage must have a name and a task. Received: {what}, with {sorted(entry)}. Add both")
        require_choice(f"task of {what}", entry["task"], STAGE_TASKS)
        if not re.fullmatch(r"[A-Za-z0-9_-]+", entry["name"]):
            raise InputError(
                f"A stage must have a name of letters, digits, - and _. Received: {entry['name']!r} in {place}. Rename "
                "it"
            )
        shared = {} if entry["task"] == "evaluate" else common
        stages.append(Stage(entry["name"], entry["task"], {**shared, **entry.get("flags", {})}))
    if not stages or len({stage.name for stage in stages}) < len(stages):
        raise InputError(
            f"A recipe must have stages of different names. Received: {[stage.name for stage in stages]} in {place}. "
            "Name each once"
        )
    return Recipe(place.stem, values.get("purpose", ""), values.get("source", ""), tuple(stages))


def run(recipe: Recipe, directory: str, own: Mapping[str, Any]) -> RecipeResult:
    """Runs the stages that are not finished.

    Args:
        recipe: the stages.
        directory: each has one of its name below it.
        own: flags that are given, by name; they hold for all stages in place of the recipe's.

    Raises:
        InputError: a stage cannot work, or a finished one had other flags. Before the first stage: nothing is written.
    """
    require_one_process()
    stages = [with_own(stage, own) for stage in recipe.stages]
    places = {stage.name: os.path.join(directory, stage.name) for stage in stages}
    words, configs = {}, {}
    for number, stage in enumerate(stages):
        earlier = {other.name: places[other.name] for other in stages[:number]}
        words[stage.name] = words_of(stage, earlier, places[stage.name])
        configs[stage.name] = check(stage, words[stage.name])
    done = finished_in(directory, stages)
    changes = [line for name in done for line in changed_images(name, configs[name])]
    say(f"recipe {recipe.name}: {recipe.purpose}" if recipe.purpose else f"recipe {recipe.name}")
    for line in changes:
        say(line)
    for number, stage in enumerate(stages, start=1):
        if stage.name in done:
            say(f"stage {number} of {len(stages)}, {stage.name}: finished, in {places[stage.name]}")
            continue
        say(f"stage {number} of {len(stages)}, {stage.name}: {stage.task} in {places[stage.name]}")
        task = importlib.import_module(TASKS[stage.task])
        result = task.main(flags.parse(words[stage.name], task.FLAG_GROUPS))
        if result.exit_code or not getattr(result, "finished", True):
            return RecipeResult(directory, _figures(done), result.exit_code)
        done[stage.name] = {"flags": stage.flags, "figures": figures_of(result)}
        write_json(os.path.join(directory, RECIPE_FILE), {"format": 1, "recipe": recipe.name, "stages": done})
    for name, figures in _figures(done).items():
        shown = ", ".join(f"{tag} {value:.1%}" for tag, value in figures.items() if _is_top_1(tag))
        say(f"{name}: {shown or 'finished'}")
    return RecipeResult(directory, _figures(done))


def require_one_process() -> None:
    """Raises InputError where TF_CONFIG makes this process one of several workers."""
    worker = choose(RuntimeConfig(), os.environ).worker
    if worker.count > 1:
        raise InputError(
            f"A recipe runs in one process. Received: worker {worker.index} of {worker.count}. Unset TF_CONFIG, or run "
            "its stages one by one"
        )


def with_own(stage: Stage, own: Mapping[str, Any]) -> Stage:
    """The stage with the flags that were given in place of its own."""
    taken = {name: value for name, value in own.items() if stage.task != "evaluate" or name in _OF_EVALUATION}
    return Stage(stage.name, stage.task, {**stage.flags, **taken})


def words_of(stage: Stage, places: Mapping[str, str], directory: str) -> list[str]:
    """The command line of a stage in a directory.

    Args:
        stage: with all its flags.
        places: directories of the earlier stages, by name.
        directory: of this one.

    Raises:
        InputError: it begins with a stage that is not before it.
    """
    values = {**stage.flags, "model_dir": directory}
    for name in _OF_STAGES:
        place = re.fullmatch(r"\{(.*)\}", str(values.get(name, "")))
        if place is None:
            continue
        if place[1] not in places:
            raise InputError(
                f"`{name}` of a stage must be a path, or the name of an earlier stage in braces. Received: stage "
                f"{stage.name}, {name}={values[name]}. Before it are: {', '.join(places) or 'none'}"
            )
        values[name] = places[place[1]]
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


def check(stage: Stage, words: list[str]) -> ExperimentConfig | None:
    """Checks the flags of a stage as far as they can be checked before an earlier one has run.

    Returns:
        what it trains by; None for an evaluation.

    Raises:
        InputError: naming the stage.
    """
    task = importlib.import_module(TASKS[stage.task])
    try:
        values = flags.parse(words, task.FLAG_GROUPS).values
        if stage.task == "evaluate":
            task.PROTOCOLS.build(values).validate()
            return None
        return build_config(values | ({"train_mode": "distill"} if stage.task == "distill" else {}))
    except InputError as error:
        raise InputError(f"stage {stage.name}: {error}") from error


def changed_images(name: str, config: ExperimentConfig | None) -> list[str]:
    """Lines on a finished stage whose training images have changed since; none for an evaluation.

    Raises:
        InputError: they are other images.
    """
    if config is None:
        return []
    from tf_simclr.cli.recipe_images import notes_on_images

    return notes_on_images(name, config.runtime.directory, config)


def finished_in(directory: str, stages: list[Stage]) -> dict[str, Any]:
    """What is recorded of the stages that are finished and still there, by name.

    Raises:
        InputError: one had other flags, or the file is damaged.
    """
    place = os.path.join(directory, RECIPE_FILE)
    recorded = read_json(place) or {}
    done = {}
    for stage in stages:
        was = recorded.get("stages", {}).get(stage.name)
        if was is None or not os.path.isdir(os.path.join(directory, stage.name)):
            break  # what follows depends on it
        changed = sorted(
            name
            for name in {*was["flags"], *stage.flags} - set(DEVICE_FLAGS)
            if was["flags"].get(name) != stage.flags.get(name)
        )
        if changed:
            raise InputError(
                f"`model_dir` must be of the same recipe and flags. Received: {directory}, where stage {stage.name} is "
                f"finished with other values of: {', '.join(changed)}. Pass another --model_dir, or the same flags"
            )
        done[stage.name] = was
    return done


def figures_of(result: Any) -> dict[str, float]:
    """The figures of a stage by name: those of result.json, or the accuracies of an evaluation's report."""
    if hasattr(result, "metrics"):
        return dict(result.metrics)
    rows = [row for row in result.report.get("rows", []) if "top_1" in row["metrics"]]
    return {f"{row['protocol']} {row['setting']} top_1".strip(): row["metrics"]["top_1"]["mean"] for row in rows}


def _figures(done: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    return {name: stage["figures"] for name, stage in done.items()}


def _is_top_1(tag: str) -> bool:
    return tag.endswith(("label_top_1_accuracy", "knn_top_1", " top_1"))
