"""The parts of tools.worker_kills; rounds of it take minutes, and tests/cli/test_multi_worker.py has one kill."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tools import worker_group, worker_kills


def test_a_group_is_started_listened_to_and_ended(tmp_path, monkeypatch):
    program = tmp_path / "run.py"
    program.write_text(
        "import json, os, sys, time\n"
        "task = json.loads(os.environ['TF_CONFIG'])['task']\n"
        "print('worker', task['index'], sys.argv[-1], flush=True)\n"
        "time.sleep(600 if task['index'] else 0)\n"
    )
    monkeypatch.setattr(worker_group.kill_jobs, "ROOT", tmp_path)
    group = worker_group.Group(tmp_path)
    group.start(2, "log")
    try:
        for index in range(2):
            group.wait_until(
                lambda index=index: f"worker {index} --model_dir={tmp_path / 'run'}" in group.output(index)
            )
        group.processes[1].terminate()
        assert group.codes() == [0, -15]
    finally:
        group.kill()


def test_what_is_lost_is_a_problem(tmp_path):
    kills = worker_kills.WorkerKills(0, tmp_path, print)
    group = kills._group("round0")
    tf.train.Checkpoint(variables={"x": tf.Variable([1.0])}).write(str(group.directory / "run" / "ckpt-3"))
    with tf.summary.create_file_writer(str(group.directory / "run")).as_default():
        tf.summary.scalar("train/total_loss", 1.0, 9)
    group.logs = [tmp_path / f"log{index}" for index in range(2)]
    for log in group.logs:
        log.write_text("Traceback (most recent call last)")
    kills._check_loss(group, "round 0, 2 workers, training", 1, [2, -9], 3)
    problems = "\n".join(kills.tally.problems)
    assert "worker 0 ended with 2" in problems and "a traceback of worker 0" in problems
    assert "6 steps are lost" in problems and kills.tally.lost == 6 and len(kills.tally.problems) == 3
    kills._check_end(group, "round 0", [0, 75], 3, 2)
    assert "started again, they end with [0, 75]" in kills.tally.problems[-1]
    assert any("6 steps done again" in line for line in kills.tally.lines(1.0))


@pytest.mark.parametrize(("codes", "count"), [([75, -9], 0), ([0, -9], 0), ([143, -9], 1)])
def test_which_codes_the_others_may_end_with(tmp_path, codes, count):
    kills = worker_kills.WorkerKills(0, tmp_path, print)
    group = kills._group("round0")
    (group.directory / "run").mkdir()
    group.logs = [tmp_path / "log0", tmp_path / "log1"]
    group.logs[0].write_text("")
    kills._check_loss(group, "round 0, 2 workers, saving", 1, codes, 0)
    assert len(kills.tally.problems) == count
