"""Two whole programs in one --model_dir: the second is refused, and the first one's result is not harmed."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.limited import ROOT, environment
from tf_simclr.cli.main import run_task
from tf_simclr.train import checkpoints

pytestmark = pytest.mark.whole_runs


def started(*flags):
    words = [sys.executable, str(ROOT / "run.py"), *flags]
    return subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def files_of(directory):
    return {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}


def values_of(prefix):
    return checkpoints.read_values(str(prefix), checkpoints.shapes_in(str(prefix)))


def test_the_second_is_refused_and_the_first_ends_as_alone(tmp_path, tiny_flags, capsys):
    directory = tmp_path / "run"
    first = started(*tiny_flags, f"--model_dir={directory}")
    try:
        while not (directory / "lock.json").exists():
            with contextlib.suppress(subprocess.TimeoutExpired):
                first.wait(0.05)
            assert first.returncode is None, first.stderr.read()
        first.send_signal(signal.SIGSTOP)  # however long the second takes to start, the first has not ended
        before = files_of(directory)
        second = started(*tiny_flags, f"--model_dir={directory}")
        _, errors = second.communicate(timeout=300)
        assert second.returncode == 2 and f"process {first.pid}" in errors and str(directory) in errors, errors
        assert files_of(directory) == before
        first.send_signal(signal.SIGCONT)
        _, errors = first.communicate(timeout=300)
        assert first.returncode == 0, errors
    finally:
        first.kill()
        first.communicate()
    assert run_task("train", [*tiny_flags, f"--model_dir={tmp_path / 'alone'}"]) == 0, capsys.readouterr().err
    found, alone = (values_of(place / "ckpt-4") for place in (directory, tmp_path / "alone"))
    assert sorted(found) == sorted(alone)
    for path, value in alone.items():
        np.testing.assert_array_equal(found[path], value, err_msg=path)
