"""Exports as others serve them: the lines of docs/exports.md, and TensorFlow's own command line, on image files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.interop.exports import a_run, convert
from tf_simclr.data.stages import evaluation_view
from tf_simclr.evaluate.load import load_trained

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "exports.md"
PYTHON, ONNXRUNTIME = r"^```python\n((?:(?!```).*\n)*)```", "import onnxruntime\n"
SIZE = 40  # above 32 pixels evaluation crops


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return a_run(tmp_path_factory.mktemp("serving") / "run", image_size=SIZE)


@pytest.fixture
def photos(tmp_path):
    """Ten images of other sizes and shapes, as files, in two folders."""
    (tmp_path / "photos" / "deeper").mkdir(parents=True)
    generator = np.random.default_rng(0)
    found = []
    for number in range(10):
        # No multiples of 4: 7/8 of them may end on a half, which rounds either way.
        height, width = generator.integers(5, 22, 2) * 4 + generator.integers(1, 4, 2)
        pixels = (generator.random((height, width, 3)) * 255).astype(np.uint8)
        found.append(tmp_path / "photos" / ("deeper" if number % 2 else "") / f"{number}.png")
        Image.fromarray(pixels).save(found[-1])
    return found


def h_of_files(run, files):
    views = [
        evaluation_view(tf.constant(np.asarray(Image.open(file)) / 255, tf.float32), SIZE, 0.875) for file in files
    ]
    return load_trained(str(run)).model.endpoints(tf.stack(views), training=False)["final_avg_pool"].numpy()


def test_the_nearest_images_by_onnxruntime(run, photos, tmp_path):
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package)
    [block] = [text for text in re.findall(PYTHON, PAGE.read_text(), re.M) if ONNXRUNTIME in text]
    assert sum(bool(line.strip()) for line in block.splitlines()) <= 30
    assert not re.search(r"^(import|from) (tensorflow|tf_simclr)", block, re.M)
    (tmp_path / "nearest.py").write_text(block)
    assert convert(run, "onnx", tmp_path / "onnx") == 0
    command = [sys.executable, "nearest.py", "onnx", "photos", str(photos[3])]
    first, again = (
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout for _ in range(2)
    )
    h = h_of_files(run, photos)
    h /= np.linalg.norm(h, axis=1, keepdims=True)
    similar = h @ h[3]
    order = np.argsort(-similar)[:5]
    lines = [line.split() for line in first.splitlines()]
    assert first == again and lines[0][0] == "1.0000"
    assert [Path(name).name for _, name in lines] == [photos[place].name for place in order]
    np.testing.assert_allclose([float(number) for number, _ in lines], similar[order], atol=2e-4)


def test_bytes_of_files_by_the_command_line_of_saved_models(run, photos, tmp_path):
    assert convert(run, "saved_model", tmp_path / "export") == 0
    np.save(tmp_path / "encoded.npy", [file.read_bytes() for file in photos[:2]])
    words = ["--tag_set=serve", "--signature_def=serving_bytes", "--inputs=encoded=encoded.npy", "--outdir=answers"]
    assert all(word in PAGE.read_text() for word in words)
    module = "tensorflow.python.tools.saved_model_cli"
    command = [sys.executable, "-m", module, "run", "--dir=export", *words]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    expected = h_of_files(run, photos[:2])
    found = np.load(tmp_path / "answers" / "final_avg_pool.npy")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
