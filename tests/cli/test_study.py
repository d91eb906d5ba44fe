"""`python -m tf_simclr study`, in this process: every study on tiny images, stops, shards, reports, and refusals."""

from __future__ import annotations

import csv
import itertools
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import tf_simclr
from tests.networks import small_networks_everywhere
from tests.weights.foreign_files import Spec, write_tf1
from tf_simclr.cli import study as study_task
from tf_simclr.cli.main import main
from tf_simclr.config import STUDY_NAMES
from tf_simclr.config.study import OF_DATA_SETS
from tf_simclr.errors import InputError
from tf_simclr.studies import run_cell as study_cells
from tf_simclr.studies.catalogue import STUDIES
from tf_simclr.studies.identity import COMPARABLE
from tf_simclr.train.checkpoint_store import CheckpointStore

pytestmark = pytest.mark.whole_runs
FEW_STEPS = "--train_steps=2"


def study(name, directory, *flags):
    few = () if name == "figure9" else (FEW_STEPS,)  # its lengths are what it varies
    return main(["study", f"--study={name}", "--scale=tiny", f"--model_dir={directory}", *few, *flags])


@pytest.fixture
def small():
    """Two convolutions in place of a ResNet, whose graph takes seconds to trace in each of a study's cells."""
    with small_networks_everywhere():
        yield


MANY_CELLS = 8  # a third of these is run: what is drawn of all of them is tested on made-up results in tests/studies
# Likewise, of fewer cells that take long or differ in one flag: every so many of them.
EVERY = {"table4": 2, "table5": 5, "table6": 3, "table7": 4}


@pytest.mark.parametrize("name", [name for name in STUDY_NAMES if name not in OF_DATA_SETS])
def test_every_study_runs_and_is_drawn(name, small, tmp_path, capsys):
    cells = STUDIES[name].cells("tiny")
    every = EVERY.get(name, 3 if len(cells) >= MANY_CELLS else 1)
    if every > 1:
        assert study(name, tmp_path, f"--shard=0/{every}") == 0
        cells = cells[::every]
    more = ["--report"] if len(cells) < len(STUDIES[name].cells("tiny")) else ["--keep_runs"] * (name == "figure8")
    assert study(name, tmp_path, *more) == 0
    printed = capsys.readouterr().out
    assert f"[{len(cells)}/{len(cells)}]" in printed
    found = json.loads((tmp_path / "numbers.json").read_text())
    measured = [cell for cell in found["cells"] if cell["results"]]
    assert len(measured) == len(cells)
    for cell in measured:
        assert [result["seed"] for result in cell["results"]] == [0]
        wanted = (
            {"top_1", "parameters"}
            if cell["name"].startswith("supervised") and name != "table7"
            else set(STUDIES[name].measures)
        )
        assert wanted <= set(cell["results"][0]["measures"]) | (
            {"projection_top_1"} if cell["name"] == "none" else set()
        )
    assert all(f"{finding.statement} (" in printed for finding in STUDIES[name].findings)
    assert len(cells) < len(STUDIES[name].cells("tiny")) or not any(
        evaluated["outcome"] == "not measured" for evaluated in found["findings"]
    )
    rows = list(csv.DictReader((tmp_path / "numbers.csv").open()))
    assert len(rows) == len(STUDIES[name].cells("tiny")) * len(STUDIES[name].measures)
    assert (tmp_path / "index.html").stat().st_size > 10_000
    drawn = {path.stem for path in (tmp_path / "pictures").glob("*.png")}
    assert {figure.name for figure in STUDIES[name].figures} <= drawn
    runs = tmp_path / "runs"
    assert (len(list(runs.glob("*"))) if runs.exists() else 0) == (len(cells) if name == "figure8" else 0)


def measures(directory):
    return {path.name: json.loads(path.read_text())["measures"] for path in (directory / "cells").glob("*.json")}


