"""The shortest series of random faults, and that the tool would find what it looks for."""

from __future__ import annotations

import json
import random
import shutil
import sys

import pytest
import tensorflow as tf

from tools import faults, kill_jobs, random_kills


@pytest.mark.whole_runs
def test_a_fault_loses_nothing(tmp_path):
    lines = []
    tally = random_kills.Kills(0, tmp_path, lines.append).run(1, ["train"])  # SIGKILL in the middle of the training
    assert tally.problems == [] and tally.kills == 1, "\n".join(lines)
    assert tally.lost <= kill_jobs.INTERVAL and tally.table().endswith("| train | SIGKILL | 1 | -9: 1 |")


def test_moments_are_drawn_from_the_whole_of_a_command():
    times, rng = [1.0, 1.1, 4.0], random.Random(0)
    moments = [faults.draw_moment(rng, times) for _ in range(400)]
    begins = [0.0, *times]
    for moment in moments:
        assert 0 <= moment.seconds <= times[moment.lines] - begins[moment.lines] + 1e-9
    counts = [sum(moment.lines == line for moment in moments) for line in range(3)]
    assert counts[1] > 40 and counts[0] > 80 and counts[2] > 150
    rng = random.Random(0)
    assert moments == [faults.draw_moment(rng, times) for _ in range(400)]


WAITS = "import time\nprint('ready', flush=True)\ntime.sleep(600)\n"


@pytest.mark.parametrize("fault", ["SIGKILL", "SIGTERM"])
def test_a_signal_meets_a_command(fault):
    ended = faults.run([sys.executable, "-c", WAITS], fault, faults.Moment(1, 0.0))
    assert ended.struck and ended.code == -faults.SIGNALS[fault] and ended.output == "ready\n"


def test_a_command_that_ended_is_not_met():
    ended = faults.run([sys.executable, "-c", "print('done')"], "SIGKILL", faults.Moment(3, 0.0))
    assert not ended.struck and ended.code == 0 and len(ended.times) == 2


def test_a_limit_stands_for_a_full_disk(tmp_path):
    program = f"import pathlib; pathlib.Path({str(tmp_path / 'file')!r}).write_bytes(bytes(2000))"
    ended = faults.run([sys.executable, "-c", program], faults.DISK, None, largest=1000)
    assert ended.code == 1 and "File too large" in ended.errors


@pytest.fixture
def directory(tmp_path):
    """A directory with one file of each kind that is compared."""
    place = tmp_path / "first"
    (place / "cells").mkdir(parents=True)
    tf.train.Checkpoint(variables={"x": tf.Variable([1.0, 2.0])}).write(str(place / "ckpt-3"))
    (place / "result.json").write_text(json.dumps({"top_1": 0.5, "date": "today", "place": str(place)}))
    (place / "cells" / "a.json").write_text(json.dumps({"figures": [1, {"seconds": 3}]}))
    (place / "report.md").write_text("| top-1 | 5.0 | 3.1 s |\n2026-01-02T03:04:05+00:00\n")
    (place / "plot.png").write_bytes(b"png")
    with tf.summary.create_file_writer(str(place)).as_default():
        tf.summary.scalar("train/total_loss", 1.0, 3)
    return place


def copied(directory, to):
    """The directory of another command: the same, but its own path stands in it."""
    shutil.copytree(directory, to)
    result = json.loads((to / "result.json").read_text())
    (to / "result.json").write_text(json.dumps({**result, "place": str(to)}))
    return to


def test_clocks_and_places_make_no_difference(directory, tmp_path):
    other = copied(directory, tmp_path / "second")
    (other / "cells" / "a.json").write_text(json.dumps({"figures": [1, {"seconds": 9}]}))
    (other / "report.md").write_text("| top-1 | 5.0 | 3 min 4 s |\n2027-02-02T03:04:05+00:00\n")
    assert kill_jobs.differences(directory, other) == []
    assert kill_jobs.newest_checkpoint(other) == kill_jobs.newest_event(other) == 3
    assert kill_jobs.kept_results(other) == 1


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("ckpt-3.index", lambda d: tf.train.Checkpoint(variables={"x": tf.Variable([1.0, 2.5])}).write(f"{d}/ckpt-3")),
        ("result.json", lambda d: (d / "result.json").write_text('{"top_1": 0.75}')),
        ("cells/a.json", lambda d: (d / "cells" / "a.json").write_text("{")),
        ("report.md", lambda d: (d / "report.md").write_text("| top-1 | 6.0 | 3.1 s |\n")),
        ("plot.png", lambda d: (d / "plot.png").write_bytes(b"gnp")),
    ],
)
def test_what_is_lost_is_found(directory, tmp_path, name, spoil):
    other = copied(directory, tmp_path / "second")
    spoil(other)
    assert kill_jobs.differences(directory, other) == [f"{name} differs"]


def test_what_is_missing_or_unfinished_is_found(directory, tmp_path):
    other = copied(directory, tmp_path / "second")
    (other / "plot.png").rename(other / "plot.png.12.tmp")
    (other / "lock.json").write_text("{}")
    (tmp_path / "second.partial-here-1").mkdir()
    found = kill_jobs.differences(directory, other)
    assert found == ["plot.png is missing", "lock.json is left over", "plot.png.12.tmp is left over"]
    left = ["second.partial-here-1", "second/lock.json", "second/plot.png.12.tmp"]
    assert kill_jobs.unfinished(other) == left
