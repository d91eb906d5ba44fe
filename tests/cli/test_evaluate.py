"""`python -m tf_simclr evaluate`, in this process: its report, what it takes from the run, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from tests.networks import write_run
from tf_simclr.cli.main import main

FLAGS = {
    "dataset": "shapes",
    "train_split": "train[:80]",
    "eval_split": "test[:40]",
    "image_size": 16,
    "resnet_depth": 18,
    "width_multiplier": 0.0625,
    "num_proj_layers": 2,
    "proj_out_dim": 8,
}


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"), FLAGS, 7)


def judge(run_directory, *flags):
    return main(["evaluate", f"--checkpoint={run_directory}", "--eval_batch_size=40", *flags])


def write_pictures(directory, names):
    """A grey picture for each path."""
    for number, name in enumerate(names):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 20), 10 * number, np.uint8)).save(path)
    return directory


def test_the_report_and_the_run_s_own_pictures(run_directory, capsys):
    flags = ("--protocols=knn,logreg,untrained", "--knn_k=3,9", "--logreg_strengths=100", "--eval_seeds=1,2")
    assert judge(run_directory, *flags) == 0
    printed = capsys.readouterr().out
    assert "the pictures are those of the checkpoint's run, shapes" in printed
    assert "80 pictures of train[:80], 40 pictures of test[:40]" in printed
    directory = run_directory / "evaluation-shapes"
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
    pictures = sorted(directory.glob("confusion_*.png"))
    assert len(pictures) == 6
    assert all(Image.open(path).size[0] > 300 for path in pictures)
    # The same command again has nothing to do, and says the same.
    assert judge(run_directory, *flags) == 0
    again = capsys.readouterr().out
    assert again.count("kept from an earlier run") == 7
    assert json.loads((directory / "report.json").read_text()) == report


def test_other_pictures(run_directory, tmp_path, capsys):
    names = [f"{split}/{kind}/{i}.png" for split in ("train", "test") for kind in ("cat", "dög") for i in range(4)]
    data = write_pictures(tmp_path / "pets", names)
    flags = ("--dataset=folder", f"--data_dir={data}", "--eval_split=test", "--protocols=knn", "--knn_k=3")
    assert judge(run_directory, *flags, f"--model_dir={tmp_path / 'judged'}") == 0
    assert "2 classes, 8 pictures of train, 8 pictures of test" in capsys.readouterr().out
    assert json.loads((tmp_path / "judged" / "report.json").read_text())["subject"]["class_names"] == ["cat", "dög"]


def test_one_protocol_fails(run_directory, tmp_path, capsys):
    flags = ("--protocols=linear_cached,knn", "--knn_k=3", "--linear_learning_rate=1e38", f"--model_dir={tmp_path}")
    assert judge(run_directory, *flags) == 1
    assert "not in the report: linear_cached" in capsys.readouterr().out
    assert [row["protocol"] for row in json.loads((tmp_path / "report.json").read_text())["rows"]] == ["knn"]


UNLABELLED = ["train/1.png", "train/2.png", "test/3.png"]
OTHER_CLASSES = ["train/a/1.png", "train/b/2.png", "test/a/1.png", "test/c/2.png"]
FEW = [f"{split}/{kind}/{i}.png" for split in ("train", "test") for kind in "ab" for i in range(3)]


@pytest.mark.parametrize(
    ("pictures", "flags", "words"),
    [
        (UNLABELLED, [], "A representation is judged by labels"),
        (OTHER_CLASSES, [], "only in 'train': b; only in 'test': c"),
        (FEW, ["--protocols=finetune_10pct"], "`fraction` must leave at least one example of every class"),
        (FEW, ["--protocols=supervised_9per_class"], "`per_class` must not be larger than a class"),
        (FEW, ["--protocols=knn"], "`knn_k` must be at most the 6 training pictures"),
        (FEW, ["--protocols=finetune_0pct"], "percentage of the labels above 0"),
        (FEW, ["--protocols=voodoo"], "`protocols` must be of: knn"),
        (FEW, ["--protocols=untrained"], "repeats the protocols"),
        (FEW, ["--protocols=knn", "--knn_k=many"], "`knn_k` must be a list of numbers"),
        (FEW, ["--protocols=knn", "--knn_temperature=0"], "`knn_temperature` must be > 0"),
        (FEW, ["--protocols=logreg", "--metric=map_11_point"], "top_1 or mean_per_class for pictures with one class"),
        (FEW, ["--protocols=knn", "--endpoints=block_group7"], "`endpoints` must be one of: initial_conv"),
        (FEW, ["--protocols=linear", "--endpoints=block_group1"], "Use linear_cached"),
        (FEW, ["--eval_batch_size=0"], "`eval_batch_size` must be >= 1"),
        (FEW, ["--mode=eval"], "Unknown command line flag"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value and value[0].startswith("--") else None,
)
def test_bad_input_is_one_line(run_directory, tmp_path, capsys, pictures, flags, words):
    data = write_pictures(tmp_path / "data", pictures)
    chosen = ["--dataset=folder", f"--data_dir={data}", "--eval_split=test", f"--model_dir={tmp_path / 'judged'}"]
    assert judge(run_directory, *chosen, *flags) == 2
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, error
    assert words in lines[0]
    assert not (tmp_path / "judged" / "features").exists()


@pytest.mark.parametrize(
    ("split", "name"), [("--train_split=train[:5]", "train[:5]"), ("--eval_split=test[:3]", "test")]
)
def test_a_class_that_is_missing_is_named(run_directory, capsys, split, name):
    assert judge(run_directory, "--protocols=knn", "--knn_k=2", split) == 2
    error = capsys.readouterr().err
    assert "Every class must have an example in the split" in error
    assert name in error
    assert "'star'" in error


def test_a_damaged_picture_is_named(run_directory, tmp_path, capsys):
    data = write_pictures(tmp_path / "data", FEW)
    damaged = data / "test" / "b" / "1.png"
    damaged.write_bytes(damaged.read_bytes()[:50])
    chosen = ["--dataset=folder", f"--data_dir={data}", "--eval_split=test", f"--model_dir={tmp_path / 'judged'}"]
    assert judge(run_directory, *chosen, "--protocols=knn", "--knn_k=2") == 2
    error = capsys.readouterr().err
    assert str(damaged) in error
    assert "Traceback" not in error


@pytest.mark.parametrize("flag", ["--decoder=tensorflow", "--decoder=auto"])
def test_what_tensorflow_cannot_decode(run_directory, tmp_path, capsys, flag):
    data = write_pictures(tmp_path / "data", FEW)
    animated = data / "test" / "b" / "1.png"
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    frames[0].save(animated, "WEBP", save_all=True, append_images=frames[1:])
    chosen = ["--dataset=folder", f"--data_dir={data}", "--eval_split=test", f"--model_dir={tmp_path / 'judged'}"]
    code = judge(run_directory, *chosen, "--protocols=knn", "--knn_k=2", flag)
    error = capsys.readouterr().err
    assert (code, str(animated) in error) == ((2, True) if flag == "--decoder=tensorflow" else (0, False))


def test_nothing_to_judge(tmp_path, capsys):
    assert main(["evaluate"]) == 2
    assert "`checkpoint` must name what is judged" in capsys.readouterr().err
    assert main(["evaluate", f"--checkpoint={tmp_path}"]) == 2
    assert "where none was found" in capsys.readouterr().err
