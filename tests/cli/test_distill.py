"""The task distill: what it trains, what it needs, and how it goes on."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

import tf_simclr
from tests.networks import small_networks, small_networks_everywhere
from tf_simclr.cli import averaged
from tf_simclr.cli import train as train_task
from tf_simclr.cli.distill_flags import FLAG_GROUPS
from tf_simclr.cli.flags import parse
from tf_simclr.cli.main import main
from tf_simclr.config import build_config
from tf_simclr.data import shapes_splits
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.train.checkpoint_store import CheckpointStore
from tf_simclr.train.checkpoints import read_text, read_values, shapes_in
from tf_simclr.train.manifest import Manifest

SHAPES = ("--dataset=shapes", "--train_split=train[:48]", "--eval_split=test[:22]")
# Of the networks nothing depends here: the small ones take a tenth of the time to trace.
STUDENT = (
    *("--image_size=16", "--train_batch_size=16", "--eval_batch_size=8", "--warmup_epochs=0", "--learning_rate=2"),
    *("--optimizer=momentum", "--train_steps=4", "--checkpoint_steps=2", "--draw_views=False"),
)
NAMES = ("cross", "diamond", "disk")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small networks, and no export, which takes as long as the rest; the list of those that were asked for."""
    asked = []
    monkeypatch.setattr(train_task, "export", lambda plan, outcome, figures, *words: asked.append(dict(figures)))
    monkeypatch.setattr(averaged, "export", lambda plan, outcome, figures, *words: asked.append(dict(figures)))
    with small_networks_everywhere():
        yield asked


def write_teacher(directory, names=(), *, classes=10, seed=3, head=True):
    """Leaves a run there, whose head has these classes."""
    tf.keras.utils.set_random_seed(seed)
    config = build_config({"dataset": "shapes", "image_size": 16, "train_mode": "finetune"})
    model = small_networks(config, len(names) or classes)
    weights = model.named_variables()["supervised_head/dense/kernel"]
    weights.assign(np.random.default_rng(seed).normal(size=weights.shape))
    if not head:
        model = SimCLRModel(model.encoder, model.projection_head)
    manifest = Manifest(tuple(names)).to_text() if names else ""
    CheckpointStore(str(directory), model.named_variables(), 1, manifest=manifest).save(3)
    (directory / "flags.json").write_text(config.to_json())
    return directory


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """The directory of a run that does not name its classes."""
    return write_teacher(tmp_path_factory.mktemp("teacher"))


def distill(teacher, directory, *more, data=SHAPES):
    return main(["distill", f"--teacher={teacher}", f"--model_dir={directory}", *data, *STUDENT, *more])


def values_in(prefix):
    return read_values(str(prefix), shapes_in(str(prefix)))


def test_a_student_is_trained_evaluated_and_goes_on_to_the_bit(teacher, small, tmp_path, capsys):
    flags = ("--mode=train_then_eval", "--ema_decay=0.9", "--distill_alpha=0.5", "--micro_batch_size=5")
    whole = tmp_path / "whole"
    assert distill(teacher, whole, *flags) == 0
    said = capsys.readouterr().out
    assert f"teacher {teacher}" in said and "temperature 1, labels weigh 0.5" in said and "agreement" in said
    assert "does not name the classes of its head: they are taken for those of the images" in said
    assert "the average of the weights (--ema_decay=0.9): top-1" in said
    result = json.loads((whole / "result.json").read_text())
    assert {"eval/label_top_1_accuracy", "ema/label_top_1_accuracy", "ema/label_top_5_accuracy"} <= set(result)
    own, other = small
    assert own["eval/label_top_1_accuracy"] == result["eval/label_top_1_accuracy"]
    assert other["eval/label_top_1_accuracy"] == result["ema/label_top_1_accuracy"] and "ema/" not in str(other)
    recorded = json.loads((whole / "flags.json").read_text())
    assert recorded["train_mode"] == "distill" and recorded["teacher"] == str(teacher)
    assert len(json.loads(read_text(str(whole / "ckpt-4")))["teacher"]) == 64

    parted = shutil.copytree(whole, tmp_path / "parted")
    for file in parted.glob("ckpt-4.*"):
        file.unlink()
    # The same teacher may lie elsewhere.
    moved = shutil.copytree(teacher, tmp_path / "moved")
    assert distill(moved, parted, *flags) == 0
    assert "resuming from step 2" in capsys.readouterr().out
    want, got = values_in(whole / "ckpt-4"), values_in(parted / "ckpt-4")
    assert set(want) == set(got) and any(path.startswith("average/") for path in want)
    assert [path for path in want if not np.array_equal(want[path], got[path])] == []

    other_teacher = write_teacher(tmp_path / "other", seed=4)
    assert distill(other_teacher, parted, *flags, "--train_steps=6") == 2
    error = capsys.readouterr().err
    assert "`teacher` must be the one that the run in" in error and error.count("\n") == 1


