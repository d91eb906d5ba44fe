"""Every mode of the training program, for real, on a few small images."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.cli import train as train_task
from tf_simclr.cli.main import run_task
from tf_simclr.loading import load
from tf_simclr.train.checkpoint_store import CheckpointStore
from tf_simclr.train.checkpoints import read_text, read_values, shapes_in

pytestmark = pytest.mark.whole_runs
ROOT = Path(__file__).parents[2]
ENDPOINTS = {"initial_conv", "initial_max_pool", "block_group1", "block_group2", "block_group3", "block_group4"} | {
    "final_avg_pool",
    "proj_head_input",
    "proj_head_output",
}


def run(flags, *more):
    assert run_task("train", [*flags, *more]) == 0


def values_of(prefix):
    """Name -> value of all that a checkpoint keeps; never nothing, which would be equal to nothing."""
    reader = tf.train.load_checkpoint(str(prefix))
    found = {
        name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map() if name.startswith("variables/")
    }
    assert len(found) > 60, f"{prefix} holds only {sorted(found)}"
    return found


def tags_in(directory):
    found = {}
    for file in Path(directory).glob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, float(tf.make_ndarray(value.tensor))))
    assert found, f"there is no curve in {directory}"
    return found


@pytest.fixture(scope="module")
def pretraining(tmp_path_factory, tiny_flags):
    """The directory of a run, and what it printed."""
    directory, output = tmp_path_factory.mktemp("pretrained"), io.StringIO()
    with contextlib.redirect_stdout(output):
        run([*tiny_flags, f"--model_dir={directory}", "--mode=train_then_eval", "--untrained_baseline"])
    return directory, output.getvalue()


@pytest.fixture(scope="module")
def pretrained(pretraining):
    return pretraining[0]


@pytest.fixture
def without_export(monkeypatch):
    """For runs that no test reads the export of: writing it takes as long as the rest of such a run."""
    monkeypatch.setattr(train_task, "export", lambda *words: None)


@pytest.mark.training_runs
def test_pretraining_leaves_everything_that_was_promised(pretrained, capsys):
    result = json.loads((pretrained / "result.json").read_text())
    assert result == json.loads((pretrained / "result_4.json").read_text())
    assert result["global_step"] == 4 and result["eval/examples"] == 22
    assert (result["eval/label_top_1_accuracy"] * 22) % 1 == pytest.approx(0, abs=1e-4)
    assert 0 <= result["eval/label_top_1_accuracy"] <= result["eval/label_top_5_accuracy"] <= 1
    assert "untrained/label_top_1_accuracy" in result
    assert json.loads((pretrained / "flags.json").read_text())["train_steps"] == 4


def test_a_run_ends_with_knn_and_keeps_it(pretraining):
    pretrained, output = pretraining
    result = json.loads((pretrained / "result.json").read_text())
    *_, last, done = [line for line in output.splitlines() if not line.startswith(("next: ", "  "))]
    found = re.fullmatch(r"done after \d+ s: (.*in steps.*, \d+% in the rest \(start, tracing, export\)); (.*)", done)
    shares, memory = found.groups()
    assert re.fullmatch(r"at most [\d,]+ MiB of the host's memory", memory)
    assert sum(int(share) for share in re.findall(r"(\d+)%", shares)) == pytest.approx(100, abs=3)
    assert "in checkpoints" in shares and "in evaluation" in shares
    assert last == (
        f"step 4, 22 held-out images: kNN top-1 {result['eval/knn_top_1']:.1%} (k = 48, T = 0.1, 48 training images)"
    )
    assert "online linear top-1" in output
    assert output.splitlines()[-6:] == [
        *(
            "next: evaluate the features by every frozen protocol",
            f"  python -m tf_simclr evaluate --checkpoint={pretrained}",
        ),
        "next: make the images searchable",
        f"  python -m tf_simclr embed --checkpoint={pretrained} --out={pretrained}/index",
        *("next: look at the curves", f"  tensorboard --logdir={pretrained}"),
    ]
    card = json.loads((pretrained / "saved_model" / "4" / "simclr.json").read_text())
    assert card["metrics"]["eval/knn_top_1"] == result["eval/knn_top_1"]
    assert {p.name for p in pretrained.glob("*.index")} == {"ckpt-2.index", "ckpt-4.index"}
    card = json.loads((pretrained / "saved_model" / "4" / "simclr.json").read_text())
    assert card["metrics"] == {
        name: value for name, value in result.items() if name not in ("global_step", "evaluated_on")
    }
    assert card["step"] == 4 and card["config"]["temperature"] == 0.1 and len(card["class_names"]) == 10


@pytest.mark.training_runs
def test_summaries_have_the_authors_tags(pretrained):
    tags = tags_in(pretrained)
    train = {"weight_decay", "total_loss", "contrast_loss", "contrast_acc", "contrast_entropy"} | {
        "supervised_loss",
        "supervised_acc",
    }
    evaluation = {"regularization_loss", "label_top_1_accuracy", "label_top_5_accuracy"}
    assert set(tags) >= {f"train/{x}" for x in train} | {f"eval/{x}" for x in evaluation} | {"learning_rate"}
    assert [step for step, _ in tags["train/total_loss"]] == [1, 2, 3, 4]
    parts = [dict(tags[f"train/{x}"])[2] for x in ("contrast_loss", "supervised_loss", "weight_decay")]
    assert dict(tags["train/total_loss"])[2] == pytest.approx(sum(parts), rel=1e-5)


@pytest.mark.training_runs
def test_the_saved_model_reloads_and_trains(pretrained):
    loaded = tf.saved_model.load(str(pretrained / "saved_model" / "4"))
    images = tf.random.stateless_uniform([3, 16, 16, 3], [0, 1])
    outputs = loaded(images, trainable=False)
    assert set(outputs) >= ENDPOINTS | {"logits_sup"}
    served = loaded.signatures["serving_default"](inputs=images)
    np.testing.assert_allclose(served["logits_sup"], outputs["logits_sup"], rtol=1e-5)
    moving = [v for v in loaded.variables if "moving" in v.name]
    before = [v.numpy() for v in moving]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(loaded(images, trainable=True)["proj_head_output"]))
    gradients = tape.gradient(loss, loaded.trainable_variables)
    # The classifier's kernel and bias do not feed the projections; everything else must be reached.
    reached = [g is not None and np.abs(g).max() > 0 for g in gradients]
    assert reached.count(False) <= 2 and len(reached) > 40
    assert any(np.any(v.numpy() != old) for v, old in zip(moving, before, strict=True))
    for variable in loaded.trainable_variables:
        variable.assign_sub(0.1 * tf.ones_like(variable))
    changed = loaded(images, trainable=False)["final_avg_pool"]
    assert np.abs(changed - outputs["final_avg_pool"]).max() > 1e-3


def test_running_the_same_command_again_changes_nothing(pretrained, tiny_flags):
    before = values_of(pretrained / "ckpt-4")
    run(tiny_flags, f"--model_dir={pretrained}", "--mode=train_then_eval", "--untrained_baseline")
    after = values_of(pretrained / "ckpt-4")
    assert set(before) == set(after)
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.training_runs
def test_online_evaluation_leaves_curves_and_results_and_changes_nothing_else(
    pretrained, tiny_flags, without_export, tmp_path, capsys
):
    flags = [*tiny_flags, f"--model_dir={tmp_path}", "--mode=train_then_eval", "--untrained_baseline"]
    flags += ["--eval_every_epochs=1", "--online_eval_examples=30"]
    run(flags)
    tags, result = tags_in(tmp_path), json.loads((tmp_path / "result.json").read_text())
    for name in ("eval/knn_top_1", "eval/linear_top_1"):
        assert [step for step, _ in tags[name]] == [3, 4]
        assert tags[name][-1][1] == pytest.approx(result[name])
        assert (result[name] * 22) % 1 == pytest.approx(0, abs=1e-4)
        assert name not in tags_in(tmp_path / "untrained_baseline")
    plain = json.loads((pretrained / "result.json").read_text())
    assert set(result) - set(plain) == {"eval/linear_top_1"}
    # Of all 48 training images there, of 30 of them here.
    assert [name for name in plain if result[name] != plain[name] and name != "eval/knn_top_1"] == []
    want, got = values_of(pretrained / "ckpt-4"), values_of(tmp_path / "ckpt-4")
    assert set(want) == set(got)
    assert [name for name in want if not np.array_equal(want[name], got[name])] == []
    output = capsys.readouterr().out
    assert "online evaluation every 3 steps and at the end: kNN (k = 30 in place of 200" in output
    assert output.count("(online)") == 2
    # The same command again only evaluates; the figures stay beside the others.
    run(flags)
    assert json.loads((tmp_path / "result.json").read_text()) == result
    assert capsys.readouterr().out.count("(online)") == 1


def test_online_evaluation_without_labels_ends_before_any_work(tiny_flags, tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(16):
        content = tf.io.encode_png(tf.fill([16, 16, 3], tf.cast(number, tf.uint8)))
        (folder / f"{number}.png").write_bytes(content.numpy())
    flags = [*tiny_flags, "--dataset=folder", f"--data_dir={folder}", "--train_split=train", "--eval_every_epochs=1"]
    assert run_task("train", [*flags, f"--model_dir={tmp_path / 'run'}"]) == 2
    assert "error: --eval_every_epochs needs labels" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_mode_eval_reads_the_run_s_own_flags_and_ends(pretrained, capsys):
    result = json.loads((pretrained / "result.json").read_text())
    run([f"--model_dir={pretrained}", "--mode=eval", "--eval_timeout=30"])
    assert "waiting for checkpoints up to step 4" in capsys.readouterr().out
    again = json.loads((pretrained / "result.json").read_text())
    for name in ("eval/label_top_1_accuracy", "eval/label_top_5_accuracy"):
        assert again[name] == pytest.approx(result[name])


def test_mode_eval_gives_up_in_time(tmp_path, tiny_flags, capsys):
    code = run_task("train", [*tiny_flags, f"--model_dir={tmp_path}", "--mode=eval", "--eval_timeout=0.5"])
    assert code == 2
    assert "`eval_timeout` passed" in capsys.readouterr().err


@pytest.mark.training_runs
@pytest.mark.parametrize(
    ("head", "optimizer", "more"),
    [
        ("none", "adam", ()),
        (
            "linear",
            "lamb",
            (
                "--augmentation=crop,flip,color_jitter:0.5@0.8,color_drop,rotate,cutout,noise,sobel@0.5,autoaugment",
                "--augmentation_branch=one",
            ),
        ),
    ],
)
def test_other_heads_optimizers_and_augmentations_without_a_supervised_head(
    tmp_path, tiny_flags, head, optimizer, more
):
    run(
        tiny_flags,
        f"--model_dir={tmp_path}",
        f"--proj_head_mode={head}",
        "--lineareval_while_pretraining=False",
        "--mode=train_then_eval",
        f"--optimizer={optimizer}",
        "--learning_rate=0.01",
        *more,
    )
    loaded = tf.saved_model.load(str(tmp_path / "saved_model" / "4"))
    outputs = loaded(tf.zeros([1, 16, 16, 3]), trainable=False)
    assert set(outputs) >= ENDPOINTS and "logits_sup" not in outputs
    # Without a head nothing was trained with labels, and neighbours still tell what was learned.
    result = json.loads((tmp_path / "result.json").read_text())
    assert set(result) == {"eval/knn_top_1", "global_step", "evaluated_on"}


def test_a_loss_with_semi_hard_negatives(tmp_path, tiny_flags, without_export, capsys):
    run(tiny_flags, f"--model_dir={tmp_path}", "--loss=margin_triplet", "--margin=0.3", "--semi_hard", "--mode=train")
    assert "contrastive loss: margin_triplet, semi-hard negatives within 0.3" in capsys.readouterr().out
    losses = [value for _, value in tags_in(tmp_path)["train/contrast_loss"]]
    # Of anchors with a negative within the margin, what is left of it; NT-Xent starts near ln 31.
    assert len(losses) == 4 and all(0 < value < 0.3 for value in losses)
    assert json.loads((tmp_path / "flags.json").read_text())["loss"] == "margin_triplet"


@pytest.mark.training_runs
@pytest.mark.parametrize(
    ("loss", "more", "line"),
    [
        ("dcl", (), "contrastive loss (dcl) at chance: at least ln(2 x 16 - 2) = 3.401"),
        (
            "debiased",
            ("--class_prior=0.2",),
            "contrastive loss: debiased, class prior 0.2",
        ),
        ("supcon", ("--micro_batch_size=5",), "contrastive loss (supcon) at chance: at least ln(2 x 16 - 1) = 3.434"),
    ],
)
def test_losses_of_other_papers(loss, more, line, tmp_path, tiny_flags, without_export, capsys):
    flags = (f"--model_dir={tmp_path}", f"--loss={loss}", "--mode=train", "--train_steps=2", "--checkpoint_steps=2")
    run(tiny_flags, *flags, *more)
    assert line in capsys.readouterr().out
    losses = [value for _, value in tags_in(tmp_path)["train/contrast_loss"]]
    assert losses and all(math.isfinite(value) for value in losses)
    assert json.loads((tmp_path / "flags.json").read_text())["loss"] == loss
    assert load(str(tmp_path)).contrastive_loss.name == loss


# The rate of the first step: whatever the loss was before it, no weight is worth anything afterwards.
DIVERGING = ("--train_steps=1", "--learning_rate=1e38", "--optimizer=momentum")


@pytest.mark.parametrize(
    ("mode", "head", "words"),
    [
        # With the authors' head all losses are of before the step: only a look at the variables finds it.
        ("train", "authors", "error: training diverged by step 1: not finite: "),
        ("train_then_eval", "authors", "error: training diverged by step 1: not finite: "),
        # The other one reads h of after the step.
        ("train_then_eval", "standardised", "error: training diverged by step 1: not finite: train/supervised_loss"),
    ],
)
def test_a_network_that_diverged_gets_no_accuracy_and_no_export(tmp_path, tiny_flags, capsys, mode, head, words):
    flags = [*DIVERGING, f"--model_dir={tmp_path}", f"--mode={mode}", f"--online_head={head}"]
    code = run_task("train", [*tiny_flags, *flags])
    output = capsys.readouterr()
    assert code == 2
    errors = [line for line in output.err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and words in errors[0] and "not finite" in errors[0]
    assert "smaller --learning_rate" in errors[0] and "There is no checkpoint" in errors[0]
    assert not list(tmp_path.glob("ckpt*"))
    assert "top-1" not in output.out
    assert not (tmp_path / "saved_model").exists() and not list(tmp_path.glob("result*"))
    written = list(tmp_path.glob("*.json"))
    assert tmp_path / "flags.json" in written
    for file in written:
        assert "Infinity" not in file.read_text() and "NaN" not in file.read_text()


def test_a_run_does_not_go_on_from_a_checkpoint_of_nans(pretrained, tmp_path, tiny_flags, capsys):
    """An earlier version may have saved one; more training would only say that the loss is not finite."""
    run_of_nans = tmp_path / "nans"
    shutil.copytree(pretrained, run_of_nans, ignore=shutil.ignore_patterns("ckpt*", "checkpoint", "saved_model"))
    prefix = str(pretrained / "ckpt-4")
    values = read_values(prefix, shapes_in(prefix))
    spoilt = "encoder/stem_conv/kernel"
    variables = {path: tf.Variable(np.full_like(v, np.nan) if path == spoilt else v) for path, v in values.items()}
    CheckpointStore(str(run_of_nans), variables, 1, manifest=read_text(prefix)).save(4)
    flags = [flag for flag in tiny_flags if not flag.startswith("--train_steps")]
    code = run_task("train", [*flags, "--mode=train", "--train_steps=6", f"--model_dir={run_of_nans}"])
    said = capsys.readouterr().err
    assert code == 2 and f"the checkpoint of step 4 in {run_of_nans} holds values that are not finite: {spoilt}" in said
    assert [path.name for path in run_of_nans.glob("ckpt*.index")] == ["ckpt-4.index"]


def test_neither_evaluation_nor_fine_tuning_takes_a_network_of_nans(pretrained, tmp_path, tiny_flags, capsys):
    run_of_nans = tmp_path / "nans"
    run_of_nans.mkdir()
    prefix = str(pretrained / "ckpt-4")
    variables = {
        path: tf.Variable(np.full_like(value, np.nan) if value.dtype == np.float32 else value)
        for path, value in read_values(prefix, shapes_in(prefix)).items()
    }
    CheckpointStore(str(run_of_nans), variables, 1).save(4)
    (run_of_nans / "flags.json").write_text((pretrained / "flags.json").read_text())
    tasks = {
        "train": [f"--model_dir={run_of_nans}", "--mode=eval", "--eval_timeout=30"],
        "evaluate": [f"--checkpoint={run_of_nans}", f"--model_dir={tmp_path / 'evaluated'}", "--protocols=knn"],
    }
    for task, flags in tasks.items():
        assert run_task(task, flags) == 2
        assert "encoder/stem_conv/kernel" in capsys.readouterr().err
    tuned = [f"--model_dir={tmp_path / 'tuned'}", f"--checkpoint={run_of_nans}", "--train_mode=finetune"]
    assert run_task("train", [*tiny_flags, *tuned]) == 2
    assert "encoder/stem_conv/kernel" in capsys.readouterr().err
    assert not list(tmp_path.rglob("result*.json")) and not list(tmp_path.rglob("saved_model"))


def encoder_of(values):
    found = {name: value for name, value in values.items() if name.startswith("variables/encoder")}
    assert len(found) > 50
    return found


def finetune(pretrained, directory, tiny_flags, *more):
    run(
        tiny_flags,
        f"--model_dir={directory}",
        f"--checkpoint={pretrained}",
        "--train_mode=finetune",
        "--optimizer=momentum",
        "--variable_schema=whatever",
        *more,
    )
    return values_of(directory / "ckpt-4")


@pytest.mark.training_runs
def test_a_frozen_encoder_stays_bit_identical(pretrained, tmp_path, tiny_flags, without_export):
    after = finetune(
        pretrained,
        tmp_path,
        tiny_flags,
        "--fine_tune_after_block=4",
        "--zero_init_logits_layer=True",
        "--global_bn=False",
    )
    before = values_of(pretrained / "ckpt-4")
    frozen = encoder_of(after)
    assert all(np.array_equal(before[name], value) for name, value in frozen.items())
    head = [name for name in after if name.startswith("variables/supervised_head")]
    assert head and all(not np.array_equal(before[name], after[name]) for name in head)


@pytest.mark.training_runs
def test_a_partly_frozen_encoder_trains_only_the_rest(pretrained, tmp_path, tiny_flags, without_export):
    """Also: an export is as good a start as the checkpoint of its step."""
    export = pretrained / "saved_model" / "4"
    after = encoder_of(finetune(export, tmp_path, tiny_flags, "--fine_tune_after_block=2"))
    before = values_of(pretrained / "ckpt-4")
    for name, value in after.items():
        frozen = any(part in name for part in ("stem", "block_group1", "block_group2"))
        assert np.array_equal(before[name], value) == frozen, name


@pytest.mark.training_runs
def test_finetuning_from_a_hidden_layer_of_the_head(pretrained, tmp_path, tiny_flags):
    after = finetune(pretrained, tmp_path, tiny_flags, "--ft_proj_selector=1", "--mode=train_then_eval")
    assert (tmp_path / "saved_model" / "4" / "saved_model.pb").is_file() and (tmp_path / "result.json").is_file()
    before = values_of(pretrained / "ckpt-4")
    moved = {name for name in after if "projection" in name and not name.startswith("variables/optimizer")}
    moved = {name for name in moved if not np.array_equal(before[name], after[name])}
    assert moved and all("1" in name for name in moved), moved


def test_a_head_for_other_classes_starts_afresh_and_says_so(pretrained, tmp_path, tiny_flags, without_export, capsys):
    images = tmp_path / "pictures"
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            write_images(images / split / label, 8)
    finetune(
        pretrained,
        tmp_path / "run",
        tiny_flags,
        "--mode=train_then_eval",
        "--dataset=folder",
        f"--data_dir={images}",
        "--train_split=train",
        "--eval_split=test",
    )
    assert "supervised head starts afresh: the checkpoint's has 10 classes" in capsys.readouterr().out


def test_a_checkpoint_of_another_architecture_lists_the_variables(pretrained, tmp_path, tiny_flags, capsys):
    flags = [*tiny_flags, f"--model_dir={tmp_path}", f"--checkpoint={pretrained}", "--train_mode=finetune"]
    assert run_task("train", [*flags, "--width_multiplier=0.125"]) == 2
    error = capsys.readouterr().err
    assert "encoder/" in error and "there and" in error and error.count("\n") == 1


def write_images(directory, count, size=20):
    directory.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        image = rng.integers(0, 256, (size, size + i, 3), dtype=np.uint8)
        tf.io.write_file(str(directory / f"{i}.png"), tf.io.encode_png(image))


def test_unlabelled_images_pretrain(tmp_path, tiny_flags, capsys):
    write_images(tmp_path / "pictures", 20)
    run(
        tiny_flags,
        "--dataset=folder",
        f"--data_dir={tmp_path / 'pictures'}",
        f"--model_dir={tmp_path / 'run'}",
        "--mode=train_then_eval",
    )
    assert "nothing to evaluate" in capsys.readouterr().out
    assert (tmp_path / "run" / "saved_model" / "4").is_dir()
    shapes = shapes_in(str(tmp_path / "run" / "ckpt-4"))
    assert "encoder/stem_conv/kernel" in shapes and not any("supervised" in name for name in shapes)


def test_a_image_that_breaks_off_is_named(tmp_path, tiny_flags, capsys):
    write_images(tmp_path / "pictures", 18)
    damaged = tmp_path / "pictures" / "7.png"
    damaged.write_bytes(damaged.read_bytes()[:300])
    flags = [*tiny_flags, "--dataset=folder", f"--data_dir={damaged.parent}", f"--model_dir={tmp_path / 'run'}"]
    assert run_task("train", flags) == 2
    error = capsys.readouterr().err
    assert str(damaged) in error and error.count("\n") == 1


def test_damaged_images_are_left_out_where_that_is_asked_for(tmp_path, tiny_flags, capsys):
    write_images(tmp_path / "pictures", 120, size=9)
    damaged = tmp_path / "pictures" / "7.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    flags = [*tiny_flags, "--dataset=folder", f"--data_dir={damaged.parent}", f"--model_dir={tmp_path / 'run'}"]
    assert run_task("train", [*flags, "--train_split=train", "--on_bad_image=skip"]) == 0
    printed = capsys.readouterr().out
    assert "note: left out 1 of 120 images" in printed and str(damaged) in printed
    assert "119 training images" in printed


def subprocess_run(flags):
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, str(ROOT / "run.py"), *flags], env=environment, **pipes)


def wait_for(path, process, seconds=600):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)


@pytest.mark.training_runs
def test_a_killed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, tiny_flags):
    flags = [*tiny_flags, "--train_steps=16", "--checkpoint_steps=2", "--use_blur=True"]
    whole = subprocess_run([*flags, f"--model_dir={tmp_path / 'whole'}"])
    killed = subprocess_run([*flags, f"--model_dir={tmp_path / 'killed'}"])
    wait_for(tmp_path / "killed" / "ckpt-2.index", killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "killed" / "ckpt-16.index").exists()
    again = subprocess_run([*flags, f"--model_dir={tmp_path / 'killed'}"])
    output = again.communicate()[0].decode()
    printed, errors = whole.communicate()
    assert again.returncode == whole.returncode == 0
    assert errors == b"" and not re.search(rb"\.cc:\d+\]|absl|oneDNN|^[IWE]\d{4} ", printed, re.M), "lines not of ours"
    assert "resuming from step" in output
    want, got = values_of(tmp_path / "whole" / "ckpt-16"), values_of(tmp_path / "killed" / "ckpt-16")
    assert set(want) == set(got) and len(want) > 60
    assert [name for name in want if not np.array_equal(want[name], got[name])] == []


def test_sigterm_saves_and_says_how_to_go_on(tmp_path, tiny_flags):
    flags = [*tiny_flags, "--train_steps=100000", "--checkpoint_steps=5", f"--model_dir={tmp_path}"]
    process = subprocess_run(flags)
    wait_for(tmp_path / "ckpt-5.index", process)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=600)[0].decode()
    assert process.returncode == 143
    assert "SIGTERM received: saved step" in output


@pytest.mark.parametrize(
    "more,message",
    [
        (["--dataset=no_such_dataset"], "no_such_dataset"),
        (["--train_batch_size=49"], "at most the 48 images"),
        (["--use_tpu"], "`use_tpu` asks for a TPU"),
        (["--temperature=0"], "`temperature` must be > 0"),
        (["--resnet_depth=19"], "10, 18, 34, 50, 101, 152, 200"),
        (["--train_mode=finetune", "--checkpoint=/nowhere"], "/nowhere"),
        (["--profile_steps=2,5"], "`profile_steps` must end within the 4 steps"),
        (["--warmup_epochs=10"], "`warmup_epochs` must end before training does"),
        (["--dataset=folder", "--data_dir=EMPTY"], "EMPTY"),
        (["--dataset=folder", "--data_dir=/no/such/place"], "/no/such/place"),
    ],
)
def test_bad_input_is_one_line_and_not_exit_code_0(tmp_path, tiny_flags, capsys, more, message):
    (tmp_path / "EMPTY").mkdir()
    more = [flag.replace("EMPTY", str(tmp_path / "EMPTY")) for flag in more]
    assert run_task("train", [*tiny_flags, f"--model_dir={tmp_path / 'run'}", *more]) != 0
    error = capsys.readouterr().err
    assert message.replace("EMPTY", str(tmp_path / "EMPTY")) in error
    assert error.startswith("error: ") and error.count("\n") == 1 and "Received" in error


def test_chance_is_logged(pretraining):
    assert f"contrastive loss at chance: ln(2 x 16 - 1) = {math.log(31):.3f}" in pretraining[1]
