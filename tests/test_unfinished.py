"""What a killed process was writing is removed, and what a living one writes is not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from tf_simclr.directory_lock import DirectoryLock
from tf_simclr.files import write_whole
from tf_simclr.processes import may_live, own_mark, temporary_of
from tf_simclr.unfinished import remove_left_beside, remove_left_files

HOST = socket.gethostname()


@pytest.fixture
def ended():
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_who_may_live(ended):
    assert not may_live(HOST, ended) and may_live(HOST, os.getppid()) and may_live(f"not{HOST}", ended)
    assert not may_live(HOST, os.getpid())  # this process writes nothing when it asks
    assert own_mark() == f"{HOST}-{os.getpid()}"


def test_files_of_ended_processes_go(tmp_path, ended):
    (tmp_path / "cells" / "deep").mkdir(parents=True)
    gone = [f"report.json.{HOST}-{ended}.tmp", f"cells/a\nb.json.{HOST}-{ended}.tmp", f"own.{HOST}-{os.getpid()}.tmp"]
    kept = ["report.json", f"x.{HOST}-{os.getppid()}.tmp", f"x.other{HOST}-{ended}.tmp", "x.12.tmp", "my-12.tmp.png"]
    kept += [f"cells/deep/x.{HOST}-{ended}.tmp"]  # nothing of ours is written so deep
    for name in gone + kept:
        (tmp_path / name).write_text("")
    with DirectoryLock(str(tmp_path), print):
        assert not [name for name in gone if (tmp_path / name).exists()]
    assert [name for name in kept if not (tmp_path / name).exists()] == []


def test_folders_beside_a_path_go(tmp_path, ended):
    for name in (f"out.partial-{HOST}-{ended}", f"out.partial-{HOST}-{os.getppid()}", f"outer.partial-{HOST}-{ended}"):
        (tmp_path / name).mkdir()
    (tmp_path / f"out.partial-{HOST}-{ended}" / "file").write_text("")
    remove_left_beside(f"{tmp_path}/out", ".partial-")
    assert sorted(os.listdir(tmp_path)) == sorted(
        [f"out.partial-{HOST}-{os.getppid()}", f"outer.partial-{HOST}-{ended}"]
    )


def test_a_link_is_removed_and_not_what_it_names(tmp_path, ended):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("kept")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "cells").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "run" / f"x.{HOST}-{ended}.tmp").symlink_to(tmp_path / "elsewhere")
    left = tmp_path / "elsewhere" / f"y.{HOST}-{ended}.tmp"
    left.write_text("kept")
    remove_left_files(str(tmp_path / "run"))
    assert os.listdir(tmp_path / "run") == ["cells"] and left.exists()
    assert (tmp_path / "elsewhere" / "file").read_text() == "kept"


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "result.json" / "in the way").mkdir(parents=True)
    with pytest.raises(OSError):
        write_whole(str(tmp_path / "result.json"), b"{}")
    assert os.listdir(tmp_path) == ["result.json"]
    assert not os.path.exists(temporary_of(str(tmp_path / "result.json")))