def test_the_labels_are_counted_as_the_teacher_counts_its_classes(tmp_path, capsys):
    names = tuple(reversed(shapes_splits.SHAPES))
    teacher = write_teacher(tmp_path / "teacher", names)
    words = parse([*SHAPES, *STUDENT, "--train_steps=1", "--distill_alpha=0"], FLAG_GROUPS)
    given = {name: words.values[name] for name in words.given}
    result = tf_simclr.distill(teacher=teacher, model_dir=tmp_path / "run", **given)
    assert result.finished and result.step == 1
    manifest = json.loads(read_text(str(tmp_path / "run" / "ckpt-1")))
    assert manifest["class_names"] == list(names)
    assert "they are taken for" not in capsys.readouterr().out


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    """A folder of images without classes, and some with the classes of NAMES to evaluate on."""
    folder, rng = tmp_path_factory.mktemp("unlabelled"), np.random.default_rng(0)
    for number in range(16):
        image = tf.io.encode_png(rng.integers(0, 255, (20, 20, 3), dtype=np.uint8))
        (folder / f"{number}.png").write_bytes(image.numpy())
    return folder


def test_images_need_no_labels(unlabelled, tmp_path, capsys):
    teacher = write_teacher(tmp_path / "teacher", NAMES)
    folder = ("--dataset=folder", f"--data_dir={unlabelled}")
    words = ("--train_steps=1", "--train_batch_size=8", "--mode=train")
    assert distill(teacher, tmp_path / "run", *words, data=folder) == 0
    assert "the student's classes are the teacher's" in capsys.readouterr().out
    prefix = str(tmp_path / "run" / "ckpt-1")
    assert json.loads(read_text(prefix))["class_names"] == list(NAMES)
    assert shapes_in(prefix)["supervised_head/dense/kernel"][1] == 3
    assert distill(teacher, tmp_path / "labels", *words, "--distill_alpha=0.9", data=folder) == 2
    error = capsys.readouterr().err
    assert "`distill_alpha` must be 1 for images without" in error and not (tmp_path / "labels").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--teacher="], "`teacher` must name a checkpoint with a supervised head"),
        (["--teacher=/nowhere"], "--teacher=/nowhere: `checkpoint` must be"),
        (["--distill_temperature=0"], "`distill_temperature` must be > 0"),
        (["--distill_alpha=1.5"], "`distill_alpha` must be"),
        (["--ema_decay=1"], "`ema_decay` must be in [0, 1)"),
        (["--ema_decay=-0.5"], "`ema_decay` must be"),
        (["--train_mode=finetune"], "`train_mode` must be distill in this task"),
        (["--teacher={headless}"], "`teacher` must have a supervised head"),
        (["--teacher={three}"], "`teacher` must have the classes of the images"),
        (["--teacher={seven}"], "7 classes there, 10 here"),
        (["--checkpoint=/nowhere"], "/nowhere"),
        (["--augmentation=crop,flip", "--augmentation_branch=one"], "`augmentation_branch` must be both"),
    ],
)
def test_what_cannot_work_is_one_line_and_leaves_nothing(words, message, teacher, tmp_path, capsys):
    places = {
        "{headless}": lambda: write_teacher(tmp_path / "headless", head=False),
        "{three}": lambda: write_teacher(tmp_path / "three", NAMES),
        "{seven}": lambda: write_teacher(tmp_path / "seven", classes=7),
    }
    for place, write in places.items():
        words = [word.replace(place, str(write())) if place in word else word for word in words]
    assert distill(teacher, tmp_path / "run", *words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "run").exists()


def test_a_teacher_is_for_a_distillation_only(teacher, tmp_path, capsys):
    assert main(["train", f"--teacher={teacher}", f"--model_dir={tmp_path / 'run'}", *SHAPES, *STUDENT]) == 2
    assert "`teacher` is for a distillation only" in capsys.readouterr().err and not (tmp_path / "run").exists()
