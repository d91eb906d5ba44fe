"""What a command may do to the directory of a run, for real, on a folder of a few small images."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.networks import small_networks_everywhere
from tf_simclr.cli import train as train_task
from tf_simclr.cli.completion import ALL_FLAG_GROUPS, complete, complete_by_images
from tf_simclr.cli.flags import parse
from tf_simclr.cli.main import run_task
from tf_simclr.cli.plan import require_apart
from tf_simclr.config import build_config, own_images
from tf_simclr.data.class_order import with_class_order
from tf_simclr.errors import InputError
from tf_simclr.train import build
from tf_simclr.train.checkpoint_store import CheckpointStore
from tf_simclr.train.checkpoints import read_values, shapes_in
from tf_simclr.train.manifest import read_manifest

pytestmark = pytest.mark.whole_runs
CLASSES = ("ant", "bee", "cat")
ODD_NAME = "a [b] 'c' *d?"
HEAD = "supervised_head/dense/kernel"


def make_folder(root, classes=CLASSES, count=6):
    """DIR/SPLIT/CLASS with a colour for each class."""
    for split in ("train", "test"):
        for number, name in enumerate(classes):
            place = root / split / name
            place.mkdir(parents=True)
            for i in range(count):
                rng = np.random.default_rng([number, i, len(split)])
                image = rng.integers(0, 60, (20, 18, 3)) + 190 * np.eye(3, dtype=int)[number % 3]
                (place / f"{i}.png").write_bytes(tf.io.encode_png(image.astype(np.uint8)).numpy())
    return root


def contents(directory):
    """Every file below a directory, with its bytes and time of change."""
    files = [path for path in Path(directory).rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def run(*flags):
    """Exit code, output and errors of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_task("train", flags)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module", autouse=True)
def small():
    """Two convolutions in place of a ResNet: nothing here depends on the networks, and a ResNet takes long to trace."""
    with small_networks_everywhere():
        yield


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("data") / "images")


@pytest.fixture(scope="module")
def command(images, tiny_flags):
    """The flags of a run of four steps on the folder, without --model_dir."""
    own = [flag for flag in tiny_flags if not flag.startswith(("--dataset", "--train_split", "--eval_split"))]
    return [
        *own,
        "--train_batch_size=6",
        "--width_multiplier=1",
        "--dataset=folder",
        f"--data_dir={images}",
        "--eval_split=test",
    ]


@pytest.fixture(scope="module")
def finished(command, tmp_path_factory):
    directory = tmp_path_factory.mktemp("finished") / "run"
    code, _, errors = run(*command, f"--model_dir={directory}", "--mode=train_then_eval")
    assert code == 0, errors
    return directory


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished run, which may be spoilt."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def without_export(monkeypatch):
    monkeypatch.setattr(train_task, "export", lambda *words: None)


def refused(directory, *flags):
    """The error of a command, after which everything is as it was."""
    before = contents(directory)
    code, _, error = run(*flags, f"--model_dir={directory}")
    assert code == 2 and error.startswith("error: ") and error.count("\n") == 1, error
    assert contents(directory) == before
    assert list(directory.parent.glob(f"{directory.name}.*")) == []
    return error


# ---- Another run in the same directory ----


@pytest.mark.parametrize(
    "flags,listed",
    [
        (["--resnet_depth=34"], ["--resnet_depth was 10, is 34"]),
        (["--temperature=0.2", "--seed=3"], ["--temperature was 0.1, is 0.2", "--seed was 0, is 3"]),
        (["--train_batch_size=8"], ["--train_batch_size was 6, is 8"]),
        (["--precision=bfloat16"], ["--precision was float32, is bfloat16"]),
        (["--train_mode=finetune"], ["--train_mode was pretrain, is finetune"]),
        (["--train_split=train[:50%]"], ["--train_split was train, is train[:50%]"]),
        (["--dataset=shapes", "--train_split=train[:48]"], ["--dataset was folder, is shapes"]),
        (["--warmup_epochs=1"], ["--warmup_epochs was 0.0, is 1.0"]),
    ],
)
def test_a_command_for_another_run_is_refused_and_touches_nothing(finished, command, flags, listed):
    error = refused(finished, *command, *flags)
    assert all(line in error for line in listed)
    assert "another --model_dir, or --overwrite" in error


