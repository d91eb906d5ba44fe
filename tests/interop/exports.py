"""Runs that are exported for other programs, and the examples that come with the exports, run as a user does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.networks import write_run
from tf_simclr.cli.main import main
from tf_simclr.evaluate.load import load_trained

SIZE = 32
FLAGS = {
    "dataset": "shapes",
    "image_size": SIZE,
    "resnet_depth": 10,
    "width_multiplier": 0.0625,
    "stem": "imagenet",
    "num_proj_layers": 2,
    "proj_out_dim": 8,
    "train_steps": 2,
}
NORMALIZED = {"input_mean": "0.485,0.456,0.406", "input_std": "0.229,0.224,0.225"}


def a_run(directory, **flags):
    directory.mkdir(parents=True, exist_ok=True)
    return write_run(directory, FLAGS | flags, 7)


def convert(run, to, output, *words):
    return main(["convert", f"--checkpoint={run}", f"--to={to}", f"--output={output}", *words])


def images(count=2, height=SIZE, width=SIZE):
    return np.random.default_rng(1).random((count, height, width, 3), dtype=np.float32)


def run_example(export, tmp_path, batch, name="images.npy"):
    """What example.py prints of a batch, and what it says if it refuses it; tf_simclr is not to be found there."""
    np.save(tmp_path / "images.npy", batch)
    example = str(Path(export) / "example.py")
    # The example prints h; whoever goes on with it has it under this name.
    run = f"runpy.run_path({example!r}, run_name='__main__')"
    code = f"import numpy, runpy, sys; sys.argv = [{example!r}, {name!r}]; numpy.save('h.npy', {run}['h'])"
    return subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)


def h_of_example(export, tmp_path, batch):
    done = run_example(export, tmp_path, batch)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith(str((len(batch),))[:-2])
    return np.load(tmp_path / "h.npy")


def h_of_run(run, batch):
    return load_trained(str(run)).model.endpoints(batch, training=False)["final_avg_pool"].numpy()


def assert_example_works(run, export, tmp_path, tolerance, batch=None, most_lines=12):
    """The example computes h, to a share of its largest value, in few lines, and refuses images of 0 to 255."""
    batch = images() if batch is None else batch
    expected = h_of_run(run, batch)
    found = h_of_example(export, tmp_path, batch)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())
    lines = (Path(export) / "example.py").read_text().splitlines()[1:]
    assert sum(bool(line.strip()) for line in lines) <= most_lines
    refused = run_example(export, tmp_path, batch * 255)
    assert refused.returncode == 1 and "images must be in [0, 1]. Received: " in refused.stderr
    assert "Traceback" not in refused.stderr
