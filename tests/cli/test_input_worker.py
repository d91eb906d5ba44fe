"""A run whose batches other processes make: it goes on from a checkpoint, and ends with the same weights."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from tf_simclr.cli.main import run_task
from tf_simclr.data.input_service import InputService
from tf_simclr.train.checkpoints import read_values, resolve, shapes_in

pytestmark = pytest.mark.whole_runs


def weights(directory):
    prefix = resolve(str(directory))
    return read_values(prefix, sorted(shapes_in(prefix)))


@pytest.mark.training_runs
def test_a_resumed_run_with_input_workers_ends_with_the_same_weights(tiny_flags, tmp_path, capsys):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    flags = [*tiny_flags, "--augment_on=device", "--eval_split="]
    assert run_task("train", [*flags, f"--model_dir={whole}"]) == 0
    shutil.copytree(whole, resumed)
    for path in resumed.glob("*ckpt-4*"):
        path.unlink()
    (resumed / "checkpoint").unlink(missing_ok=True)
    services = [InputService(host="localhost") for _ in range(2)]
    workers = ",".join(service.address for service in services)
    capsys.readouterr()
    assert run_task("train", [*flags, f"--model_dir={resumed}", f"--input_workers={workers}"]) == 0
    assert "resuming from step 2" in capsys.readouterr().out
    found, expected = weights(resumed), weights(whole)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-7, err_msg=name)


def test_an_input_worker_that_is_not_there_is_refused_before_anything_is_written(tiny_flags, tmp_path, capsys):
    flags = [*tiny_flags, f"--model_dir={tmp_path / 'run'}", "--input_workers=grpc://localhost:1"]
    assert run_task("train", flags) == 2
    error = capsys.readouterr().err
    assert "`input_workers` names one that cannot be reached" in error and len(error.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_signal_ends_an_input_worker():
    command = [sys.executable, "-m", "tf_simclr", "input_worker", "--port=0", "--host=localhost"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert any("input worker ready" in line for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        assert "SIGTERM received" in process.stdout.read()
        assert process.wait() == 0
