"""Fine-tuning and evaluating from a checkpoint alone: the network's flags come from it, of ours and of others."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.networks import write_run
from tests.weights.foreign_files import Spec, torchvision_values, write_tf1
from tf_simclr.cli import flags, pretrained_network, train_flags
from tf_simclr.cli import train as train_task
from tf_simclr.cli.main import main, run_task
from tf_simclr.train import checkpoints

OWN = {
    **{"dataset": "shapes", "image_size": 24, "resnet_depth": 18, "width_multiplier": 0.0625},
    **{"num_proj_layers": 2, "proj_out_dim": 8, "stem": "imagenet", "pool_padding": "symmetric"},
    **{"identity_shortcut": True, "input_mean": "0.5,0.4,0.3", "input_std": "0.3,0.3,0.3"},
}
STEM = "encoder/stem_conv/kernel"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of two classes with eight images each, and two more to evaluate on."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, count in (("train", 8), ("validation", 2)):
        for label in ("cat", "dog"):
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                image = tf.io.encode_png(rng.integers(0, 255, (30, 30, 3), dtype=np.uint8))
                (folder / split / label / f"{number}.png").write_bytes(image.numpy())
    return folder


@pytest.fixture(autouse=True)
def without_export(monkeypatch):
    """No test reads the export of a run here: writing it takes as long as the rest of the run."""
    monkeypatch.setattr(train_task, "export", lambda *words: None)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The directory of a run of ours."""
    return write_run(tmp_path_factory.mktemp("own"), OWN, 3)


def finetune(checkpoint, images, directory, *more):
    words = ["--train_mode=finetune", f"--checkpoint={checkpoint}", "--dataset=folder", f"--data_dir={images}"]
    return run_task("train", [*words, f"--model_dir={directory}", "--train_steps=2", "--mode=train", *more])


def recorded(directory):
    return json.loads((directory / "flags.json").read_text())


def test_our_own_run_needs_no_flags_of_the_network(own, images, tmp_path, capsys):
    source = shutil.copytree(own, tmp_path / "own")
    assert finetune(source, images, tmp_path / "run", "--fine_tune_after_block=4") == 0
    said = capsys.readouterr().out
    assert f"taken from {source}: --resnet_depth=18 --width_multiplier=0.0625 --stem=imagenet" in said
    assert "settings for fine-tuning on 16 images" in said and "--train_batch_size=8" in said
    found = recorded(tmp_path / "run")
    assert {name: found[name] for name in OWN if name != "dataset"} == {n: v for n, v in OWN.items() if n != "dataset"}
    before, after = (checkpoints.read_values(str(p), [STEM]) for p in (own / "ckpt-3", tmp_path / "run" / "ckpt-2"))
    np.testing.assert_array_equal(before[STEM], after[STEM])

    # The same command goes on when the checkpoint has moved.
    shutil.rmtree(source)
    assert finetune(source, images, tmp_path / "run", "--fine_tune_after_block=4", "--train_steps=3") == 0
    assert "resuming from step 2" in capsys.readouterr().out and recorded(tmp_path / "run")["train_steps"] == 3


def test_the_authors_checkpoint_needs_none_either(images, tmp_path, capsys):
    values = write_tf1(tmp_path / "model.ckpt-5", Spec(18, width=4))
    assert finetune(tmp_path, images, tmp_path / "run", "--image_size=24", "--fine_tune_after_block=4") == 0
    said = capsys.readouterr().out
    assert "the authors' TensorFlow 1 code; ResNet-18 x0.0625" in said and "--image_size=224" not in said
    assert "the supervised head starts afresh: the checkpoint's has 5 classes" in said
    found = recorded(tmp_path / "run")
    assert (found["resnet_depth"], found["num_proj_layers"], found["stem"]) == (18, 3, "imagenet")
    after = checkpoints.read_values(str(tmp_path / "run" / "ckpt-2"), [STEM])
    np.testing.assert_array_equal(after[STEM], values["base_model/conv2d/kernel"])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--pool_padding=same", "`pool_padding` must be that of the checkpoint's encoder"),
        ("--input_mean=0,0,0", "`input_mean` must be that of the checkpoint's encoder"),
        ("--width_multiplier=0.125", "there and"),
        ("--checkpoint=/nowhere", "/nowhere"),
    ],
)
def test_flags_that_contradict_the_checkpoint(word, message, own, images, tmp_path, capsys):
    assert finetune(own, images, tmp_path / "run", word) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "run").exists()


def completed(*words):
    return pretrained_network.with_network_of_checkpoint(flags.parse(words, train_flags.FLAG_GROUPS))


def test_what_is_given_and_what_no_checkpoint_says_stays(own, tmp_path):
    given = ("--image_size=64", "--resnet_depth=18", f"--checkpoint={own}")
    parsed, lines = completed("--train_mode=finetune", *given)
    assert parsed.values["image_size"] == 64 and parsed.values["stem"] == "imagenet" and "--image_size" not in lines[0]
    assert completed(*given)[1] == []  # pretraining
    for name in ("ckpt-3.index", "ckpt-3.data-00000-of-00001"):
        shutil.copy(own / name, tmp_path)
    parsed, lines = completed("--train_mode=finetune", f"--checkpoint={tmp_path}")
    assert lines == [] and parsed.values["resnet_depth"] == 50


def test_a_normalisation_that_was_only_assumed_may_be_another(tmp_path):
    safetensors_numpy = pytest.importorskip("safetensors.numpy")
    values = {name: np.asarray(value) for name, value in torchvision_values(Spec(18, width=4)).items()}
    safetensors_numpy.save_file(values, str(tmp_path / "m.safetensors"))
    words = ("--train_mode=finetune", f"--checkpoint={tmp_path}")
    assert completed(*words)[0].values["input_mean"] == "0.485,0.456,0.406"
    parsed, _ = completed(*words, "--input_mean=0.5,0.5,0.5")
    assert parsed.values["input_mean"] == "0.5,0.5,0.5" and parsed.values["pool_padding"] == "symmetric"


def test_other_weights_are_evaluated_as_they_are(images, tmp_path, capsys):
    write_tf1(tmp_path / "model.ckpt-5", Spec(18, width=4))
    words = ["evaluate", f"--checkpoint={tmp_path}", "--image_size=24", "--protocols=knn,supervised", "--knn_k=1"]
    assert main([*words, f"--model_dir={tmp_path / 'report'}"]) == 2
    assert "`dataset` must name the images" in capsys.readouterr().err
    folder = ["--dataset=folder", f"--data_dir={images}", f"--model_dir={tmp_path / 'report'}"]
    assert main([*words, *folder]) == 1
    said = capsys.readouterr().out
    assert "trained by another program" in said
    assert "`supervised_epochs` must be given" in said  # how many images it saw is not known
    assert json.loads((tmp_path / "report" / "report.json").read_text())["rows"]
