"""`python -m tf_simclr evaluate`, in this process: its report, what it takes from the run, and what it refuses."""

from __future__ import annotations

import csv
import json
import shlex
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.networks import write_run
from tf_simclr import __version__
from tf_simclr.cli.evaluate import _many_neighbours
from tf_simclr.cli.evaluate_flags import default_directory
from tf_simclr.cli.main import main
from tf_simclr.config import DataConfig, ProtocolConfig
from tf_simclr.data.shapes import shapes_source

FLAGS = {
    "dataset": "shapes",
    "train_split": "train[:80]",
    "eval_split": "test[:40]",
    "image_size": 16,
    "resnet_depth": 10,
    "width_multiplier": 0.0625,
    "num_proj_layers": 2,
    "proj_out_dim": 8,
}


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"), FLAGS, 7)


def test_more_neighbours_than_images_of_a_class_are_a_note():
    train = shapes_source("train[:80]")
    [line] = _many_neighbours(ProtocolConfig(), train)
    assert "knn_k=200 is more than the 8 training images of a class" in line and line.endswith("--knn_k=4")
    assert _many_neighbours(ProtocolConfig(knn_k="8,200"), train) == []
    assert _many_neighbours(ProtocolConfig(protocols="logreg"), train) == []
    [line] = _many_neighbours(ProtocolConfig(), shapes_source("train[:1000]"))
    assert line.endswith("--knn_k=10") and _many_neighbours(ProtocolConfig(), shapes_source("train[:2000]")) == []


def evaluate(run_directory, *flags):
    return main(["evaluate", f"--checkpoint={run_directory}", "--eval_batch_size=40", *flags])


def write_images(directory, names):
    """A grey image for each path."""
    for number, name in enumerate(names):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 20), 10 * number, np.uint8)).save(path)
    return directory


@pytest.mark.training_runs
def test_the_report_and_the_run_s_own_images(run_directory, capsys):
    flags = ("--protocols=knn,logreg,untrained", "--knn_k=3,9", "--logreg_strengths=100", "--eval_seeds=1,2")
    assert evaluate(run_directory, *flags) == 0
    printed = capsys.readouterr().out
    assert "the images are those of the checkpoint's run, shapes" in printed
    assert "80 images of train[:80], 40 images of test[:40]" in printed
    (directory,) = run_directory.glob("evaluation-*")
    assert directory.name.startswith("evaluation-shapes-test_40-")
    report = json.loads((directory / "report.json").read_text())
    assert report["subject"]["step"] == 7
    rows = {(row["protocol"], row["encoder"], row["setting"]): row for row in report["rows"]}
    assert {("knn", "pretrained", "k=3, T=0.1"), ("knn", "untrained", "k=9, T=0.1")} <= set(rows)
    assert rows["logreg", "untrained", ""]["metrics"]["top_1"]["runs"] == 2
    assert rows["knn", "pretrained", "k=3, T=0.1"]["metrics"]["top_1"]["runs"] == 1
    markdown = (directory / "report.md").read_text()
    for row in report["rows"]:
        assert row["protocol"] in printed
        assert row["protocol"] in markdown
    images = sorted(directory.glob("confusion_*.png"))
    assert len(images) == 6
    assert all(Image.open(path).size[0] > 300 for path in images)
    # The same command again has nothing to do, and says the same.
    assert evaluate(run_directory, *flags) == 0
    again = capsys.readouterr().out
    assert "7 of 7 results are kept from an earlier call" in again
    after = json.loads((directory / "report.json").read_text())
    for values in (report, after):
        del values["subject"]["date"]
    assert after == report


