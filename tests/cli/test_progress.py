from __future__ import annotations

import io
import re

from rich.console import Console

from tf_simclr.cli.progress import ChanceLevels, LiveProgress, PlainProgress, build_progress, describe
from tf_simclr.train.observers import Progress

METRICS = {
    "train/contrast_loss": 3.14159,
    "train/contrast_acc": 0.25,
    "train/supervised_loss": 2.0,
    "train/supervised_acc": 0.5,
}


def at(step, speed=1234.5, left=3725.0, metrics=METRICS):
    return Progress(step, 100, speed, left, 0.125, metrics)


CHANCE = ChanceLevels(5.541, 2.303)
LABELS = {name: value for name, value in METRICS.items() if "supervised" in name}


def test_a_line_says_everything_that_was_promised():
    assert describe(at(7), CHANCE, 200) == (
        "step 7/100  1:02:05 left  loss 3.142 (chance 5.541)  acc 25.0%  label acc 50.0%  1,234 images/s  lr 0.125"
    )


def test_a_narrow_line_leaves_out_what_matters_least_and_keeps_loss_accuracy_chance_and_time():
    long = Progress(123456, 200000, 1234.5, 36000.0, 0.125, METRICS)
    assert describe(long, CHANCE) == "step 123456/200000  10:00:00 left  loss 3.142 (chance 5.541)  acc 25.0%"
    for width in range(20, 120):
        line = describe(at(7), CHANCE, width)
        assert describe(at(7), CHANCE, 200).startswith(line) and (len(line) <= width or line.endswith("left"))


def test_before_the_speed_is_known_and_without_labels_or_chance():
    metrics = {name: value for name, value in METRICS.items() if "supervised" not in name}
    line = "step 1/100  ? left  loss 3.142  acc 25.0%  first step traced  lr 0.125"
    assert describe(at(1, 0.0, None, metrics)) == line


def test_a_training_with_labels_alone_has_their_loss_and_its_chance():
    line = "step 7/100  1:02:05 left  loss 2.000 (chance 2.303)  acc 50.0%  1,234 images/s"
    assert describe(at(7, metrics=LABELS), CHANCE) == line


def test_plain_lines_are_the_first_the_last_and_few_between():
    lines = []
    progress = PlainProgress(lines.append)
    for step in range(1, 101):
        progress.on_progress(at(step))
    assert [line.split("  ")[0] for line in lines] == ["step 1/100", "step 100/100"]


def test_the_live_line_ends_on_the_last_step():
    output = io.StringIO()
    live = LiveProgress(Console(file=output, force_terminal=True, width=80), CHANCE)
    for step in (1, 50, 100):
        live.on_progress(at(step))
    live.close()
    assert "tracing the graph" in output.getvalue()
    last = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", output.getvalue()).rstrip().splitlines()[-1]
    assert "step 100/100" in last and last.rstrip().endswith("loss 3.142 (chance 5.541)  acc 25.0%"), last


def test_a_pipe_gets_plain_lines_whatever_the_colours(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert isinstance(build_progress(lambda line: None), PlainProgress)
