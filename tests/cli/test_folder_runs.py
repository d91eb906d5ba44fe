"""Runs on folders of images: what is held out stays held out, and an image that is gone is one line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.data.folders import class_folders, make_images
from tests.networks import small_networks_everywhere
from tf_simclr.cli import plan as plan_module
from tf_simclr.cli.main import main
from tf_simclr.data.folder import open_folder
from tf_simclr.data.request import SplitRequest

# What they try is how images are chosen, which is the same on both stacks.
pytestmark = pytest.mark.whole_runs

SMALL = (
    "--image_size=16",
    "--train_batch_size=8",
    "--eval_batch_size=8",
    "--resnet_depth=10",
    "--width_multiplier=0.0625",
    "--num_proj_layers=2",
    "--proj_out_dim=16",
    "--use_blur=False",
    "--warmup_epochs=0",
    "--learning_rate=0.1",
    "--draw_views=False",
)


@pytest.fixture(scope="module", autouse=True)
def small():
    """Two convolutions in place of a ResNet: nothing here depends on the networks, and a ResNet takes long to trace."""
    with small_networks_everywhere():
        yield


@pytest.fixture
def folder(tmp_path):
    return make_images(tmp_path / "data", class_folders({"a": 30, "b": 30}), side=16)


def train(tmp_path, *flags, steps=1):
    return main(["train", *SMALL, f"--model_dir={tmp_path / 'run'}", f"--train_steps={steps}", *flags])


def held_out(tmp_path):
    return json.loads((tmp_path / "run" / "held_out.json").read_text())["held_out"]


def drawn(folder, draw):
    return list(
        open_folder(
            SplitRequest(data_dir=str(folder), train_split="train", eval_split="test", hold_out_by=draw)
        ).evaluation.names()
    )


def test_a_run_lists_what_it_holds_out_and_says_when_that_changes(folder, tmp_path, capsys):
    data = ("--dataset=folder", f"--data_dir={folder}", "--train_steps=1")
    assert train(tmp_path, *data) == 0
    held = drawn(folder, "hash")
    assert held_out(tmp_path) == held
    flags = json.loads((tmp_path / "run" / "flags.json").read_text())
    assert flags["hold_out_by"] == "hash"
    # A training image goes: nothing changes sides, and nothing is said.
    (folder / next(name for name in class_folders({"a": 30}) if name not in held)).unlink()
    capsys.readouterr()
    assert train(tmp_path, *data) == 0
    assert "held_out.json" not in capsys.readouterr().out and held_out(tmp_path) == held
    # All that was held out of one class goes: another image must take its place, which this run has trained on.
    for name in held:
        if name.startswith("a/"):
            (folder / name).unlink()
    (new,) = set(drawn(folder, "hash")) - set(held)
    assert train(tmp_path, *data) == 0
    output = capsys.readouterr().out
    assert "note: 1 of" in output and f"may have trained on them: {new}" in output
    assert new not in held_out(tmp_path)


def test_a_start_before_the_first_checkpoint_lists_nothing_for_ever(folder, tmp_path):
    """It ended before it had saved anything; the directory then takes another draw."""
    data = ("--dataset=folder", f"--data_dir={folder}")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "held_out.json").write_text(json.dumps({"data_dir": "d", "held_out": ["a/000.png"]}))
    assert train(tmp_path, *data, "--data_seed=1") == 0
    expected = open_folder(
        SplitRequest(data_dir=str(folder), train_split="train", eval_split="test", seed=1)
    ).evaluation.names()
    assert held_out(tmp_path) == list(expected)


def test_a_run_from_before_keeps_its_draw(folder, tmp_path, capsys):
    """Its flags.json has no word on the draw, which was by count."""
    data = ("--dataset=folder", f"--data_dir={folder}")
    assert train(tmp_path, *data, "--hold_out_by=count") == 0
    by_count, by_hash = drawn(folder, "count"), drawn(folder, "hash")
    assert held_out(tmp_path) == by_count != by_hash
    path = tmp_path / "run" / "flags.json"
    recorded = json.loads(path.read_text())
    del recorded["hold_out_by"]
    for flags in (data, ()):  # as it was started, and with the flags of its own directory
        path.write_text(json.dumps(recorded))
        (tmp_path / "run" / "held_out.json").unlink(missing_ok=True)
        assert train(tmp_path, *flags) == 0
        assert held_out(tmp_path) == by_count
    # An evaluation of it, too, on images that it has not trained on.
    path.write_text(json.dumps(recorded))
    for own in ((), data):
        capsys.readouterr()
        report = tmp_path / f"report{len(own)}"
        command = [f"--checkpoint={tmp_path / 'run'}", "--protocols=knn", "--knn_k=1", f"--model_dir={report}"]
        assert main(["evaluate", *command, *own]) == 0
        assert f"{len(by_count)} of its 60 images" in capsys.readouterr().out


def test_an_image_that_goes_while_a_run_works_is_one_line(folder, tmp_path, capsys, monkeypatch):
    begin_run = plan_module.begin_run

    def then_lose_an_image(config, **options):
        begin_run(config, **options)
        for name in ("a", "b"):
            for path in (folder / name).iterdir():
                path.rename(tmp_path / f"{name}{path.name}")

    monkeypatch.setattr(plan_module, "begin_run", then_lose_an_image)
    assert train(tmp_path, "--dataset=folder", f"--data_dir={folder}") == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "cannot be read now: No such file or directory" in errors[0] and str(folder) in errors[0]


@pytest.mark.parametrize("mode", ["train_then_eval", "train"])
def test_splits_that_overlap_are_refused_before_anything_is_written(folder, tmp_path, capsys, mode):
    """A run that is only trained is evaluated later, when it is too late."""
    data = ("--dataset=folder", f"--data_dir={folder / 'a'}", f"--mode={mode}")
    make_images(folder / "a", class_folders({"train/x": 20, "train/y": 20}))
    assert train(tmp_path, *data, "--train_split=train[:80%]", "--eval_split=train[50%:]") == 2
    error = capsys.readouterr().err
    assert "error: Two splits must not share images" in error and error.count("error:") == 1
    assert not (tmp_path / "run").exists()


def test_a_run_on_a_table_of_labels(folder, tmp_path, capsys):
    names = class_folders({"a": 30, "b": 30})
    table = tmp_path / "labels.csv"
    table.write_text("path,label\n" + "".join(f"{name},{'even' if i % 2 else 'odd'}\n" for i, name in enumerate(names)))
    data = ("--dataset=folder", f"--data_dir={folder}", f"--labels={table}", "--mode=train_then_eval")
    assert train(tmp_path, *data) == 0
    (card,) = Path(tmp_path / "run").rglob("simclr.json")
    assert json.loads(card.read_text())["class_names"] == ["even", "odd"]
    # Evaluated without naming it again.
    command = [f"--checkpoint={tmp_path / 'run'}", "--protocols=knn", "--knn_k=1", f"--model_dir={tmp_path / 'report'}"]
    assert main(["evaluate", *command]) == 0
    assert json.loads((tmp_path / "report" / "report.json").read_text())["subject"]["class_names"] == ["even", "odd"]
    os.remove(table)
    capsys.readouterr()
    assert main(["evaluate", *command]) == 2
    assert "`labels` must name a CSV file" in capsys.readouterr().err


def test_a_table_below_the_folder_is_found_again(folder, tmp_path, capsys, monkeypatch):
    """Its name is relative to the folder, and no such file lies in the working directory."""
    names = class_folders({"a": 30, "b": 30})
    rows = [f"{name},{'even' if i % 2 else 'odd'}" for i, name in enumerate(names)]
    (folder / "labels.csv").write_text("\n".join(["path,label", *rows]))
    monkeypatch.chdir(tmp_path)
    assert train(tmp_path, "--dataset=folder", "--data_dir=data", "--labels=labels.csv") == 0
    recorded = json.loads((tmp_path / "run" / "flags.json").read_text())
    assert recorded["labels"] == str(folder / "labels.csv")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["train", f"--model_dir={tmp_path / 'run'}", "--train_steps=2"]) == 0
    assert main(["evaluate", f"--checkpoint={tmp_path / 'run'}", "--protocols=knn", "--knn_k=1"]) == 0
    assert f"--labels={folder / 'labels.csv'}" in next((tmp_path / "run").rglob("report.md")).read_text()