def test_other_images(run_directory, tmp_path, capsys):
    names = [f"{split}/{kind}/{i}.png" for split in ("train", "test") for kind in ("cat", "dög") for i in range(4)]
    data = write_images(tmp_path / "pets", names)
    flags = ("--dataset=folder", f"--data_dir={data}", "--eval_split=test", "--protocols=knn", "--knn_k=3")
    assert evaluate(run_directory, *flags, f"--model_dir={tmp_path / 'evaluated'}") == 0
    assert "2 classes, 8 images of train, 8 images of test" in capsys.readouterr().out
    assert json.loads((tmp_path / "evaluated" / "report.json").read_text())["subject"]["class_names"] == ["cat", "dög"]


def test_one_protocol_fails(run_directory, tmp_path, capsys):
    flags = ("--protocols=linear_cached,knn", "--knn_k=3", "--linear_learning_rate=1e38", f"--model_dir={tmp_path}")
    assert evaluate(run_directory, *flags) == 1
    assert "not in the report: linear_cached" in capsys.readouterr().out
    assert [row["protocol"] for row in json.loads((tmp_path / "report.json").read_text())["rows"]] == ["knn"]


def write_coloured(directory, classes, seed=0):
    """Images of one colour with noise: {"test/red": "rrb"} is a folder of two red ones and a blue one."""
    rng = np.random.default_rng(seed)
    for folder, colours in classes.items():
        for number, colour in enumerate(colours):
            path = directory / folder / f"{colour}{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = rng.integers(0, 60, (20, 20, 3), np.uint8)
            image[..., "rgb".index(colour)] += 190
            Image.fromarray(image).save(path)
    return directory


TRAIN_COLOURS = {"train/blue": "bbbb", "train/red": "rrrr"}
# The mean of the first layer is linear in the mean colour: neighbours are images of one colour.
BY_COLOUR = ("--dataset=folder", "--eval_split=test", "--protocols=knn", "--knn_k=1", "--endpoints=initial_conv")


def top_1(report):
    """kNN's accuracy in points, of a report's directory."""
    row = next(row for row in json.loads((report / "report.json").read_text())["rows"] if row["protocol"] == "knn")
    return 100 * row["metrics"]["top_1"]["mean"]


def test_images_that_moved_to_another_class_are_evaluated_anew(run_directory, tmp_path):
    data = write_coloured(tmp_path / "pics", TRAIN_COLOURS | {"test/red": "rb", "test/blue": "rb"})
    flags = (*BY_COLOUR, f"--data_dir={data}", f"--model_dir={tmp_path / 'report'}")
    assert evaluate(run_directory, *flags) == 0
    assert top_1(tmp_path / "report") == 50
    (data / "test/red/b1.png").rename(data / "test/blue/b2.png")
    (data / "test/blue/r0.png").rename(data / "test/red/r2.png")
    assert evaluate(run_directory, *flags) == 0
    assert top_1(tmp_path / "report") == 100


def test_classes_that_were_exchanged_are_evaluated_anew(run_directory, tmp_path):
    data = write_coloured(tmp_path / "pics", TRAIN_COLOURS | {"test/red": "rrrrb", "test/blue": "bbbbr"})
    flags = (*BY_COLOUR, f"--data_dir={data}", f"--model_dir={tmp_path / 'report'}")
    assert evaluate(run_directory, *flags) == 0
    assert top_1(tmp_path / "report") == pytest.approx(80)
    for old, new in (("red", "other"), ("blue", "red"), ("other", "blue")):
        (data / "test" / old).rename(data / "test" / new)
    assert evaluate(run_directory, *flags) == 0
    assert top_1(tmp_path / "report") == pytest.approx(20)


def test_one_relative_path_in_two_directories_is_two_folders(run_directory, tmp_path, monkeypatch):
    for place, test in (("a", {"test/red": "rrr", "test/blue": "bbb"}), ("b", {"test/red": "bbb", "test/blue": "rrr"})):
        write_coloured(tmp_path / place / "pics", TRAIN_COLOURS | test)
        monkeypatch.chdir(tmp_path / place)
        assert evaluate(run_directory, *BY_COLOUR, "--data_dir=pics") == 0
    found = {}
    for report in run_directory.glob("evaluation-pics-test-*"):
        subject = json.loads((report / "report.json").read_text())["subject"]
        [place] = [place for place in "ab" if f"--data_dir={tmp_path / place / 'pics'}" in subject["command"]]
        found[place] = top_1(report)
    assert found == {"a": 100, "b": 0}


