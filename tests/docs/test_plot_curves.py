from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import tensorflow as tf

from tf_simclr.errors import InputError
from tf_simclr.train.summaries import SummaryWriter

TOOL = Path(__file__).parents[2] / "tools" / "plot_curves.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("plot_curves", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tmp_path):
    """The directory of a run with two windows, in two event files as after a resumption."""
    for step in (4, 8):
        SummaryWriter(str(tmp_path / "run")).on_window(step, {"train/contrast_loss": 1 / step, "train/other": 5.0})
    return str(tmp_path / "run")


def test_curves_are_read_from_all_event_files(tool, run):
    curves = tool.read_curves(run)
    assert set(curves) == set(tool.PANELS)
    assert curves["train/contrast_loss"] == ([4, 8], [0.25, 0.125])
    assert curves["train/contrast_acc"] == ([], [])


def test_a_directory_without_curves_is_an_error(tool, tmp_path):
    with pytest.raises(InputError, match="`model_dir` must hold"):
        tool.read_curves(str(tmp_path))


def test_the_image_is_written(tool, run, tmp_path):
    assert tool.main([f"--out={tmp_path / 'curves.png'}", f"some run={run}"]) == 0
    height, width, _ = tf.io.decode_png((tmp_path / "curves.png").read_bytes()).shape
    assert width > height > 100


def test_a_run_without_a_name_is_one_line(tool, capsys):
    assert tool.main(["--out=x.png", "runs/mine"]) == 2
    assert "NAME=MODEL_DIR" in capsys.readouterr().err
