from __future__ import annotations

import io

from rich.console import Console

from tf_simclr.cli.progress import LiveProgress, PlainProgress, build_progress, describe
from tf_simclr.train.observers import Progress

METRICS = {
    "train/contrast_loss": 3.14159,
    "train/contrast_acc": 0.25,
    "train/supervised_loss": 2.0,
    "train/supervised_acc": 0.5,
}


def at(step, speed=1234.5, left=3725.0, metrics=METRICS):
    return Progress(step, 100, speed, left, 0.125, metrics)


def test_a_line_says_everything_that_was_promised():
    assert describe(at(7)) == (
        "step 7/100 | 1,234 images/s | 1:02:05 left | loss 3.142 | contrast acc 25.0% | lr 0.125 | "
        "label loss 2.000 | label acc 50.0%"
    )


def test_before_the_speed_is_known_and_without_labels():
    metrics = {name: value for name, value in METRICS.items() if "supervised" not in name}
    assert describe(at(1, 0.0, None, metrics)) == (
        "step 1/100 | first step traced | ? left | loss 3.142 | contrast acc 25.0% | lr 0.125"
    )


def test_plain_lines_are_the_first_the_last_and_few_between():
    lines = []
    progress = PlainProgress(lines.append)
    for step in range(1, 101):
        progress.on_progress(at(step))
    assert [line.split(" |")[0] for line in lines] == ["step 1/100", "step 100/100"]


def test_the_live_line_ends_on_the_last_step():
    output = io.StringIO()
    live = LiveProgress(Console(file=output, force_terminal=True, width=200))
    for step in (1, 50, 100):
        live.on_progress(at(step))
    live.close()
    assert "tracing the graph" in output.getvalue()
    assert "step 100/100" in output.getvalue()


def test_a_pipe_gets_plain_lines_whatever_the_colours(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert isinstance(build_progress(lambda line: None), PlainProgress)
