"""One process at a time in a directory: real processes, real files."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tf_simclr.directory_lock import LOCK_FILE, DirectoryLock, Owner, refuse_if_in_use
from tf_simclr.errors import InputError

ROOT = Path(__file__).parents[1]
HOLD = """
import sys
from tf_simclr.directory_lock import DirectoryLock
DirectoryLock(sys.argv[1], print).acquire()
print("held", flush=True)
sys.stdin.read()
"""


def lock_in(directory, said=None, **options):
    return DirectoryLock(str(directory), (said if said is not None else []).append, **options)


@pytest.fixture
def holder(tmp_path):
    """A process that has the directory, until it is killed."""
    words = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def written(directory, name=LOCK_FILE, **changes):
    """A lock file of another owner."""
    owner = dataclasses.replace(Owner.this_process(), **changes)
    (directory / name).write_text(json.dumps(dataclasses.asdict(owner)))
    return owner


def test_the_second_process_is_refused_and_a_killed_owner_s_lock_is_taken_over(tmp_path, holder):
    for refused in (lambda: lock_in(tmp_path).acquire(), lambda: refuse_if_in_use(str(tmp_path))):
        with pytest.raises(
            InputError, match=rf"process {holder.pid} on .* has it since .*Received: model_dir="
        ) as error:
            refused()
        assert "\n" not in str(error.value)
    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays in the table of processes
    said = []
    with lock_in(tmp_path, said):
        assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()
    assert len(said) == 1 and "has ended without giving it back: it is taken over" in said[0]
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_given_back_and_taken_again(tmp_path):
    directory = tmp_path / "new" / "run"
    for _ in range(2):
        with lock_in(directory), pytest.raises(InputError, match="nothing runs"):
            lock_in(directory).acquire()
        assert list(directory.iterdir()) == []


def test_of_many_at_the_same_moment_one_has_it(tmp_path):
    got, refused, locks = [], [], [lock_in(tmp_path) for _ in range(8)]
    together = threading.Barrier(len(locks))

    def take(lock):
        together.wait()
        try:
            lock.acquire()
            got.append(lock)
        except InputError:
            refused.append(lock)

    threads = [threading.Thread(target=take, args=(lock,)) for lock in locks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 7)
    got[0].release()


def test_a_number_that_another_process_has_now_is_no_owner(tmp_path):
    """As after a restart of a container, whose first process always has the number 1."""
    written(tmp_path, started="12")
    with lock_in(tmp_path):
        pass


def test_an_owner_elsewhere_that_gives_no_sign_is_dead(tmp_path):
    written(tmp_path, host="elsewhere")
    said = []
    with lock_in(tmp_path, said, beat_seconds=0.05, dead_after=0.1):
        pass
    assert "waiting up to" in said[0] and "process" in said[1] and "elsewhere" in said[1]


def test_an_owner_elsewhere_whose_heart_beats_is_alive(tmp_path, monkeypatch):
    """The other machine is one only by its name here."""
    with lock_in(tmp_path, beat_seconds=0.02):
        monkeypatch.setattr("socket.gethostname", lambda: "other")
        with pytest.raises(InputError, match="nothing runs"):
            lock_in(tmp_path, beat_seconds=0.02, dead_after=30).acquire()
        monkeypatch.undo()


def test_a_lock_that_another_took_over_is_left_to_it(tmp_path):
    heard = threading.Event()
    lines = []

    def say(line):
        lines.append(line)
        heard.set()

    lock = DirectoryLock(str(tmp_path), say, beat_seconds=0.02)
    lock.acquire()
    other = written(tmp_path, host="elsewhere")
    assert heard.wait(30)
    lock.release()
    assert "Stop one of them" in lines[0]
    assert json.loads((tmp_path / LOCK_FILE).read_text())["token"] == other.token


@pytest.mark.parametrize("content", [b"", b"[]", b'{"pid": "x"}', b"{}"])
def test_a_damaged_lock_is_nobody_s(tmp_path, content):
    (tmp_path / LOCK_FILE).write_bytes(content)
    refuse_if_in_use(str(tmp_path))
    with lock_in(tmp_path):
        pass


def test_shards_of_one_division_work_side_by_side(tmp_path):
    def shard(i, n):
        return lock_in(tmp_path, name=f"lock-{i}-of-{n}.json", beside=rf"lock-\d+-of-{n}\.json")

    with shard(0, 2), shard(1, 2):
        for other in (shard(0, 2), shard(0, 3), lock_in(tmp_path)):
            with pytest.raises(InputError, match="nothing runs"):
                other.acquire()
    with lock_in(tmp_path), pytest.raises(InputError, match="nothing runs"):
        shard(0, 2).acquire()


def test_other_file_systems(tmp_path):
    """By TensorFlow's own functions, as for gs://."""
    directory = f"file://{tmp_path}/run"
    with lock_in(directory), pytest.raises(InputError, match="nothing runs"):
        lock_in(directory).acquire()
    assert list((tmp_path / "run").iterdir()) == []