@pytest.mark.training_runs
def test_a_study_goes_on_where_it_was_stopped(small, tmp_path, capsys, monkeypatch):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    # With three steps an epoch every step is a summary window of its own; a longer one would begin anew after a stop.
    flags = ("--cells=crop,crop+color", "--train_split=train[:48]")
    assert study("figure5", whole, *flags) == 0
    # Somebody asks to stop in the middle of the second cell: after the first of the two checkpoints of its training.
    save, saves = CheckpointStore.save, []
    request = study_task.StopRequest()
    monkeypatch.setattr(study_task, "StopRequest", lambda: request)

    def save_then_stop(self, step):
        saves.append(step)
        if len(saves) == 3:
            request.signal_name = "SIGTERM"
        return save(self, step)

    monkeypatch.setattr(CheckpointStore, "save", save_then_stop)
    capsys.readouterr()
    every_step = (*flags, "--checkpoint_steps=1")
    assert study("figure5", stopped, *every_step) == 143
    assert "SIGTERM received: what was done is kept" in capsys.readouterr().out
    assert sorted(measures(stopped)) == ["crop-seed0.json"]
    request.signal_name = None
    monkeypatch.setattr(CheckpointStore, "save", save)
    assert study("figure5", stopped, *every_step) == 0
    printed = capsys.readouterr().out
    assert "1 of 2 results are kept from an earlier call" in printed
    assert "[2/2] crop+color, seed 0" in printed
    assert measures(stopped) == measures(whole)


def test_shards_share_the_work_and_a_report_merges_it(small, tmp_path, capsys):
    flags = ("--cells=crop,crop+color", "--seeds=0,1")
    for shard, cells in (("0/2", 2), ("1/2", 4)):
        assert study("figure5", tmp_path, *flags, f"--shard={shard}") == 0
        assert len(measures(tmp_path)) == cells
        assert not (tmp_path / "index.html").exists()
    capsys.readouterr()
    assert study("figure5", tmp_path, "--report") == 0
    assert "7 of 9 cells are not measured yet" in capsys.readouterr().out
    found = json.loads((tmp_path / "numbers.json").read_text())
    seeds = {cell["name"]: [result["seed"] for result in cell["results"]] for cell in found["cells"]}
    assert seeds["crop+color"] == [0, 1]
    assert seeds["rotate"] == []


def test_a_cell_that_fails_leaves_the_others(small, tmp_path, capsys, monkeypatch):
    run_cell = study_cells.run_cell

    def fails_once(context, cell, seed, directory):
        if cell.name == "color":
            raise InputError("training diverged by step 1")
        return run_cell(context, cell, seed, directory)

    monkeypatch.setattr("tf_simclr.studies.runner.run_cell", fails_once)
    assert study("figure5", tmp_path, "--cells=color,crop") == 1
    assert "error: not measured: color, seed 0: training diverged by step 1" in capsys.readouterr().out
    assert list(measures(tmp_path)) == ["crop-seed0.json"]


def test_cached_images_are_read_once_for_all_cells(small, tmp_path, monkeypatch):
    """They are gone when the first cell is done, and the second does not notice."""
    images, generator = tmp_path / "pictures", np.random.default_rng(0)
    for split, label, number in itertools.product(("train", "test"), "ab", range(16)):
        path = images / split / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
    run_cell = study_cells.run_cell

    def then_lose_the_images(*arguments):
        result = run_cell(*arguments)
        shutil.rmtree(images, ignore_errors=True)
        return result

    monkeypatch.setattr("tf_simclr.studies.runner.run_cell", then_lose_the_images)
    flags = (
        "--dataset=folder",
        f"--data_dir={images}",
        "--train_split=train",
        "--eval_split=test",
        "--cache_dataset",
        "--cells=l2 norm tau=0.1,l2 norm tau=0.5",
    )
    assert study("table5", tmp_path / "study", *flags) == 0
    assert len(measures(tmp_path / "study")) == 2


def write_images(folder, splits=("train/", "test/"), count=16):
    generator = np.random.default_rng(0)
    for split, label, number in itertools.product(splits, "ab", range(count)):
        path = folder / f"{split}{label}" / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
    return folder


