"""The stages of a recipe, one after another, each finished once."""

from __future__ import annotations

import json

import pytest
import tensorflow as tf

from tests.networks import small_networks_everywhere
from tf_simclr.cli import recipe
from tf_simclr.cli import train as train_task
from tf_simclr.cli.flags import parse
from tf_simclr.cli.main import main
from tf_simclr.cli.train_flags import FLAG_GROUPS
from tf_simclr.config import build_config
from tf_simclr.errors import InputError

STAGES = ["pretrain", "finetune", "distill", "evaluate"]
TINY = (
    *("--train_split=train[:48]", "--eval_split=test[:22]", "--image_size=16", "--train_batch_size=16"),
    *("--eval_batch_size=8", "--warmup_epochs=0", "--train_steps=2", "--draw_views=False", "--stem=auto"),
)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small networks, and no export, which takes as long as the rest."""
    monkeypatch.setattr(train_task, "export", lambda *words: None)
    with small_networks_everywhere():
        yield


def test_the_stages_follow_one_another_and_are_finished_once(tmp_path, capsys):
    words = ["recipe", "--recipe=simclr_v2_tiny", f"--model_dir={tmp_path / 'v2'}", *TINY]
    assert main(words) == 0
    said = capsys.readouterr().out
    for number, name in enumerate(STAGES, start=1):
        assert f"stage {number} of 4, {name}: " in said
    assert f"from {tmp_path / 'v2' / 'pretrain' / 'ckpt-2'}" in said  # the fine-tuning
    assert f"teacher {tmp_path / 'v2' / 'finetune'}" in said
    found = json.loads((tmp_path / "v2" / "recipe.json").read_text())
    assert list(found["stages"]) == sorted(STAGES) and found["recipe"] == "simclr_v2_tiny"
    assert found["stages"]["distill"]["flags"]["teacher"] == "{finetune}"
    figures = {name: stage["figures"] for name, stage in found["stages"].items()}
    assert "eval/label_top_1_accuracy" in figures["distill"] and any("knn" in name for name in figures["evaluate"])
    assert f"distill: eval/label_top_1_accuracy {figures['distill']['eval/label_top_1_accuracy']:.1%}" in said

    # A stage that is not finished goes on, and the finished ones are left alone.
    del found["stages"]["evaluate"], found["stages"]["distill"]
    (tmp_path / "v2" / "recipe.json").write_text(json.dumps(found))
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"stage 2 of 4, finetune: finished, in {tmp_path / 'v2' / 'finetune'}" in said
    assert f"resuming from step 2 in {tmp_path / 'v2' / 'distill'}" in said and said.count("resuming") == 1
    assert main(words) == 0
    assert capsys.readouterr().out.count(": finished, in") == 4

    # A stage whose directory is gone is done again, with all that follow.
    (tmp_path / "v2" / "evaluate").rename(tmp_path / "elsewhere")
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.count(": finished, in") == 3 and (tmp_path / "v2" / "evaluate").is_dir()

    assert main([*words, "--train_steps=3"]) == 2
    error = capsys.readouterr().err
    assert "stage pretrain is finished with other values of: train_steps" in error and error.count("\n") == 1


def test_a_stage_that_stops_ends_the_recipe(tmp_path, monkeypatch, capsys):
    class Stopped:
        exit_code, finished = 143, False

    monkeypatch.setattr("tf_simclr.cli.train_flags.main", lambda parsed: Stopped())
    assert main(["recipe", "--recipe=simclr_v2_tiny", f"--model_dir={tmp_path / 'v2'}"]) == 143
    assert "finetune" not in capsys.readouterr().out and not (tmp_path / "v2").exists()


def test_the_recipe_of_the_paper_has_its_numbers():
    found = recipe.read_recipe("simclr_v2")
    configs = {}
    for stage in found.stages[:3]:
        values = parse([f"--{name}={value}" for name, value in stage.flags.items()], FLAG_GROUPS).values
        configs[stage.name] = build_config(values | ({"train_mode": "distill"} if stage.task == "distill" else {}))
    rates = {name: c.optimizer.peak_learning_rate(c.data.train_batch_size) for name, c in configs.items()}
    assert rates == pytest.approx({"pretrain": 6.4, "finetune": 0.16, "distill": 6.4})
    assert {name: c.train.train_epochs for name, c in configs.items()} == {
        **{"pretrain": 800, "finetune": 30, "distill": 400}
    }
    assert configs["finetune"].train.ft_proj_selector == 1 and configs["distill"].train.checkpoint is None
    assert configs["distill"].distillation.distill_temperature == 0.1


def recipe_of(tmp_path, **values):
    stage = {"name": "one", "task": "train", "flags": {"dataset": "shapes"}}
    (tmp_path / "own.json").write_text(json.dumps({"stages": [stage | values.pop("stage", {})], **values}))
    return str(tmp_path / "own.json")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stages": []}, "must have stages of different names"),
        ({"stages": 3}, "own.json"),
        ({"stage": {"task": "study"}}, "must be one of: train, distill, evaluate"),
        ({"stage": {"name": "../up"}}, "a name of letters"),
        ({"stage": {"flags": {"checkpoint": "{two}", "train_mode": "finetune"}}}, "Before it are: none"),
        ({"stage": {"flags": {"temperature": 0}}}, "stage one: `temperature` must be > 0"),
        ({"stage": {"flags": {"no_such": 1}}}, "stage one: Unknown command line flag"),
        ({"stage": {"task": "distill"}}, "stage one: `teacher` must name"),
    ],
)
def test_a_recipe_that_cannot_work_is_one_line(values, message, tmp_path, capsys):
    place = recipe_of(tmp_path, **values)
    assert main(["recipe", f"--recipe={place}", f"--model_dir={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "run").exists()


@pytest.mark.parametrize("place", sorted(recipe.RECIPES.glob("*.json")), ids=lambda place: place.stem)
def test_each_recipe_of_the_package_can_begin(place):
    found, earlier = recipe.read_recipe(place.stem), {}
    assert found.purpose and found.source
    for stage in found.stages:
        recipe.check(stage, recipe.words_of(stage, earlier, stage.name))
        earlier[stage.name] = stage.name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--recipe=simclr_v3"], "`recipe` must be one of: few_labels_10pct, few_labels_1pct, simclr_v2, "),
        (["--recipe=/nowhere.json"], "or the path of a JSON file"),
        (["--teacher=x"], "`teacher` is what each stage of a recipe has for itself"),
        (["--temperature=0"], "stage pretrain: `temperature`"),
    ],
)
def test_a_command_that_cannot_work_is_one_line(words, message, tmp_path, capsys):
    assert main(["recipe", f"--model_dir={tmp_path / 'run'}", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "run").exists()


def test_several_workers_run_no_recipe(monkeypatch):
    cluster = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    with pytest.raises(InputError, match="one process"):
        recipe.require_one_process()


def write_photos(place, height):
    for number, name in enumerate(("a", "b") * 8):
        path = place / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        tf.io.write_file(str(path), tf.io.encode_png(tf.fill([height, 16, 3], tf.cast(number, tf.uint8))))


def test_a_finished_stage_says_that_its_images_have_changed(tmp_path, capsys):
    photos = tmp_path / "photos"
    write_photos(photos, height=16)
    stage = {"flags": {"dataset": "folder", "data_dir": str(photos), "mode": "train"}}
    lengths = ("--draw_views=False", "--image_size=16", "--train_batch_size=8", "--warmup_epochs=0", "--train_steps=1")
    words = ["recipe", f"--recipe={recipe_of(tmp_path, stage=stage)}", f"--model_dir={tmp_path / 'run'}", *lengths]
    assert main(words) == 0
    assert main(words) == 0
    assert "have changed" not in capsys.readouterr().out
    write_photos(photos, height=12)
    assert main(words) == 0
    assert "note: stage one is finished, and files of the training images have changed" in capsys.readouterr().out
