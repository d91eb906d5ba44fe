"""The line that says that a training waits for its images."""

from __future__ import annotations

import pytest

from tf_simclr.cli.input_watch import InputWatch, input_remedy
from tf_simclr.config import build_config
from tf_simclr.train.observers import Progress


def watched(*calls):
    """What is said of calls of (seconds, of them without images), and after which of them."""
    said = []
    watch = InputWatch("do something", lambda line: said.append((len(seen), line)))
    seen = []
    for step, (seconds, waited) in enumerate(calls):
        seen.append(step)
        watch.on_progress(Progress(step, 1000, 1.0, None, 0.1, {}, seconds, waited))
    return said


def test_a_minute_of_waiting_is_said_once():
    said = watched(*[(10.0, 6.0)] * 30)
    assert said == [(6, "note: for a minute, 60% of the time was spent waiting for images; do something")]


@pytest.mark.parametrize(
    "calls",
    [
        [(10.0, 4.9)] * 60,
        [(10.0, 10.0)] * 5,  # not a minute yet
        [(0.0, 0.0)] * 100,
        ([(10.0, 9.0)] * 3 + [(10.0, 0.0)] * 3) * 10,
    ],
)
def test_less_is_not(calls):
    assert watched(*calls) == []


def test_it_is_said_of_the_minute_in_which_it_begins():
    assert [after for after, _ in watched(*[(30.0, 1.0)] * 4, *[(30.0, 29.0)] * 4)] == [6]


def test_the_remedy_depends_on_what_is_used():
    folder = {"dataset": "folder", "data_dir": "somewhere"}
    assert "--cache_dataset" in input_remedy(build_config(folder))
    assert "--cache_dataset" not in input_remedy(build_config(folder | {"cache_dataset": True}))
    assert "--cache_dataset" not in input_remedy(build_config({"dataset": "shapes"}))