def test_the_report_of_one_folder_is_not_written_over_that_of_another(run_directory, tmp_path, capsys):
    flags = (*BY_COLOUR, f"--model_dir={tmp_path / 'report'}")
    for place, code in (("a", 0), ("a", 0), ("b", 2)):
        data = write_coloured(tmp_path / place, TRAIN_COLOURS | {"test/red": "r", "test/blue": "b"})
        assert evaluate(run_directory, *flags, f"--data_dir={data}") == code
    error = capsys.readouterr().err
    assert "error: `model_dir` must be a new directory for other images. Received: " in error
    assert str(tmp_path / "a") in error and str(tmp_path / "b") in error


def test_the_head_says_what_was_evaluated_and_how_to_have_it_again(run_directory, tmp_path, capsys):
    data = write_coloured(tmp_path / "my pics", TRAIN_COLOURS | {"test/red": "rrr", "test/blue": "bb"})
    assert evaluate(run_directory, *BY_COLOUR, f"--data_dir={data}", f"--model_dir={tmp_path / 'report'}") == 0
    subject = json.loads((tmp_path / "report" / "report.json").read_text())["subject"]
    assert subject["version"] == __version__ and subject["date"].startswith("20")
    assert [(one["role"], one["name"], one["images"]) for one in subject["splits"]] == [
        ("train", "train", 8),
        ("test", "test", 5),
    ]
    printed, markdown = capsys.readouterr().out, (tmp_path / "report" / "report.md").read_text()
    for text in (printed, markdown):
        assert "train: 8 images of train" in text and "test: 5 images of test" in text
        assert "of 16 pixels, each whole" in text and f"tf_simclr: {__version__}" in text
    assert subject["command"] in markdown
    program, _, task, *words = shlex.split(subject["command"])[1:]
    assert (program, task) == ("-m", "evaluate") and f"--data_dir={data}" in words
    (tmp_path / "report" / "report.json").unlink()
    assert main([task, *words]) == 0
    again = json.loads((tmp_path / "report" / "report.json").read_text())
    assert {**again["subject"], "date": ""} == {**subject, "date": ""}