def test_the_refused_directory_can_still_be_evaluated(finished, command):
    refused(finished, *command, "--resnet_depth=34")
    assert run(f"--model_dir={finished}", "--mode=eval", "--eval_timeout=30")[0] == 0


def test_fine_tuning_into_the_directory_of_its_pretraining_is_refused(finished, command):
    error = refused(finished, *command, "--train_mode=finetune", f"--checkpoint={finished}")
    assert "--train_mode was pretrain, is finetune" in error and "--checkpoint was not given" in error


def test_another_folder_is_another_run(finished, command, tmp_path):
    other = make_folder(tmp_path / "other", count=8)
    error = refused(finished, *command, f"--data_dir={other}")
    assert f"is {other} (18 training images then, 24 now)" in error


def test_a_folder_that_moved_is_not(copy, command, images, tmp_path, without_export):
    moved = shutil.copytree(images, tmp_path / "moved")
    code, output, _ = run(*command, f"--data_dir={moved}", f"--model_dir={copy}")
    assert code == 0 and f"the same images are read from {moved}" in output


def test_images_may_come_and_go_with_a_note(finished, command, images, tmp_path, without_export):
    directory = Path(shutil.copytree(finished, tmp_path / "run"))
    added = images / "train" / "ant" / "9.png"
    shutil.copy(images / "train" / "ant" / "0.png", added)
    try:
        code, output, _ = run(*command, f"--model_dir={directory}")
    finally:
        added.unlink()
    assert code == 0 and "no longer those that the run began with: 18 training images then, 19 now" in output


def test_what_may_change_does_with_a_note(copy, command, without_export):
    more = ["--checkpoint_steps=1", "--eval_batch_size=4", "--cache_dataset", "--mode=train_then_eval"]
    code, output, _ = run(*command, *more, f"--model_dir={copy}")
    assert code == 0
    assert "note: --checkpoint_steps was 2, is 1" in output and "note: --eval_batch_size was 8, is 4" in output
    assert json.loads((copy / "flags.json").read_text())["eval_batch_size"] == 4


def test_training_longer_says_what_it_does_to_the_schedule(copy, command, without_export):
    code, output, _ = run(*command, "--train_steps=6", f"--model_dir={copy}")
    assert code == 0 and "resuming from step 4" in output
    assert "was to take 4 steps and now takes 6: from step 4 on, the learning rate follows" in output
    assert (copy / "ckpt-6.index").is_file()


def test_a_run_goes_on_with_its_views_made_on_the_device(copy, command, without_export):
    code, output, _ = run(*command, "--train_steps=6", "--augment_on=device", f"--model_dir={copy}")
    assert code == 0 and "note: --augment_on was auto, is device" in output and "the CPU augments" in output
    assert (copy / "ckpt-6.index").is_file()


def test_training_shorter_than_is_done_is_refused(finished, command):
    assert "at least the 4 steps that the run in" in refused(finished, *command, "--train_steps=3")


def test_epochs_given_replace_recorded_steps(copy, without_export):
    """--train_steps of flags.json would override the --train_epochs of the command."""
    code, output, _ = run("--train_epochs=2", f"--model_dir={copy}")
    assert code == 0 and "now takes 7" in output


def test_a_directory_without_flags_goes_on_if_the_checkpoint_fits(copy, command, without_export):
    (copy / "flags.json").unlink()
    error = run(*command, "--width_multiplier=2", f"--model_dir={copy}")[2]
    assert "does not fit this model" in error and not (copy / "flags.json").exists()
    code, output, _ = run(*command, f"--model_dir={copy}")
    assert code == 0 and "holds checkpoints without flags.json" in output and (copy / "flags.json").is_file()


def test_a_directory_without_a_checkpoint_has_nothing_to_lose(copy, command, without_export):
    for path in (*copy.glob("ckpt*"), copy / "checkpoint"):
        path.unlink()
    shutil.rmtree(copy / "saved_model")
    assert run(*command, "--temperature=0.3", f"--model_dir={copy}")[0] == 0


