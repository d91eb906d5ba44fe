"""`python -m tf_simclr convert`: a directory that every task takes as a run's, or one line and nothing."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import tf_simclr
from tests.weights.foreign_files import Forward, Spec, torchvision_h, torchvision_values, write_tf1
from tests.weights.same import images
from tf_simclr.cli.main import main
from tf_simclr.evaluate.load import load_trained
from tf_simclr.train import checkpoints

SPEC = Spec(18, width=4, head=2)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """The authors' files, and their values."""
    place = tmp_path_factory.mktemp("theirs")
    return place, write_tf1(place / "model.ckpt-225206", SPEC)


def convert(source, output, *words):
    return main(["convert", f"--checkpoint={source}", f"--output={output}", *words])


def test_what_it_writes_is_a_run(theirs, tmp_path, capsys):
    place, values = theirs
    assert convert(place, tmp_path / "run", "--image_size=96") == 0
    said = capsys.readouterr().out
    assert "ResNet-18 x0.0625, imagenet stem, a projection head of 2 layers, 5 classes" in said
    assert "--ft_proj_selector=0" in said and "--image_size" not in said
    assert {path.name.partition(".")[0] for path in (tmp_path / "run").iterdir()} == {
        *("ckpt-225206", "checkpoint", "flags", "conversion")
    }
    trained = load_trained(str(tmp_path / "run"))
    assert trained.config.data.image_size == 96 and trained.class_names == ()
    expected, found = Forward(values, SPEC)(images(33)), trained.model.endpoints(images(33), training=False)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=2e-5, err_msg=name)
    origin = json.loads((tmp_path / "run" / "conversion.json").read_text())
    assert origin["source"].endswith("model.ckpt-225206") and origin["notes"]


def test_the_same_through_the_api(theirs):
    place, values = theirs
    with pytest.warns(UserWarning, match="assumed, since the file does not say: --image_size=224"):
        model = tf_simclr.load(str(place))
    expected = Forward(values, SPEC)(images(33))
    found = model(images(33))
    for name in ("final_avg_pool", "proj_head_output", "logits_sup"):
        np.testing.assert_allclose(found[name], expected[name], atol=2e-5, err_msg=name)


def test_the_input_of_the_classifier_is_a_flag(theirs, tmp_path):
    place, values = theirs
    assert convert(place, tmp_path / "run", "--ft_proj_selector=1") == 0
    trained = load_trained(str(tmp_path / "run"))
    expected = Forward(values, Spec(18, width=4, head=2, selector=1))(images(33))["logits_sup"]
    np.testing.assert_allclose(trained.model.endpoints(images(33), training=False)["logits_sup"], expected, atol=2e-5)


def test_moving_averages(tmp_path):
    averages = write_tf1(tmp_path / "model.ckpt-1", SPEC, ema=True)
    assert convert(tmp_path, tmp_path / "run", "--ema") == 0
    read = checkpoints.read_values(str(tmp_path / "run" / "ckpt-1"), ["encoder/stem_conv/kernel"])
    np.testing.assert_array_equal(read["encoder/stem_conv/kernel"], averages["base_model/conv2d/kernel"])


@pytest.fixture
def torchvision_file(tmp_path):
    safetensors_numpy = pytest.importorskip("safetensors.numpy")
    values = torchvision_values(SPEC)
    safetensors_numpy.save_file(
        {n: np.ascontiguousarray(v) for n, v in values.items()}, str(tmp_path / "m.safetensors")
    )
    return str(tmp_path / "m.safetensors"), values


def test_a_normalisation_is_a_flag(torchvision_file, tmp_path):
    place, values = torchvision_file
    assert convert(place, tmp_path / "plain", "--input_mean=none", "--input_std=none") == 0
    assert convert(place, tmp_path / "cifar", "--input_mean=0.4914,0.4822,0.4465", "--input_std=0.247,0.243,0.261") == 0
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    own_mean, own_std = np.float32([0.4914, 0.4822, 0.4465]), np.float32([0.247, 0.243, 0.261])
    # torchvision_h normalises by ImageNet's statistics.
    for name, seen in (("plain", images(32) * std + mean), ("cifar", (images(32) - own_mean) / own_std * std + mean)):
        found = load_trained(str(tmp_path / name)).model.endpoints(images(32), training=False)["final_avg_pool"]
        np.testing.assert_allclose(found, torchvision_h(values, SPEC, seen)[0], atol=1e-5)