def test_results_belong_to_their_images(small, tmp_path, capsys):
    """Moved, they are the same; with another label, or changed, they are others."""
    write_images(tmp_path / "data")
    options = ("--dataset=folder", "--train_split=train", "--eval_split=test", "--cells=crop")

    def again(name):
        return study("figure5", tmp_path / "study", *options, f"--data_dir={tmp_path / name}")

    assert again("data") == 0
    (tmp_path / "data").rename(tmp_path / "moved")
    assert again("moved") == 0
    assert "1 of 1 results are kept" in capsys.readouterr().out
    image = tmp_path / "moved" / "test" / "a" / "00.png"
    image.rename(tmp_path / "moved" / "test" / "b" / "x.png")
    assert again("moved") == 2
    assert "images test_fingerprint is" in capsys.readouterr().err
    (tmp_path / "moved" / "test" / "b" / "x.png").rename(image)
    assert again("moved") == 0


def test_a_study_from_before_goes_on(small, tmp_path, capsys):
    """It says nothing of its images, and its hold-out was drawn by count."""
    data, directory = write_images(tmp_path / "data", splits=[""], count=30), tmp_path / "study"
    flags = ("--dataset=folder", f"--data_dir={data}", "--train_split=train", "--eval_split=test", "--cells=crop")
    assert study("figure5", directory, *flags, "--hold_out_by=count") == 0
    values = json.loads((directory / "study.json").read_text())
    del values["flags"]["hold_out_by"], values["pictures"]["train_fingerprint"], values["pictures"]["test_fingerprint"]
    del values["probe"]
    (directory / "study.json").write_text(json.dumps(values))
    capsys.readouterr()
    assert study("figure5", directory, *flags) == 0
    output = capsys.readouterr().out
    assert "do not say what their images were" in output and "1 of 1 results are kept" in output
    # From now on they do, and the draw stays.
    assert study("figure5", directory, *flags) == 0
    assert "do not say" not in capsys.readouterr().out
    assert json.loads((directory / "study.json").read_text())["flags"]["hold_out_by"] == "count"
    assert study("figure5", directory, *flags, "--hold_out_by=hash") == 2


def test_where_the_views_are_made_changes_no_study(small, tmp_path, capsys):
    assert study("figure5", tmp_path, "--cells=crop+color", "--augment_on=device") == 0
    assert list(measures(tmp_path)) == ["crop+color-seed0.json"]
    assert study("figure5", tmp_path, "--cells=crop+color") == 0
    assert "1 of 1 results are kept" in capsys.readouterr().out


def test_the_seed_decides(small, tmp_path):
    for directory, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert study("figure5", tmp_path / directory, "--cells=crop+color", f"--seeds={seed}") == 0
    a, b, c = (next(iter(measures(tmp_path / name).values())) for name in "abc")
    assert a == b
    assert a["contrast_loss"] != c["contrast_loss"]


def test_the_smallest_crop_reaches_the_histograms(tmp_path):
    """Where every crop is the whole image, all of one image have the same histogram, up to rounding at an edge."""

    def apart(directory):
        curves = json.loads((directory / "cells" / "crop-seed0.json").read_text())["curves"]
        of_first = [curve["y"] for name, curve in curves.items() if name.startswith("image 1,")]
        return np.ptp(of_first, axis=0).sum()

    for name, flags in (("whole", ["--min_crop_area=1"]), ("default", [])):
        assert study("figure6", tmp_path / name, "--cells=crop", *flags) == 0
    assert apart(tmp_path / "whole") < 0.5 < 5 < apart(tmp_path / "default")


@pytest.mark.training_runs
def test_the_real_network_and_its_run_that_is_kept(tmp_path):
    """Without a stand-in."""
    assert study("table5", tmp_path / "study", "--cells=l2 norm tau=0.5", "--image_size=8", "--keep_runs") == 0
    found = measures(tmp_path / "study")["l2_norm_tau_0.5-seed0.json"]
    assert 0 <= found["top_1"] <= 1
    assert found["contrast_loss"] > 0
    # What was kept is evaluated as any run, to the same figure.
    run, report = tmp_path / "study" / "runs" / "l2_norm_tau_0.5-seed0", tmp_path / "report"
    assert main(["evaluate", f"--checkpoint={run}", "--protocols=knn", "--knn_k=120", f"--model_dir={report}"]) == 0
    evaluated = json.loads((report / "report.json").read_text())["cells"][0]
    assert evaluated["metrics"]["top_1"] == pytest.approx(found["knn_top_1"])