def test_checkpoints_of_an_older_version_go_on_and_say_what_they_do_not_know(copy, command, tmp_path, without_export):
    """They name no classes and no images."""
    shapes = shapes_in(str(copy / "ckpt-4"))
    values = {path: tf.Variable(value) for path, value in read_values(str(copy / "ckpt-4"), shapes).items()}
    CheckpointStore(str(copy), values, 5).save(4)
    assert read_manifest(str(copy / "ckpt-4")) is None
    code, output, _ = run(*command, "--train_steps=6", f"--model_dir={copy}")
    assert code == 0 and "resuming from step 4" in output
    assert "do not name their classes: they are taken for those of" in output and "order: ant, bee, cat" in output
    assert read_manifest(str(copy / "ckpt-6")).class_names == CLASSES
    CheckpointStore(str(tmp_path / "old"), values, 5).save(4)
    output, _ = finetune(command, tmp_path / "new", f"--checkpoint={tmp_path / 'old'}")
    assert "does not name the classes of its supervised head" in output and "projection head, supervised he" in output


def test_damaged_flags_are_named(copy, command):
    (copy / "flags.json").write_text('{"dataset": ')
    assert "flags.json is damaged" in refused(copy, *command)
    assert "flags.json is damaged" in refused(copy)


# ---- --overwrite ----


def test_overwrite_keeps_the_old_directory_aside(copy, command, without_export):
    before = contents(copy)
    code, output, _ = run(*command, "--temperature=0.3", "--overwrite", f"--model_dir={copy}")
    assert code == 0 and "resuming" not in output
    [kept] = copy.parent.glob("run.replaced-*")
    assert f"note: what was in {copy} is kept in {kept}" in output
    assert contents(kept) == before
    flags = json.loads((copy / "flags.json").read_text())
    assert flags["temperature"] == 0.3 and "overwrite" not in flags


def test_overwrite_is_only_done_when_everything_else_was_checked(finished, command, tmp_path):
    foreign = tf.train.Checkpoint(thing=tf.Variable(1.0)).save(str(tmp_path / "foreign"))
    flags = [*command, "--overwrite", "--train_mode=finetune"]
    assert "written by this program" in refused(finished, *flags, f"--checkpoint={foreign}")
    assert "must hold nothing that the new run needs" in refused(finished, *flags, f"--checkpoint={finished}")
    assert "at most the 18" in refused(finished, *command, "--overwrite", "--train_batch_size=64")
    assert "evaluates the one that is there" in refused(finished, "--overwrite", "--mode=eval")


# ---- Nothing is left of what was refused ----


@pytest.mark.parametrize("more", [["--width_multiplier=2"], ["--train_batch_size=19"]])
def test_a_refused_fine_tuning_leaves_no_directory(finished, command, tmp_path, more):
    flags = [*command, "--train_mode=finetune", f"--checkpoint={finished}", *more]
    assert run(*flags, f"--model_dir={tmp_path / 'new'}")[0] == 2
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_checkpoint_leaves_no_directory(command, tmp_path):
    foreign = tf.train.Checkpoint(thing=tf.Variable(1.0)).save(str(tmp_path / "foreign"))
    flags = [*command, "--train_mode=finetune", f"--checkpoint={foreign}"]
    code, _, error = run(*flags, f"--model_dir={tmp_path / 'new'}")
    assert code == 2 and "written by this program" in error
    assert not (tmp_path / "new").exists()


# ---- --mode=eval ----


def test_evaluation_takes_the_run_s_flags_and_refuses_another_network(copy, images):
    flags = ["--mode=eval", "--eval_timeout=30", "--dataset=folder", f"--data_dir={images}", "--eval_split=test[:4]"]
    code, output, _ = run(*flags, "--temperature=3", f"--model_dir={copy}")
    assert code == 0 and "4 held-out" in output
    error = refused(copy, *flags, "--resnet_depth=50", "--image_size=64")
    assert "--image_size was 16, is 64" in error and "--resnet_depth was 10, is 50" in error


# ---- Classes ----


@pytest.fixture
def renamed(images, tmp_path):
    folder = Path(shutil.copytree(images, tmp_path / "renamed"))
    for split in ("train", "test"):
        (folder / split / "ant").rename(folder / split / "zebra")
    return folder


def test_a_checkpoint_keeps_the_class_names(finished):
    manifest = read_manifest(str(finished / "ckpt-4"))
    assert manifest.class_names == CLASSES and manifest.images["examples"] == 18


def test_a_renamed_class_is_an_error_and_not_an_accuracy(finished, renamed, command):
    evaluation = ["--mode=eval", "--eval_timeout=30", f"--data_dir={renamed}"]
    error = refused(finished, *evaluation)
    assert "missing: 'ant'; new: 'zebra'" in error and "--train_mode=finetune" in error