def test_a_converted_network_is_exported_and_read_again(torchvision_file, tmp_path):
    from tf_simclr.config.identity import recorded_flags
    from tf_simclr.interop.card import ModelCard
    from tf_simclr.interop.saved_model import export_saved_model

    place, values = torchvision_file
    trained = load_trained(place)
    export_saved_model(trained.model, str(tmp_path / "1"), ModelCard(32, config=recorded_flags(trained.config)))
    again = load_trained(str(tmp_path / "1"))
    assert again.config.model == trained.config.model and again.config.model.pool_padding == "symmetric"
    found = again.model.endpoints(images(32), training=False)["final_avg_pool"]
    np.testing.assert_allclose(found, torchvision_h(values, SPEC, images(32))[0], atol=1e-5)


def refused(capsys, *words):
    assert main(["convert", *words]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and "\n" not in error and "Received" in error
    return error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ema"], "`ema` must be False"),
        (["--ft_proj_selector=3"], "`ft_proj_selector` must be in -1..2"),
        (["--image_size=4"], "`image_size` must be >= 8"),
        (["--input_mean=1,2"], "`input_mean` must be 3 numbers"),
    ],
)
def test_flags_that_cannot_work(words, message, theirs, tmp_path, capsys):
    output = tmp_path / "run"
    assert message in refused(capsys, f"--checkpoint={theirs[0]}", f"--output={output}", *words)
    assert not list(tmp_path.iterdir())


def test_paths_that_cannot_work(theirs, tmp_path, capsys):
    output = f"--output={tmp_path / 'run'}"
    assert "`checkpoint` must be given" in refused(capsys, output)
    assert "none was found" in refused(capsys, output, f"--checkpoint={tmp_path / 'nothing'}")
    assert "where TensorFlow can read" in refused(capsys, output, "--checkpoint=nosuch://place/model")
    assert "`output` must be given" in refused(capsys, f"--checkpoint={theirs[0]}")
    assert "`output` must be a new directory" in refused(capsys, f"--checkpoint={theirs[0]}", f"--output={theirs[0]}")
    below = next(theirs[0].glob("*.index")) / "run"
    for words in ([], ["--to=keras"]):
        assert "`output` must lie in a directory" in refused(
            capsys, f"--checkpoint={theirs[0]}", f"--output={below}", *words
        )
    assert convert(theirs[0], tmp_path / "run") == 0
    capsys.readouterr()
    again = refused(capsys, f"--checkpoint={tmp_path / 'run'}", f"--output={tmp_path / 'other'}")
    assert "which this program wrote" in again
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("damaged", [False, True])
def test_values_that_are_not_finite_or_damaged_leave_nothing_behind(damaged, tmp_path, capsys):
    source = tmp_path / "in"
    source.mkdir()
    write_tf1(
        source / "model.ckpt-3", SPEC, extra={"base_model/conv2d/kernel": np.full([7, 7, 3, 4], np.nan, np.float32)}
    )
    where = [f"--checkpoint={source}", f"--output={tmp_path / 'run'}"]
    if damaged:
        data = next(source.glob("*.data-*"))
        data.write_bytes(data.read_bytes()[:100])
    expected = "cannot be read" if damaged else "base_model/conv2d/kernel has NaN"
    assert expected in refused(capsys, *where)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_exports_that_cannot_work(theirs, tmp_path, capsys, monkeypatch):
    place, output = f"--checkpoint={theirs[0]}", f"--output={tmp_path / 'out'}"
    assert "none was found" in refused(capsys, output, f"--checkpoint={tmp_path / 'nothing'}", "--to=keras")
    assert "`output` must be a new directory" in refused(capsys, place, f"--output={theirs[0]}", "--to=keras")
    assert "`image_size` must be left out with --to=keras" in refused(
        capsys, place, output, "--to=keras", "--image_size=32"
    )
    assert "`ema` must be left out" in refused(capsys, place, output, "--to=keras", "--ema")
    assert "`tflite_type` must be left out" in refused(capsys, place, output, "--to=keras", "--tflite_type=float16")
    missing = ("onnx", "onnx", "onnx"), ("safetensors", "torch", "weights"), ("ai_edge_litert", "tflite", "litert")
    for package, to, extra in missing:
        monkeypatch.setitem(sys.modules, package, None)
        for module in [name for name in sys.modules if name.startswith(f"{package}.")]:
            monkeypatch.delitem(sys.modules, module)
        assert f"extra `{extra}`" in refused(capsys, place, output, f"--to={to}")
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_missing_is_named_with_its_extra(tmp_path, capsys, monkeypatch):
    for package in ("torch", "safetensors"):
        monkeypatch.setitem(sys.modules, package, None)
    for name, extra in (("m.pth", "`torch`"), ("m.safetensors", "`weights`")):
        (tmp_path / name).write_bytes(b"weights")
        assert f"extra {extra}" in refused(capsys, f"--checkpoint={tmp_path / name}", f"--output={tmp_path / 'run'}")
