"""Errors of files and disks, each provoked for real, are one line with the path and what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import tensorflow as tf

from tests.limited import limited_run
from tf_simclr.cli.failures import EXIT_NO_FILE, described
from tf_simclr.cli.main import run_task


def error_of(action):
    with pytest.raises((OSError, tf.errors.OpError)) as caught:
        action()
    return described(caught.value)


def write(path):
    with tf.io.gfile.GFile(str(path), "w") as file:
        file.write("x")


def test_a_file_that_is_gone(tmp_path):
    path = str(tmp_path / "a 'b' [c]; d.png")
    for action in (lambda: Path(path).read_bytes(), lambda: tf.io.read_file(path)):
        line = error_of(action)
        assert path in line and "No such file or directory" in line and "Put it back" in line and "\n" not in line


def test_a_directory_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("x")
    for action in (
        lambda: (tmp_path / "file" / "run").mkdir(),
        lambda: tf.io.gfile.makedirs(str(tmp_path / "file" / "run")),
        lambda: write(tmp_path / "file" / "run"),
    ):
        line = error_of(action)
        assert str(tmp_path / "file") in line and "run the same command again" in line


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ESTALE, errno.EIO])
def test_each_kind_has_its_remedy(number):
    line = described(OSError(number, os.strerror(number), "/data/x"))
    remedies = {errno.ENOSPC: "Free some space", errno.EDQUOT: "Free some space", errno.EROFS: "may be written"}
    assert remedies.get(number, "check the path" if number == errno.ESTALE else "") in line and "/data/x" in line


@pytest.mark.parametrize(
    "message",
    [
        "OOM when allocating tensor with shape[64,64] [Op:Conv2D]",
        "Out of memory while trying to allocate 123456 bytes. [Op:__inference_step_12]",
    ],
)
def test_a_device_without_memory_is_another_matter(message):
    error = tf.errors.ResourceExhaustedError(None, None, message)
    assert "--train_batch_size" in described(error) and "Op:" not in described(error)


def test_what_is_no_file_s_fault_keeps_its_traceback():
    # What a GPU said: neither the name of a device nor the lines of Python around a node are the path of a file.
    collective = tf.errors.InternalError(
        None,
        None,
        "Graph execution error: Detected at node while/norm/CollectiveReduceV2 defined at (most recent call last): "
        'File "/usr/lib/python3.12/runpy.py", line 198, in _run Device /job:localhost/replica:0/task:0/device:GPU:0 is '
        "joining a group with size4, but that group has size 2 (group_key=7001) [Op:__inference_steps_8]",
    )
    shapes = tf.errors.InvalidArgumentError(None, None, "shapes differ")
    for error in (ValueError("/a/b"), KeyError("x"), shapes, collective):
        assert described(error) is None


@pytest.mark.parametrize("place", ["file/run", "/proc/no/run", "/dev/null/run"])
def test_an_impossible_model_dir(tmp_path, tiny_flags, capsys, place):
    (tmp_path / "file").write_text("x")
    assert run_task("train", [*tiny_flags, f"--model_dir={os.path.join(tmp_path, place)}"]) == EXIT_NO_FILE
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and place.split("/run")[0] in error


@pytest.mark.whole_runs
def test_a_full_disk_at_each_stage_is_a_line_and_the_same_command_goes_on(tmp_path, tiny_flags):
    directory = tmp_path / "run"
    flags = [*tiny_flags, f"--model_dir={directory}", "--width_multiplier=0.25"]
    for size in (100, 100_000):  # at the start, and at the first checkpoint
        found = limited_run("train", size, flags)
        assert found.returncode == EXIT_NO_FILE, found.stderr
        assert "Free some space" in found.stderr and "Traceback" not in found.stderr and str(directory) in found.stderr
        assert not list(directory.glob("ckpt-*")) and not (directory / "saved_model").exists()
    assert run_task("train", flags) == 0
    largest = max((directory / "ckpt-4.data-00000-of-00001").stat().st_size, 100_000)
    for path in directory.glob("saved_model/*"):
        tf.io.gfile.rmtree(str(path))
    found = limited_run("train", largest // 2, flags)  # nothing is left to train: the export is the first to be written
    assert found.returncode == EXIT_NO_FILE and "Free some space" in found.stderr, found.stderr
    assert "Traceback" not in found.stderr and not list(directory.glob("saved_model/*"))
    assert run_task("train", flags) == 0