def test_a_class_more_is_named_too(finished, images, tmp_path):
    folder = Path(shutil.copytree(images, tmp_path / "more"))
    for split in ("train", "test"):
        shutil.copytree(folder / split / "ant", folder / split / "dog")
    error = refused(finished, "--mode=eval", "--eval_timeout=30", f"--data_dir={folder}")
    assert "new: 'dog'" in error


def test_going_on_with_a_renamed_class_is_refused(finished, command, images, tmp_path):
    """In place: the folder is the one that the run was started with."""
    directory = Path(shutil.copytree(finished, tmp_path / "run"))
    (images / "train" / "ant").rename(images / "train" / "zebra")
    (images / "test" / "ant").rename(images / "test" / "zebra")
    try:
        error = refused(directory, *command, "--train_steps=8")
    finally:
        (images / "train" / "zebra").rename(images / "train" / "ant")
        (images / "test" / "zebra").rename(images / "test" / "ant")
    assert "missing: 'ant'; new: 'zebra'" in error


def reversed_classes(load):
    def build_splits(*words, **options):
        found = load(*words, **options)
        return type(found)(*(s and with_class_order(s, s.class_names[::-1]) for s in found))

    return build_splits


def test_another_order_of_the_classes_gives_the_same_figures_and_goes_on(copy, command, monkeypatch, without_export):
    before = json.loads((copy / "result.json").read_text())
    monkeypatch.setattr(build, "build_splits", reversed_classes(build.build_splits))
    code, output, _ = run(f"--model_dir={copy}", "--mode=eval", "--eval_timeout=30")
    assert code == 0 and "counted in the order of the run's checkpoints: ant, bee, cat" in output
    assert "eval/knn_top_1" in before  # --mode=eval measures the head alone
    assert json.loads((copy / "result.json").read_text()) == before
    code, output, _ = run(*command, "--train_steps=6", f"--model_dir={copy}")
    assert code == 0 and "counted in the order of the run's checkpoints: ant, bee, cat" in output
    assert read_manifest(str(copy / "ckpt-6")).class_names == CLASSES


def test_an_export_names_the_classes_in_the_order_of_its_logits(copy, command, monkeypatch):
    shutil.rmtree(copy / "saved_model")
    monkeypatch.setattr(build, "build_splits", reversed_classes(build.build_splits))
    assert run(f"--model_dir={copy}", "--mode=eval", "--eval_timeout=30")[0] == 0
    card = json.loads((copy / "saved_model" / "4" / "simclr.json").read_text())
    assert card["class_names"] == list(CLASSES)


def finetune(command, directory, *more):
    flags = [*command, "--train_mode=finetune", "--optimizer=momentum", "--learning_rate=1e-30", "--train_steps=1"]
    code, output, error = run(*flags, *more, f"--model_dir={directory}")
    assert code == 0, error
    return output, read_values(str(directory / "ckpt-1"), [HEAD])[HEAD]


def test_a_head_is_not_reused_for_as_many_other_classes(finished, renamed, command, tmp_path, without_export):
    output, head = finetune(command, tmp_path / "new", f"--checkpoint={finished}", f"--data_dir={renamed}")
    assert "supervised head starts afresh: the checkpoint's is for other classes (missing: 'ant'; new: 'z" in output
    assert np.abs(head - read_values(str(finished / "ckpt-4"), [HEAD])[HEAD]).max() > 1e-3


@pytest.mark.parametrize("start", ["checkpoint", "export"])
def test_a_head_for_the_same_classes_in_another_order_is_put_in_order(
    finished, command, tmp_path, monkeypatch, without_export, start
):
    monkeypatch.setattr(build, "build_splits", reversed_classes(build.build_splits))
    path = finished if start == "checkpoint" else finished / "saved_model" / "4"
    output, head = finetune(command, tmp_path / "new", f"--checkpoint={path}")
    assert "loaded encoder, projection head, supervised head" in output and "are put in order" in output
    np.testing.assert_allclose(head, read_values(str(finished / "ckpt-4"), [HEAD])[HEAD][:, ::-1], atol=1e-6)
    assert read_manifest(str(tmp_path / "new" / "ckpt-1")).class_names == CLASSES[::-1]


# ---- Paths ----