@pytest.mark.parametrize(
    "name,flags,message",
    [
        ("figure3", (), "`study` must be one of: figure4, figure5, table1, figure6"),
        ("figure5", ("--cells=crop,croop",), "`cells` must be one of: crop, crop+color"),
        ("figure5", ("--augmentation=crop",), "`augmentation` is what this study varies"),
        ("figure5", ("--shard=2/2",), "`shard` is written i/n"),
        ("figure5", ("--shard=1",), "`shard` is written i/n"),
        ("figure5", ("--seeds=a",), "`seeds` must be a list of numbers"),
        (
            "figure5",
            ("--train_batch_size=128",),
            "cell crop, seed 0: `train_batch_size` must be at most the 120 images",
        ),
        ("figure8", ("--scale=paper",), "`dataset` must be given at --scale=paper"),
        ("table4", ("--loss=hinge",), "hinge"),
        ("table7", ("--train_split=train[:300]",), "cell SimCLR 1x, seed 0: `fraction` must leave at least one"),
        ("table5", ("--augmentation=crop,blurr",), "`augmentation` must be one of: crop, flip"),
    ],
)
def test_bad_input_is_a_line(name, flags, message, tmp_path, capsys):
    assert study(name, tmp_path / "study", *flags) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "study" / "cells").exists() or not measures(tmp_path / "study")


