"""State dicts for torchvision: names and values, what it computes of them, and back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.interop.exports import NORMALIZED, a_run, assert_example_works, convert, images
from tests.weights.foreign_files import Spec, torchvision_h, torchvision_values
from tests.weights.same import needs_torchvision
from tf_simclr import compat
from tf_simclr.evaluate.load import load_trained
from tf_simclr.weights.torch_state import torch_state

safetensors_numpy = pytest.importorskip("safetensors.numpy")


def from_torch(place, spec):
    values = torchvision_values(spec)
    safetensors_numpy.save_file({n: np.ascontiguousarray(v) for n, v in values.items()}, str(place))
    return {name: value for name, value in values.items() if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("spec", [Spec(18, width=4), Spec(50, width=4), Spec(18, width=4, cifar=True)])
def test_there_and_back_is_bit_equal(spec, tmp_path, capsys):
    values = from_torch(tmp_path / "m.safetensors", spec)
    assert convert(tmp_path / "m.safetensors", "torch", tmp_path / "out") == 0
    assert "PyTorch; ResNet-" in capsys.readouterr().out
    found = safetensors_numpy.load_file(str(tmp_path / "out" / "model.safetensors"))
    assert found.keys() == values.keys()
    for name, value in values.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
        assert found[name].dtype == value.dtype


def test_torchvisions_operators_compute_our_h_and_logits_of_it(tmp_path):
    run = a_run(tmp_path / "run", resnet_depth=18, pool_padding="symmetric", identity_shortcut=True, **NORMALIZED)
    assert convert(run, "torch", tmp_path / "out") == 0
    state = safetensors_numpy.load_file(str(tmp_path / "out" / "model.safetensors"))
    h, logits = torchvision_h(state, Spec(18, width=4), images())
    found = load_trained(str(run)).model.endpoints(images(), training=False)
    np.testing.assert_allclose(h, found["final_avg_pool"], atol=1e-5)
    np.testing.assert_allclose(logits, found["logits_sup"], atol=1e-5)


def test_what_torchvision_must_be_given_is_said(tmp_path, capsys):
    assert convert(a_run(tmp_path / "run"), "torch", tmp_path / "out") == 0
    said = capsys.readouterr().out
    card = json.loads((tmp_path / "out" / "simclr.json").read_text())
    assert card["export"]["format"] == "torch" and card["step"] == 7 and card["dataset"] == "shapes"
    for words in ("MaxPool2d(3, 2, 0, ceil_mode=True)", "model.layer1[0].downsample", "width 1 alone"):
        assert words in said and words in " ".join(card["export"]["notes"])


def test_the_projection_head_is_a_file_of_its_own(tmp_path):
    run = a_run(tmp_path / "run")
    assert convert(run, "torch", tmp_path / "out") == 0
    head = safetensors_numpy.load_file(str(tmp_path / "out" / "projection_head.safetensors"))
    named = load_trained(str(run)).model.named_variables()
    ours = {path: compat.raw_variable(v).numpy() for path, v in named.items() if path.startswith("projection_head/")}
    np.testing.assert_array_equal(
        head["projection_head.layers.3.weight"], ours["projection_head/layer2_dense/kernel"].T
    )
    assert len(head) == len(ours)


def test_a_layer_without_a_name_is_an_error():
    with pytest.raises(KeyError):
        torch_state({"encoder/block_group1_block0_sk_conv1/kernel": np.zeros([1, 1, 2, 2], np.float32)})


def test_selective_kernels_have_no_place(tmp_path, capsys):
    run = a_run(tmp_path / "run", resnet_depth=50, sk_ratio=0.0625)
    capsys.readouterr()
    assert convert(run, "torch", tmp_path / "out") == 2
    assert "`to` must not be torch for a network with selective kernels" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@needs_torchvision
@pytest.mark.parametrize(
    ("flags", "height", "width", "lines"),
    [
        (NORMALIZED, 32, 30, 24),
        ({"stem": "auto"}, 31, 33, 22),
        ({"resnet_depth": 18, "pool_padding": "symmetric", "identity_shortcut": True}, 33, 32, 18),
    ],
)
def test_torchvision_itself_computes_our_h(flags, height, width, lines, tmp_path):
    run = a_run(tmp_path / "run", **flags)
    assert convert(run, "torch", tmp_path / "out") == 0
    assert_example_works(run, tmp_path / "out", tmp_path, 2e-6, images(2, height, width), lines)


@needs_torchvision
def test_what_torchvision_has_already_takes_the_fewest_lines(tmp_path):
    from_torch(tmp_path / "m.safetensors", Spec(18))
    assert convert(tmp_path / "m.safetensors", "torch", tmp_path / "out") == 0
    assert_example_works(tmp_path / "m.safetensors", tmp_path / "out", tmp_path, 2e-6, most_lines=17)


@pytest.mark.parametrize("flags", [{}, NORMALIZED, {"stem": "cifar"}, {"identity_shortcut": True, "resnet_depth": 34}])
def test_the_example_is_a_program(flags, tmp_path):
    run = a_run(tmp_path / "run", **flags)
    assert convert(run, "torch", tmp_path / "out") == 0
    text = (tmp_path / "out" / "example.py").read_text()
    compile(text, "example.py", "exec")
    blocks = {10: [1, 1, 1, 1], 34: [3, 4, 6, 3]}[flags.get("resnet_depth", 10)]
    assert f"resnet.ResNet(resnet.BasicBlock, {blocks}, num_classes=10)" in text
    assert ("images = (images - [0.485, 0.456, 0.406]) / [0.229" in text) == ("input_mean" in flags)
    assert ("downsample" in text) != ("identity_shortcut" in flags)
    assert ("ZeroPad2d" in text) != (flags.get("stem") == "cifar") and "random.rand(2, 32, 32, 3)" in text