def test_a_directory_of_any_name_works_all_the_way(command, tmp_path):
    directory = tmp_path / ODD_NAME / "run"
    whole = [*command, f"--model_dir={directory}"]
    code, output, _ = run(*whole, "--mode=train_then_eval", "--keep_checkpoint_max=1")
    assert code == 0 and "note: TensorFlow cannot load a SavedModel from a path with" in output
    assert sorted(path.name for path in directory.iterdir() if path.name.startswith("ckpt")) == [
        "ckpt-4.checksums.json",
        "ckpt-4.data-00000-of-00001",
        "ckpt-4.index",
    ]
    code, output, _ = run(*whole, "--train_steps=6", "--checkpoint_steps=1", "--keep_checkpoint_max=2")
    assert code == 0 and "resuming from step 4" in output
    kept = {path.name.partition(".")[0] for path in directory.iterdir() if path.name.startswith("ckpt")}
    assert kept == {"ckpt-5", "ckpt-6"}
    assert run(f"--model_dir={directory}", "--mode=eval", "--eval_timeout=30")[0] == 0
    for source in (directory, directory / "ckpt-5", directory / "saved_model" / "6"):
        new = tmp_path / ODD_NAME / f"from {source.name}"
        output, _ = finetune(command, new, f"--checkpoint={source}")
        assert "supervised head" in output and "afresh" not in output
    flags = [f"--checkpoint={directory}", "--protocols=knn,finetune_2per_class,untrained", "--knn_k=5"]
    assert run_task("evaluate", [*flags, "--finetune_epochs=1", "--eval_batch_size=8"]) == 0
    assert run(*whole, "--overwrite", "--train_steps=1", "--temperature=0.5")[0] == 0
    assert len(list(path for path in directory.parent.iterdir() if path.name.startswith("run.replaced-"))) == 1


def test_home_is_expanded_in_every_path(command, images, tmp_path, monkeypatch, without_export):
    monkeypatch.setenv("HOME", str(tmp_path))
    os.symlink(images, tmp_path / "images")
    code, _, _ = run(*command, "--data_dir=~/images", "--model_dir=~/run")
    assert code == 0 and (tmp_path / "run" / "ckpt-4.index").is_file() and not Path("~").exists()
    flags = ["--data_dir=~/images", "--train_mode=finetune", "--checkpoint=~/run", "--train_steps=1"]
    assert run(*command, *flags, "--model_dir=~/new")[0] == 0
    (tmp_path / "tiny.cfg").write_text("--train_steps=1\n--model_dir=~/third\n")
    assert run(*command, "--flagfile=~/tiny.cfg")[0] == 0 and (tmp_path / "third" / "ckpt-1.index").is_file()


def test_a_data_dir_without_a_dataset_is_a_folder(command, tmp_path, without_export):
    own = [flag for flag in command if flag != "--dataset=folder"]
    code, output, _ = run(*own, f"--model_dir={tmp_path}")
    assert code == 0 and "--data_dir without --dataset: the images of that folder" in output
    assert json.loads((tmp_path / "flags.json").read_text())["dataset"] == "folder"


# ---- A folder without training flags ----


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(own_images, "ROWS", [own_images.Row(18, 0.5, 16, 8, 1.0), own_images.Row(1e9, 1.0, 16, 4, 1.0)])


def test_settings_follow_from_the_number_of_images_and_can_be_pasted(images, tmp_path, short, without_export):
    flags = ["--dataset=folder", f"--data_dir={images}", "--eval_split=test", f"--model_dir={tmp_path / 'run'}"]
    code, output, error = run(*flags)
    assert code == 0, error
    [line] = [line for line in output.splitlines() if "no training flag given" in line]
    assert "settings for a folder of 18 images, as in: python run.py " in line
    words = shlex.split(line.partition("as in: python run.py ")[2])
    recorded = json.loads((tmp_path / "run" / "flags.json").read_text())
    assert recorded["width_multiplier"] == 0.5 and recorded["train_batch_size"] == 8
    for command in (words, flags):
        code, output, error = run(*command)
        assert code == 0 and "resuming from step 3" in output, error
    assert json.loads((tmp_path / "run" / "flags.json").read_text()) == recorded


