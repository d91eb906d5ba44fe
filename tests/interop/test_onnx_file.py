"""ONNX: what onnxruntime computes, the names, and the example."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.interop.exports import a_run, assert_example_works, convert, h_of_run, images, run_example
from tf_simclr.evaluate.load import load_trained
from tf_simclr.interop.formats import onnx_file

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return a_run(tmp_path_factory.mktemp("onnx") / "run")


@pytest.fixture(scope="module")
def export(run):
    assert convert(run, "onnx", run.parent / "out") == 0
    return run.parent / "out"


def test_names_and_opset(export):
    model = onnx.load(str(export / "model.onnx"))
    onnx.checker.check_model(model)
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "inputs": ["batch", "height", "width", 3],
        "final_avg_pool": ["batch", 32],
        "proj_head_output": ["batch", 8],
        "logits_sup": ["batch", 10],
    }
    assert max(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")) == 17


@pytest.mark.parametrize(("count", "size"), [(1, 32), (3, 32), (1, 45), (3, 45)])
def test_every_output_is_ours_at_other_sizes_and_batches(count, size, run, export):
    session = onnxruntime.InferenceSession(str(export / "model.onnx"), providers=["CPUExecutionProvider"])
    batch = images(count, size, size)
    expected = load_trained(str(run)).model.endpoints(batch, training=False)
    for name in ("final_avg_pool", "proj_head_output", "logits_sup"):
        found = session.run([name], {"inputs": batch})[0]
        scale = max(1.0, np.abs(expected[name]).max())
        np.testing.assert_allclose(found, expected[name], rtol=0, atol=1e-5 * scale, err_msg=name)


def test_the_example(run, export, tmp_path):
    assert_example_works(run, export, tmp_path, 1e-5, images(3, 40, 37))
    photo = run_example(export, tmp_path, images(), "photo.jpg")
    assert photo.returncode == 1 and "as images.npy. Received: photo.jpg" in photo.stderr


@pytest.mark.parametrize("flags", [{"sk_ratio": 0.0625, "se_ratio": 0.25}, {"stem": "cifar"}])
def test_other_networks_and_the_difference_that_is_said(flags, tmp_path, capsys):
    run = a_run(tmp_path / "run", **flags)
    assert convert(run, "onnx", tmp_path / "out") == 0
    found = re.search(r"largest difference by onnxruntime: final_avg_pool (\S+),", capsys.readouterr().out)
    assert found is not None and float(found[1]) < 1e-5 and np.isfinite(h_of_run(run, images())).all()


def test_weights_that_do_not_fit_into_one_file_lie_beside_it(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(onnx_file, "MOST_BYTES", 1000)
    assert convert(run, "onnx", tmp_path / "out") == 0
    assert "model.onnx and model.onnx.data: opset 17" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("model.onnx", "model.onnx.data", "simclr.json", "example.py")
    }
    assert (tmp_path / "out" / "model.onnx").stat().st_size < (tmp_path / "out" / "model.onnx.data").stat().st_size
    assert_example_works(run, tmp_path / "out", tmp_path, 1e-5)