def test_floors_marks_and_predictions(run_directory, tmp_path):
    data = write_coloured(
        tmp_path / "pics", TRAIN_COLOURS | {"train/red": "rrrrrr", "test/red": "rrrrr", "test/blue": "bbb"}
    )
    flags = (*BY_COLOUR, f"--data_dir={data}", f"--model_dir={tmp_path / 'report'}", "--knn_k=1,200")
    for _ in range(2):  # the second time from what was kept
        assert evaluate(run_directory, *flags) == 0
        values = json.loads((tmp_path / "report" / "report.json").read_text())
        assert values["subject"]["baselines"]["largest class"]["top_1"] == 5 / 8
        assert values["subject"]["largest_class"] == "red"
        nearest, all_vote = values["rows"]
        assert (nearest["mark"], nearest["setting"]) == ("", "k=1, T=0.1")
        # Ten training images vote, six of them red, with nearly the same weights.
        assert all_vote["setting"] == "k=10, T=0.1"
        low, high = nearest["intervals"]["top_1"]
        assert nearest["metrics"]["top_1"]["mean"] == high == 1 and 0.6 < low < 0.7
        assert "| largest class | - | always red | 62.5 | 50.0 |" in (tmp_path / "report" / "report.md").read_text()
        names = sorted(path.name for path in (tmp_path / "report" / "predictions").iterdir())
        assert names == [f"knn_pretrained_initial_conv_k={k}-T=0.1.csv" for k in (1, 10)]
        with open(tmp_path / "report" / "predictions" / names[0], newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [row["label"] for row in rows] == [row["prediction"] for row in rows] == ["blue"] * 3 + ["red"] * 5
        assert {row["probability"] for row in rows} == {"1"} and {row["twin"] for row in rows} == {""}
    # A report without a protocol does not leave that protocol's files.
    assert evaluate(run_directory, *flags, "--knn_k=1") == 0
    names = [path.name for path in (tmp_path / "report" / "predictions").iterdir()]
    assert names == ["knn_pretrained_initial_conv.csv"]


def test_a_classifier_that_says_one_class_only_is_marked(run_directory, tmp_path, capsys):
    data = write_coloured(
        tmp_path / "pics", TRAIN_COLOURS | {"train/red": "rrrrrrr", "test/red": "rr", "test/blue": "b"}
    )
    # A temperature at which every neighbour counts the same: the largest class wins every vote.
    flags = (*BY_COLOUR, f"--data_dir={data}", f"--model_dir={tmp_path / 'report'}", "--knn_k=200")
    assert evaluate(run_directory, *flags, "--knn_temperature=1e6") == 0
    (row,) = json.loads((tmp_path / "report" / "report.json").read_text())["rows"]
    assert row["mark"] == "one class only, = largest class"
    printed = capsys.readouterr().out
    assert "one class only, = largest class" in printed
    assert "note: kNN takes k = 11, all training images, in place of 200" in printed


def test_copies_of_training_images_are_counted_and_taken_out(run_directory, tmp_path, capsys):
    data = write_coloured(tmp_path / "pics", TRAIN_COLOURS | {"test/red": "rrb", "test/blue": "bb"})
    flags = (*BY_COLOUR, f"--data_dir={data}", f"--model_dir={tmp_path / 'report'}")
    shutil.copy(data / "train/red/r1.png", data / "test/red/copy.png")
    assert evaluate(run_directory, *flags) == 0
    values = json.loads((tmp_path / "report" / "report.json").read_text())
    twins = values["subject"]["twins"]
    assert (twins["count"], twins["exact"], len(twins["pairs"])) == (1, 1, 1)
    (row,) = values["rows"]
    # Five of six with the copy, four of five without it.
    assert row["metrics"]["top_1"]["mean"] == pytest.approx(5 / 6)
    assert row["without_twins"]["top_1"]["mean"] == pytest.approx(4 / 5)
    printed, markdown = capsys.readouterr().out, (tmp_path / "report" / "report.md").read_text()
    for text in (printed, markdown):
        assert "1 of 6 test images are copies of training images (1 exact, 0 near)" in text
        assert "without twins" in text and "80.0" in text
    with open(tmp_path / "report" / "predictions" / "knn_pretrained_initial_conv.csv", newline="") as file:
        assert sum(bool(row["twin"]) for row in csv.DictReader(file)) == 1
    assert evaluate(run_directory, *flags, "--find_twins=False") == 0
    values = json.loads((tmp_path / "report" / "report.json").read_text())
    assert values["subject"]["twins"] is None and values["rows"][0]["without_twins"] == {}


def test_an_evaluation_of_an_earlier_version_is_computed_again_with_a_line(run_directory, tmp_path, capsys):
    directory = tmp_path / "report"
    (directory / "cells").mkdir(parents=True)
    (directory / "cells" / "knn-0a1b.json").write_text(json.dumps({"identity": {"format": 1}, "cells": []}))
    (directory / "report.json").write_text(json.dumps({"format": 1, "subject": {"dataset": "folder"}}))
    assert evaluate(run_directory, "--protocols=knn", "--knn_k=3", f"--model_dir={directory}") == 0
    printed = capsys.readouterr().out
    assert "note: 1 results in" in printed and "are of an earlier version" in printed
    assert json.loads((directory / "report.json").read_text())["subject"]["splits"]


def test_the_crop_is_that_of_the_run_unless_another_is_asked_for(tmp_path):
    run = write_run(tmp_path, FLAGS | {"eval_crop": 0.75}, 7)
    for flags, crop in (((), 0.75), (("--eval_crop=1",), 1.0)):
        report = tmp_path / f"report{crop}"
        assert evaluate(run, "--protocols=knn", "--knn_k=3", f"--model_dir={report}", *flags) == 0
        manifests = [json.loads(path.read_text()) for path in report.glob("features/*/manifest.json")]
        assert {manifest["key"]["eval_crop"] for manifest in manifests} == {crop}
        assert json.loads((report / "report.json").read_text())["subject"]["eval_crop"] == crop


def test_no_two_evaluations_have_one_directory():
    base = {"dataset": "folder", "data_dir": "pets/cats", "eval_split": "test"}
    others = [{}, {"data_dir": "other/cats"}, {"eval_split": "train[:10]"}, {"image_size": 64}, {"eval_crop": 1.0}]
    names = [default_directory("runs/x/ckpt-7", DataConfig(**base | other)) for other in others]
    assert len({name.rsplit("-", 2)[0] for name in names}) == len(names)
    assert all("evaluation-cats-" in name for name in names)
    assert "evaluation-name_config-train_10-" in default_directory(
        "x/ckpt-7", DataConfig(dataset="name/config", data_dir="d", eval_split="train[:10%]")
    )


UNLABELLED = ["train/1.png", "train/2.png", "test/3.png"]


def test_health_needs_no_labels(run_directory, tmp_path, capsys):
    data = write_images(tmp_path / "data", UNLABELLED)
    flags = ["--dataset=folder", f"--data_dir={data}", f"--model_dir={tmp_path / 'report'}"]
    assert evaluate(run_directory, *flags, "--protocols=health,untrained") == 0
    assert "no labels, 2 images of train" in capsys.readouterr().out
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [row["encoder"] for row in report["rows"]] == ["pretrained", "untrained"]
    assert report["subject"]["baselines"] == {} and [s["role"] for s in report["subject"]["splits"]] == ["test"]
    text = (tmp_path / "report" / "report.md").read_text()
    assert "- images: 2 without labels" in text and "classes" not in text
    assert "| 1 spread, 0 all images alike |" in text
    assert evaluate(run_directory, *flags, "--protocols=health,knn") == 2
    assert "evaluate --protocols=health" in capsys.readouterr().err


OTHER_CLASSES = ["train/a/1.png", "train/b/2.png", "test/a/1.png", "test/c/2.png"]
FEW = [f"{split}/{kind}/{i}.png" for split in ("train", "test") for kind in "ab" for i in range(3)]


@pytest.mark.parametrize(
    ("images", "flags", "words"),
    [
        (UNLABELLED, [], "An evaluation needs labels"),
        (OTHER_CLASSES, [], "only in 'train': b; only in 'test': c"),
        (FEW, ["--protocols=finetune_10pct"], "`fraction` must leave at least one example of every class"),
        (FEW, ["--protocols=supervised_9per_class"], "`per_class` must not be larger than a class"),
        (FEW, ["--eval_crop=1.5"], "`eval_crop` must be > 0 and <= 1"),
        (FEW, ["--protocols=finetune_0pct"], "percentage of the labels above 0"),
        (FEW, ["--protocols=voodoo"], "`protocols` must be of: knn"),
        (FEW, ["--protocols=untrained"], "repeats the protocols"),
        (FEW, ["--protocols=knn", "--knn_k=many"], "`knn_k` must be a list of numbers"),
        (FEW, ["--protocols=knn", "--knn_temperature=0"], "`knn_temperature` must be > 0"),
        (FEW, ["--protocols=logreg", "--metric=map_11_point"], "top_1 or mean_per_class for images with one class"),
        (FEW, ["--protocols=knn", "--endpoints=block_group7"], "`endpoints` must be one of: initial_conv"),
        (FEW, ["--protocols=linear", "--endpoints=block_group1"], "Use linear_cached"),
        (FEW, ["--eval_batch_size=0"], "`eval_batch_size` must be >= 1"),
        (FEW, ["--mode=eval"], "Unknown command line flag"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value and value[0].startswith("--") else None,
)
def test_bad_input_is_one_line(run_directory, tmp_path, capsys, images, flags, words):
    data = write_images(tmp_path / "data", images)
    chosen = ["--dataset=folder", f"--data_dir={data}", "--eval_split=test", f"--model_dir={tmp_path / 'evaluated'}"]
    assert evaluate(run_directory, *chosen, *flags) == 2
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, error
    assert words in lines[0]
    assert not (tmp_path / "evaluated").exists()


@pytest.mark.parametrize(
    ("split", "name"), [("--train_split=train[:5]", "train[:5]"), ("--eval_split=test[:3]", "test")]
)
def test_a_class_that_is_missing_is_named(run_directory, capsys, split, name):
    assert evaluate(run_directory, "--protocols=knn", "--knn_k=2", split) == 2
    error = capsys.readouterr().err
    assert "Every class must have an example in the split" in error
    assert name in error
    assert "'star'" in error


def test_a_damaged_image_is_named(run_directory, tmp_path, capsys):
    data = write_images(tmp_path / "data", FEW)
    damaged = data / "test" / "b" / "1.png"
    damaged.write_bytes(damaged.read_bytes()[:50])
    chosen = ["--dataset=folder", f"--data_dir={data}", "--eval_split=test", f"--model_dir={tmp_path / 'evaluated'}"]
    assert evaluate(run_directory, *chosen, "--protocols=knn", "--knn_k=2") == 2
    error = capsys.readouterr().err
    assert str(damaged) in error
    assert "Traceback" not in error


@pytest.mark.parametrize("flag", ["--decoder=tensorflow", "--decoder=auto"])
def test_what_tensorflow_cannot_decode(run_directory, tmp_path, capsys, flag):
    data = write_images(tmp_path / "data", FEW)
    animated = data / "test" / "b" / "1.png"
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    frames[0].save(animated, "WEBP", save_all=True, append_images=frames[1:])
    chosen = ["--dataset=folder", f"--data_dir={data}", "--eval_split=test", f"--model_dir={tmp_path / 'evaluated'}"]
    code = evaluate(run_directory, *chosen, "--protocols=knn", "--knn_k=2", flag)
    error = capsys.readouterr().err
    assert (code, str(animated) in error) == ((2, True) if flag == "--decoder=tensorflow" else (0, False))


def test_nothing_to_judge(tmp_path, capsys):
    assert main(["evaluate"]) == 2
    assert "`checkpoint` must name what is evaluated" in capsys.readouterr().err
    assert main(["evaluate", f"--checkpoint={tmp_path}"]) == 2
    assert "where none was found" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--endpoints=nowhere"], ["--dataset=folder", "--data_dir=/no/such/place"]])
def test_a_refused_evaluation_leaves_no_directory(run_directory, tmp_path, capsys, flags):
    assert evaluate(run_directory, *flags, f"--model_dir={tmp_path / 'out'}", f"--feature_dir={tmp_path / 'f'}") == 2
    assert list(tmp_path.iterdir()) == [] and capsys.readouterr().err.startswith("error: ")


def test_other_images_need_no_dataset_flag(run_directory, tmp_path, capsys):
    """The folder of the run itself stays the run's own data set."""
    names = [f"{split}/{name}/{i}.png" for split in ("train", "validation") for name in "ab" for i in range(4)]
    folder = write_images(tmp_path / "images", names)
    flags = (f"--data_dir={folder}", f"--model_dir={tmp_path / 'out'}", "--protocols=knn", "--knn_k=3")
    assert evaluate(run_directory, *flags, "--eval_batch_size=4") == 0
    assert "--data_dir without --dataset: the images of that folder" in capsys.readouterr().out