def test_a_run_keeps_its_settings_when_an_image_is_added(images, tmp_path, short, without_export):
    folder = Path(shutil.copytree(images, tmp_path / "images"))
    flags = ["--dataset=folder", f"--data_dir={folder}", "--eval_split=test", f"--model_dir={tmp_path / 'run'}"]
    assert run(*flags)[0] == 0
    recorded = json.loads((tmp_path / "run" / "flags.json").read_text())
    shutil.copy(folder / "train" / "ant" / "0.png", folder / "train" / "ant" / "9.png")
    for _ in range(3):  # the checkpoint that an earlier resumption wrote says 19 images, too
        code, output, error = run(*flags, "--checkpoint_steps=1")
        assert code == 0 and "resuming from step" in output and "settings for a folder of" not in output, error
    assert json.loads((tmp_path / "run" / "flags.json").read_text()) == recorded | {"checkpoint_steps": 1}


def test_a_run_keeps_the_training_flags_that_it_was_given():
    """Whatever settings the number of its images would have now."""
    given = {"dataset": "folder", "data_dir": "d", "resnet_depth": 34, "train_batch_size": 24, "train_steps": 70}
    run_config = build_config(given)
    config = build_config({"dataset": "folder", "data_dir": "d"})
    for number in (7, 70, 480, 600):  # with 7 images the warm-up would take more steps than there are
        assert complete_by_images(config, frozenset({"dataset", "data_dir"}), number, run_config)[0] == run_config


def test_a_run_of_an_older_version_goes_on_with_the_plain_defaults():
    """It began without training flags, too, when none were chosen for it."""
    config = build_config({"dataset": "folder", "data_dir": "d"})
    assert complete_by_images(config, frozenset({"dataset", "data_dir"}), 600, config) == (config, [])


def test_one_training_flag_leaves_the_others_at_their_defaults():
    config = build_config({"dataset": "folder", "data_dir": "d", "resnet_depth": 18})
    assert complete_by_images(config, frozenset({"resnet_depth"}), 600, None) == (config, [])


# ---- Warm-up ----


def test_a_default_warm_up_is_shortened_and_stays_so(command, tmp_path, without_export):
    own = [flag for flag in command if not flag.startswith(("--warmup_epochs", "--train_steps"))]
    code, output, _ = run(*own, "--train_epochs=4", f"--model_dir={tmp_path}")
    assert code == 0 and "13 steps (1 of warm-up)" in output
    assert "a warm-up of 10 epochs would outlast training: it is shortened to a tenth of the steps" in output
    recorded = json.loads((tmp_path / "flags.json").read_text())["warmup_epochs"]
    assert recorded == pytest.approx(1 / 3)
    printed = output.partition("--warmup_epochs=")[2].partition(";")[0]
    assert float(printed) == recorded  # so that it can be passed back
    code, output, _ = run(*own, "--train_epochs=40", "--train_steps=14", f"--model_dir={tmp_path}")
    assert code == 0 and "14 steps (1 of warm-up)" in output
    assert json.loads((tmp_path / "flags.json").read_text())["warmup_epochs"] == recorded


