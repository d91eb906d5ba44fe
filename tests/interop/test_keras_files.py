"""The formats of Keras and TensorFlow, the folder for Hugging Face, and their examples."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.interop.exports import NORMALIZED, a_run, assert_example_works, convert, h_of_run, images
from tests.weights.foreign_files import Spec, torchvision_h
from tf_simclr import compat
from tf_simclr.evaluate.load import load_trained

needs_keras_3 = pytest.mark.skipif(not compat.KERAS_3, reason="of Keras 3 alone")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = a_run(tmp_path_factory.mktemp("keras") / "run", resnet_depth=18, identity_shortcut=True, **NORMALIZED)
    (run / "result_7.json").write_text(
        json.dumps({"eval/top_1": 0.75, "global_step": 7, "evaluated_on": {"split": ""}})
    )
    return run


@pytest.mark.parametrize("to", ["keras", "saved_model"])
def test_the_examples(to, run, tmp_path):
    assert convert(run, to, tmp_path / "out") == 0
    card = json.loads((tmp_path / "out" / "simclr.json").read_text())
    assert card["export"]["format"] == to and card["metrics"] == {"eval/top_1": 0.75} and card["image_size"] == 32
    assert_example_works(run, tmp_path / "out", tmp_path, 1e-5, images(3, 40, 37))


def test_a_saved_model_is_a_run_to_us(run, tmp_path):
    assert convert(run, "saved_model", tmp_path / "first") == 0
    assert convert(tmp_path / "first", "keras", tmp_path / "second") == 0
    card = json.loads((tmp_path / "second" / "simclr.json").read_text())
    assert card["step"] == 7 and card["metrics"] == {"eval/top_1": 0.75}
    encoder = tf.keras.models.load_model(str(tmp_path / "second" / "encoder.keras"))
    found = encoder(images(), training=False)["final_avg_pool"]
    np.testing.assert_allclose(found, h_of_run(run, images()), rtol=1e-5)


@pytest.mark.python_alone
def test_a_folder_for_kaggle(run, tmp_path, capsys):
    assert convert(run, "kaggle", tmp_path / "out", "--license=Apache-2.0") == 0
    said = capsys.readouterr().out
    assert "replace INSERT_OWNER_SLUG_HERE in" in said and "LICENSE" not in said
    model, variation = (
        json.loads((tmp_path / "out" / name).read_text())
        for name in ("model-metadata.json", "model-instance-metadata.json")
    )
    assert model["slug"] == variation["modelSlug"] == "simclr" and "| eval/top_1 | 0.75 |" in model["description"]
    assert variation["framework"] == "tensorFlow2" and variation["instanceSlug"] == "resnet18-x0-0625"
    assert variation["licenseName"] == "Apache 2.0" and variation["trainingData"] == ["shapes"]
    assert (tmp_path / "out" / "saved_model.pb").is_file()
    assert_example_works(run, tmp_path / "out", tmp_path, 1e-5)
    assert convert(run, "kaggle", tmp_path / "other", "--license=my own") == 0
    assert "INSERT_LICENSE_NAME_HERE" in capsys.readouterr().out


@needs_keras_3
def test_a_folder_for_hugging_face(run, tmp_path, capsys):
    safetensors_numpy = pytest.importorskip("safetensors.numpy")
    assert convert(run, "huggingface", tmp_path / "out", "--license=apache-2.0") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("config.json", "metadata.json", "model.weights.h5"),
        *("model.safetensors", "README.md", "simclr.json", "example.py"),
    }
    page = (tmp_path / "out" / "README.md").read_text()
    assert page.startswith('---\nlicense: "apache-2.0"\nlibrary_name: keras\n')
    for words in (
        "# SimCLR ResNet-18 x0.0625",
        "`shapes`",
        "| eval/top_1 | 0.75 |",
        '"resnet_depth": 18',
        "after step 7",
    ):
        assert words in page
    assert "MaxPool2d(3, 2, 0, ceil_mode=True)" in page and "input_mean" in page
    assert_example_works(run, tmp_path / "out", tmp_path, 1e-5, images(3, 40, 37))
    state = safetensors_numpy.load_file(str(tmp_path / "out" / "model.safetensors"))
    h, _ = torchvision_h(state, Spec(18, width=4), images(2, 33, 33)[:, :33])
    assert h.shape == (2, 32) and np.isfinite(h).all() and "fc.weight" in state


@pytest.mark.skipif(compat.KERAS_3, reason="Keras 3 can")
def test_keras_2_says_so(run, tmp_path, capsys):
    capsys.readouterr()
    assert convert(run, "huggingface", tmp_path / "out") == 2
    assert "`to` must not be huggingface on TensorFlow 2.15" in capsys.readouterr().err


def test_selective_kernels_open_without_this_library(tmp_path):
    run = a_run(tmp_path / "run", resnet_depth=50, sk_ratio=0.0625, stem="cifar")
    assert convert(run, "keras", tmp_path / "out") == 0
    assert_example_works(run, tmp_path / "out", tmp_path, 1e-5)
    assert load_trained(str(run)).config.model.sk_ratio == 0.0625