def test_several_workers_are_refused(tmp_path, capsys, monkeypatch):
    cluster = {"cluster": {"worker": ["localhost:1", "localhost:2"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    assert study("table5", tmp_path / "study") == 2
    assert "a study runs each of its cells in one process. Received: worker 1 of 2" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_results_of_another_study_or_setting_are_refused(small, tmp_path, capsys):
    """In a directory of an odd name, which keeps its results like any other."""
    directory = tmp_path / "a [b] 'c' *d?"
    assert study("table5", directory, "--cells=l2 norm tau=0.5") == 0
    assert study("table4", directory, "--report") == 2
    assert "study is 'table5' there and 'table4' here" in capsys.readouterr().err
    assert study("table5", directory, "--learning_rate=0.7") == 2
    assert "flags learning_rate is 1.0 there and 0.7 here" in capsys.readouterr().err
    assert study("table5", directory, "--cache_dataset", "--report") == 0, "how images are read changes no result"
    assert "nothing is run" in capsys.readouterr().out
    recorded = json.loads((directory / "study.json").read_text())
    (directory / "study.json").write_text(json.dumps(recorded | {"version": "0.1.0"}))
    assert study("table5", directory, "--report") == 0, "that version computes a cell in the same way"
    (directory / "study.json").write_text(json.dumps(recorded | {"version": "0.0.1"}))
    assert study("table5", directory, "--report") == 2
    assert "version is '0.0.1' there" in capsys.readouterr().err
    (directory / "study.json").write_text(json.dumps(recorded | {"probe": recorded["probe"] | {"standardise": False}}))
    assert study("table5", directory, "--cells=l2 norm tau=0.5") == 2
    assert "probe standardise is False there and True here" in capsys.readouterr().err
    (directory / "study.json").write_text(json.dumps(recorded))
    assert study("table5", directory, "--train_split=train[:110]") == 2
    assert "train_split is 'train[:120]' there and 'train[:110]' here" in capsys.readouterr().err
    assert len(measures(directory)) == 1


def test_a_release_says_whether_its_cells_compare_with_those_before():
    assert tf_simclr.__version__ in COMPARABLE, "or raise FORMAT, and let COMPARABLE hold this version alone"


def test_a_refused_study_leaves_the_directory_as_it_is(small, tmp_path, capsys):
    (tmp_path / "study.json").write_text(json.dumps({"study": "table4"}))
    for flags in ([], ["--report"]):
        assert study("table5", tmp_path, *flags) == 2
        assert "study is 'table4' there and 'table5' here" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["study.json"]


def test_a_data_dir_without_a_data_set_is_a_folder(tmp_path, capsys):
    assert study("table5", tmp_path / "study", f"--data_dir={tmp_path / 'missing'}") == 2
    output = capsys.readouterr()
    assert "--data_dir without --dataset" in output.out and "no such folder" in output.err
    assert not (tmp_path / "study").exists()


def test_a_report_of_nothing_is_refused(tmp_path, capsys):
    assert study("table5", tmp_path / "typo", "--report") == 2
    assert "`report` merges what cells of table5 have left" in capsys.readouterr().err
    assert not (tmp_path / "typo").exists()


# ---- Other data sets ----


def test_table8_transfers_a_network_to_a_folder(small, tmp_path, capsys):
    folder = write_images(tmp_path / "things")
    flags = (f"--study_datasets={folder}@mean_per_class", "--cells=SimCLR things,random things")
    assert study("table8", tmp_path / "out", *flags) == 0
    said = capsys.readouterr().out
    assert "tied on" in said and "grid point 1 of 1" in said
    found = measures(tmp_path / "out")
    assert set(found["SimCLR_things-seed0.json"]) == {"transfer_linear", "transfer_finetuned"}
    assert set(found["random_things-seed0.json"]) == {"transfer_finetuned"}
    page = (tmp_path / "out" / "README.md").read_text()
    assert "things, mean per class" in page and "| SimCLR | **" in page
    # The pretraining stays, for other data sets; what was trained on this one does not.
    assert [path.name for path in (tmp_path / "out" / "networks").iterdir()] == ["SimCLR-seed0"]
    assert not list((tmp_path / "out" / "runs").glob("*"))
    # The results belong to the images of the other data set.
    (folder / "test" / "a" / "00.png").rename(folder / "test" / "b" / "x.png")
    assert study("table8", tmp_path / "out", *flags) == 2
    assert "test_fingerprint is" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name,flags,message",
    [
        ("table8", (), "`study_datasets` must name the data sets that table8 transfers"),
        ("table5", ("--study_datasets=cifar10",), "`study_datasets` must be left out of table5"),
        ("table8", ("--study_datasets=./gone/",), "`study_datasets` must name folders that exist"),
        ("table8", ("--study_datasets={}",), "There is no readable image"),
        ("table8", ("--study_datasets=cifar10", "--optimizer=adam"), "`optimizer` is what this study varies"),
    ],
)
def test_data_sets_that_cannot_be_are_a_line(name, flags, message, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert study(name, tmp_path / "out", *(flag.format(tmp_path / "empty") for flag in flags)) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


# ---- Networks that were trained elsewhere ----


def test_table3_measures_weights_of_another_program(tmp_path, capsys):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    write_tf1(theirs / "model.ckpt-7", Spec(18, width=4, head=2))
    words = (f"--checkpoint={theirs}", "--image_size=32", "--cells=rotation,original or noise")
    assert study("table3", tmp_path / "out", *words) == 0
    said = capsys.readouterr().out
    assert "nothing is trained" in said and "ResNet-18 x0.0625" in said
    found = measures(tmp_path / "out")
    assert len(found) == 2 and all({"from_h", "from_projection", "top_1"} <= set(one) for one in found.values())
    assert not (tmp_path / "out" / "runs").exists()
    assert study("table3", tmp_path / "out", *words) == 0 and measures(tmp_path / "out") == found
    # Other weights are another study.
    write_tf1(theirs / "model.ckpt-8", Spec(18, width=4, head=2, seed=1))
    capsys.readouterr()
    assert study("table3", tmp_path / "out", *words) == 2
    assert "checkpoint is" in capsys.readouterr().err


def test_checkpoints_that_a_study_cannot_take(tmp_path, capsys):
    def refused(name, *words):
        capsys.readouterr()
        assert study(name, tmp_path / "out", f"--checkpoint={tmp_path / 'theirs'}", *words) == 2
        error = capsys.readouterr().err.strip()
        assert "\n" not in error and "Received" in error and not (tmp_path / "out").exists()
        return error

    (tmp_path / "theirs").mkdir()
    assert "none was found" in refused("table3")
    write_tf1(tmp_path / "theirs" / "model.ckpt-7", Spec(18, width=4, head=0, classes=0))
    assert "must have a projection head" in refused("table3")
    write_tf1(tmp_path / "theirs" / "model.ckpt-8", Spec(18, width=4, head=2))
    assert "`resnet_depth` must be left out with --checkpoint" in refused("table3", "--resnet_depth=18")
    assert "`checkpoint` must be left out of figure5" in refused("figure5")