def test_a_run_from_before_keeps_its_online_head(command, tmp_path):
    """Its flags.json has no word on the head, which was the authors'; it ends as it would have then."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert run(*command, f"--model_dir={whole}", "--online_head=authors")[0] == 0
    shutil.copytree(whole, stopped)
    for file in stopped.glob("ckpt-4.*"):
        file.unlink()
    recorded = json.loads((stopped / "flags.json").read_text())
    del recorded["online_head"]
    (stopped / "flags.json").write_text(json.dumps(recorded))
    code, _, errors = run(*command, f"--model_dir={stopped}", "--online_head=standardised")
    assert code == 2 and "--online_head was authors, is standardised" in errors
    code, output, errors = run(*command, f"--model_dir={stopped}")
    assert code == 0, errors
    assert "online linear head: the authors'" in output
    assert json.loads((stopped / "flags.json").read_text())["online_head"] == "authors"
    paths = shapes_in(str(whole / "ckpt-4"))
    assert len(paths) > 20 and not any(path.startswith("online_head") for path in paths)
    want, got = (read_values(str(place / "ckpt-4"), paths) for place in (whole, stopped))
    assert [path for path in paths if not np.array_equal(want[path], got[path])] == []


# ---- --data_dir alone, and --mode=eval ----


@pytest.fixture
def of_shapes(finished, tmp_path):
    """A directory whose flags are those of a run on built-in images."""
    directory = Path(shutil.copytree(finished, tmp_path / "run"))
    flags = json.loads((directory / "flags.json").read_text())
    (directory / "flags.json").write_text(json.dumps(flags | {"dataset": "shapes", "data_dir": None}))
    return directory


def test_a_data_dir_alone_is_a_folder_whatever_run_the_directory_holds(of_shapes, images):
    error = refused(of_shapes, f"--data_dir={images}", "--train_steps=9", "--train_batch_size=6")
    assert "--dataset was shapes, is folder" in error


def test_a_data_dir_alone_with_overwrite_is_a_folder(of_shapes, command, without_export):
    flags = [flag for flag in command if flag != "--dataset=folder"]
    code, output, error = run(*flags, "--overwrite", f"--model_dir={of_shapes}")
    assert code == 0 and "18 training images" in output, error


def test_evaluating_a_folder_in_the_directory_of_another_run_is_refused(of_shapes, images):
    error = refused(of_shapes, "--mode=eval", "--eval_timeout=30", f"--data_dir={images}")
    assert "--dataset was shapes, is folder" in error
    assert f"python -m tf_simclr evaluate --checkpoint={of_shapes} --dataset=folder --data_dir={images}" in error


def test_evaluating_other_images_does_not_touch_the_run(finished, tmp_path):
    other = make_folder(tmp_path / "other")
    for path in other.rglob("*.png"):
        path.write_bytes(tf.io.encode_png(np.full((9, 9, 3), 7, np.uint8)).numpy())
    error = refused(finished, "--mode=eval", "--eval_timeout=30", f"--data_dir={other}")
    assert f"is {other}" in error and "python -m tf_simclr evaluate --checkpoint=" in error


def test_evaluating_again_loses_no_figure(copy, images, tmp_path):
    before = json.loads((copy / "result.json").read_text())
    card = json.loads((copy / "saved_model" / "4" / "simclr.json").read_text())
    assert run(f"--model_dir={copy}", "--mode=eval", "--eval_timeout=30")[0] == 0
    assert json.loads((copy / "result.json").read_text()) == before and "eval/knn_top_1" in before
    assert json.loads((copy / "saved_model" / "4" / "simclr.json").read_text()) == card
    assert [path.name for path in sorted(copy.glob("result*"))] == ["result.json", "result_4.json"]
    # On a part of the split: the figures of the whole are kept apart, and the export says what it said.
    code, output, _ = run(f"--model_dir={copy}", "--mode=eval", "--eval_timeout=30", "--eval_split=test[:4]")
    part = json.loads((copy / "result.json").read_text())
    assert code == 0 and part["eval/examples"] == 4 and "eval/knn_top_1" not in part
    assert part["evaluated_on"]["split"] == "test[:4]" and before["evaluated_on"]["split"] == "test"
    [kept] = copy.glob("result_4.*.json")
    assert json.loads(kept.read_text()) == before and f"are kept in {kept.name}" in output
    assert json.loads((copy / "saved_model" / "4" / "simclr.json").read_text()) == card
    assert "stays as it is, because the figures are of another evaluation: --eval_split was test, is test[:4]" in output


def test_a_damaged_image_is_one_line_in_an_evaluation_too(copy, images, tmp_path):
    folder = Path(shutil.copytree(images, tmp_path / "images"))
    damaged = folder / "test" / "bee" / "0.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    code, _, error = run(f"--model_dir={copy}", "--mode=eval", "--eval_timeout=30", f"--data_dir={folder}")
    assert code == 2 and error.startswith("error: This image is damaged") and error.count("\n") == 1
    assert str(damaged) in error


def test_overwrite_leaves_no_table_of_labels_behind(tmp_path):
    directory = tmp_path / "run"
    values = {"dataset": "folder", "data_dir": str(tmp_path), "labels": str(directory / "l.csv")}
    with pytest.raises(InputError, match="labels="):
        require_apart(build_config({**values, "model_dir": str(directory)}))


def test_the_flags_of_a_run_are_found_by_every_kind_of_path(tmp_path):
    flags = build_config({"dataset": "folder", "data_dir": "d"}).to_flags()
    del flags["hold_out_by"]
    (tmp_path / "flags.json").write_text(json.dumps(flags))
    for place in (tmp_path, f"file://{tmp_path}"):
        parsed, _ = complete(parse(["--dataset=folder", "--data_dir=d", f"--model_dir={place}"], ALL_FLAG_GROUPS))
        assert parsed.values["hold_out_by"] == "count"
