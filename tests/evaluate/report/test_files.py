from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from tf_simclr.errors import InputError
from tf_simclr.evaluate.predictions import EvaluatedImages
from tf_simclr.evaluate.records import PRETRAINED, SCRATCH, UNTRAINED, Record, measured
from tf_simclr.evaluate.report import files as report_module
from tf_simclr.evaluate.report.confusion_plot import draw_confusion, shown_name
from tf_simclr.evaluate.report.files import print_report, report_markdown, report_values, write_report
from tf_simclr.evaluate.report.subject import SplitFacts, Subject
from tf_simclr.evaluate.report.summary import summarise
from tf_simclr.evaluate.report.tables import (
    duration,
    escape_markdown,
    health_rows,
    markdown_table,
    per_class_rows,
    plain_table,
    result_rows,
    source_lines,
    warning_lines,
)

NAMES = ("plane", "bird|cat", "naïve café", "日本", "[red]dog", "__init__", "a$b$c")
CLASSES = len(NAMES)


def subject(**changes):
    values = {
        "checkpoint": "runs/a/ckpt-100",
        "step": 100,
        "digest": "0a1b",
        "resnet_depth": 18,
        "width_multiplier": 0.5,
        "sk_ratio": 0.0,
        "se_ratio": 0.0,
        "stem": "cifar",
        "dataset": "shapes",
        "class_names": NAMES,
        "train_pictures": 700,
        "test_pictures": 140,
        "image_size": 32,
        "metric": "top_1",
    }
    return Subject(**{**values, **changes})


def record(
    protocol="linear", encoder=PRETRAINED, seed=0, *, endpoint="final_avg_pool", setting="", missing=None, **more
):
    """A protocol that is right for about three images in four, drawn by the seed."""
    rng = np.random.default_rng([seed or 0, len(protocol), len(encoder)])
    labels = rng.integers(0, CLASSES, 140)
    labels[labels == missing] = 0
    predictions = np.where(rng.random(140) < 0.75, labels, rng.integers(0, CLASSES, 140))
    scores = np.eye(CLASSES)[predictions] + rng.random((140, CLASSES)) / 2
    found = measured(predictions, labels, CLASSES, scores=scores, details={"strength": 0.5})
    return Record(protocol, encoder, endpoint, setting, seed, **{**found, "seconds": 1.5, **more})


def health(seed=None, warning=None, **figures):
    details = {"warning": warning}
    values = figures or {"uniformity": -3.25, "effective_rank": 12.3456}
    return Record("health", PRETRAINED, "final_avg_pool", "", seed, values, details=details, seconds=0.5)


@pytest.fixture
def records():
    return [
        record("knn", seed=None, setting="k=200, T=0.1"),
        *(record(seed=seed) for seed in (0, 1, 2)),
        *(record(encoder=UNTRAINED, seed=seed) for seed in (0, 1)),
        record("supervised_10pct", SCRATCH, endpoint=None),
        health(warning="few dimensions"),
    ]


@pytest.fixture
def quick_plots(monkeypatch):
    """For tests of the other files: a plot takes a second."""
    monkeypatch.setattr(report_module, "draw_confusion", lambda *_: b"image")


def column(table, name):
    return [row[table[0].index(name)] for row in table[1:]]


def test_seeds_become_one_row_with_the_mean_and_deviation_of_numpy(records):
    rows = summarise(subject(), records)
    assert [(row.first.protocol, row.first.encoder, len(row.records)) for row in rows] == [
        ("knn", PRETRAINED, 1),
        ("linear", PRETRAINED, 3),
        ("linear", UNTRAINED, 2),
        ("supervised_10pct", SCRATCH, 1),
        ("health", PRETRAINED, 1),
    ]
    for row in rows:
        for name, summary in row.metrics.items():
            values = [one.metrics[name] for one in row.records]
            assert summary.mean == pytest.approx(np.mean(values))
            assert summary.std == (pytest.approx(np.std(values, ddof=1)) if len(values) > 1 else None)
            assert summary.runs == len(values)
        assert row.seconds == pytest.approx(sum(one.seconds for one in row.records))
    three = rows[1]
    np.testing.assert_allclose(three.per_class, np.mean([one.per_class for one in three.records], axis=0))
    assert three.confusion.sum() == 3 * 140
    np.testing.assert_array_equal(three.confusion, sum(np.array(one.confusion) for one in three.records))


def test_the_order_of_the_cells_changes_nothing_but_the_order_of_the_rows(records):
    mixed = [records[index] for index in np.random.default_rng(0).permutation(len(records))]
    there = {(row.first.protocol, row.first.encoder): row for row in summarise(subject(), records)}
    for row in summarise(subject(), mixed):
        same = there[row.first.protocol, row.first.encoder]
        assert {name: summary.mean for name, summary in row.metrics.items()} == pytest.approx(
            {name: summary.mean for name, summary in same.metrics.items()}
        )


def test_endpoints_and_settings_stay_apart():
    found = [record(endpoint=name, setting=k) for name in ("final_avg_pool", "block_group3") for k in ("k=20", "k=200")]
    table = result_rows(subject(), summarise(subject(), found))
    assert column(table, "endpoint, setting") == [
        "final_avg_pool; k=20",
        "final_avg_pool; k=200",
        "block_group3; k=20",
        "block_group3; k=200",
    ]


def test_cells_of_the_table():
    ends = {"top_1": (0.6, 0.8), "top_5": (0.85, 0.95)}
    runs = [
        record(seed=seed, metrics={"top_1": value, "top_5": 0.9}, intervals=ends)
        for seed, value in enumerate((0.70, 0.72, 0.77))
    ]
    one = record("finetune", endpoint=None, metrics={"top_1": 0.8765}, intervals={"top_1": (0.8, 0.9)}, seconds=250.0)
    assert result_rows(subject(), summarise(subject(), [*runs, one])) == [
        ["protocol", "encoder", "endpoint, setting", "top-1 [95%]", "top-5", "seeds", "time"],
        [
            "linear",
            "pretrained",
            "final_avg_pool",
            "73.0 ± 3.6 [60.0, 80.0]",
            "90.0 ± 0.0 [85.0, 95.0]",
            "0, 1, 2",
            "4.5 s",
        ],
        ["finetune", "pretrained", "whole network", "87.6 [80.0, 90.0]", "-", "0", "4 min 10 s"],
    ]
    narrow = result_rows(subject(), summarise(subject(), [*runs, one]), narrow=True)
    assert column(narrow, "top-1 [95%]") == ["73.0 ± 3.6 [60.0, 80.0]", "87.6 [80.0, 90.0]"]
    assert column(narrow, "top-5") == ["90.0 ± 0.0", "-"]


def test_the_interval_of_a_row_is_the_mean_over_the_seeds():
    runs = [record(seed=seed) for seed in (0, 1, 2)]
    (row,) = summarise(subject(), runs)
    for name in ("top_1", "mean_per_class", "top_5"):
        np.testing.assert_allclose(row.intervals[name], np.mean([one.intervals[name] for one in runs], axis=0))
        assert row.intervals[name][0] < row.metrics[name].mean < row.intervals[name][1]


FLOOR = {"largest class": {"top_1": 0.5, "mean_per_class": 0.2}, "chance": {"top_1": 0.25, "mean_per_class": 0.25}}
SPREAD = [[3, 2], [1, 4]]


@pytest.mark.parametrize(
    ("figure", "ends", "confusion", "mark"),
    [
        (0.7, (0.6, 0.8), SPREAD, ""),
        (0.7, (0.5, 0.9), SPREAD, "not above largest class"),
        (0.4, (0.3, 0.6), SPREAD, "not above largest class"),
        (0.5, (0.3, 0.7), SPREAD, "= largest class"),
        (0.5, (0.3, 0.7), [[0, 5], [0, 5]], "one class only, = largest class"),
        (0.1, (0.0, 0.3), [[1, 0], [9, 0]], "one class only, not above largest class"),
    ],
)
def test_a_row_that_shows_nothing_is_marked(figure, ends, confusion, mark):
    about = subject(class_names=("a", "b"), baselines=FLOOR, largest_class="b")
    one = record(metrics={"top_1": figure}, intervals={"top_1": ends}, confusion=confusion, per_class=None)
    rows = summarise(about, [one])
    table = result_rows(about, rows)
    assert rows[0].mark == mark
    assert table[1][:4] == ["largest class", "-", "always b", "50.0"]
    assert table[2][:4] == ["chance", "-", "-", "25.0"]
    assert ("mark" in table[0]) == bool(mark)
    assert report_values(about, [one])["rows"][0]["mark"] == mark


def test_without_baselines_nothing_is_marked_but_a_single_class():
    """As in a report of an earlier version."""
    (row,) = summarise(subject(class_names=("a", "b")), [record(confusion=[[0, 5], [0, 5]], per_class=None)])
    assert row.mark == "one class only"
    assert summarise(subject(), [record(), health()])[1].mark == ""


def test_images_without_a_twin_have_a_column():
    runs = [record(seed=seed, without_twins={"top_1": value}) for seed, value in ((0, 0.5), (1, 0.6))]
    rows = summarise(subject(), [*runs, record("knn", seed=None)])
    assert column(result_rows(subject(), rows), "without twins") == ["55.0 ± 7.1", "-"]
    assert "without twins" not in result_rows(subject(), summarise(subject(), [record()]))[0]


SPLITS = (
    SplitFacts("train", "train[:90%]", 630, "/data/my_pets", "0123456789abcdef"),
    SplitFacts("test", "test", 140, "/data/my_pets", "fedcba9876543210"),
)


def test_the_head_names_images_and_command():
    twins = {
        "count": 2,
        "exact": 1,
        "near": 1,
        "near_from": 0.98,
        "pairs": [
            {"test": "a*b.png", "train": "b\udcff.png", "exact": True, "similarity": 1.0},
            {"test": "c.png", "train": "d.png", "exact": False, "similarity": 0.9912},
        ],
    }
    about = subject(
        splits=SPLITS,
        eval_crop=0.875,
        twins=twins,
        date="2026-01-02T03:04:05+00:00",
        version="1.2",
        command="python -m tf_simclr evaluate '--data_dir=/data/my_pets'",
    )
    text = report_markdown(about, [record()])
    for line in (
        "- data set: shapes in /data/my_pets\n",
        "- train: 630 images of train\\[:90%\\], fingerprint 0123456789ab\n",
        "- test: 140 images of test, fingerprint fedcba987654\n",
        "of 32 pixels, the central 87.5% of the shorter side\n",
        "- date: 2026-01-02T03:04:05+00:00\n- tf_simclr: 1.2\n",
        "```bash\npython -m tf_simclr evaluate '--data_dir=/data/my_pets'\n```",
        "- 2 of 140 test images are copies of training images (1 exact, 1 near)\n",
        "- a\\*b.png = b\\\\xff.png (exact)\n- c.png = d.png (0.991)",
    ):
        assert line in text, line
    assert Subject.from_json(json.loads(json.dumps(about.to_json()))) == dataclasses.replace(
        about, class_names=list(NAMES)
    )
    console = Console(file=io.StringIO(), width=160)
    print_report(about, [record()], console)
    assert "data set: shapes in /data/my_pets\n" in console.file.getvalue()


def test_a_report_of_an_earlier_version_is_read():
    values = {name: value for name, value in subject().to_json().items() if name in EARLIER}
    old = Subject.from_json(values)
    assert (old.splits, old.baselines, old.twins) == ((), {}, None)
    one = {
        name: value
        for name, value in record().to_json().items()
        if name not in ("intervals", "without_twins", "predicted")
    }
    assert "top-1" in result_rows(old, summarise(old, [Record.from_json(one)]))[0]


EARLIER = (
    "checkpoint",
    "step",
    "digest",
    "resnet_depth",
    "width_multiplier",
    "sk_ratio",
    "se_ratio",
    "stem",
    "dataset",
    "class_names",
    "train_pictures",
    "test_pictures",
    "image_size",
    "metric",
    "network",
)


def test_predictions_are_named_like_the_plots_and_old_files_go(records, tmp_path, quick_plots):
    names = tuple(map(str, range(140)))
    images = EvaluatedImages(NAMES, names, np.zeros(140, np.int64))
    write_report(str(tmp_path), subject(), records, images)
    paths = write_report(str(tmp_path), subject(), records[:4], images)
    assert sorted(path.name for path in (tmp_path / "predictions").iterdir()) == [
        "knn_pretrained_final_avg_pool.csv",
        "linear_pretrained_final_avg_pool.csv",
    ]
    assert [path.rsplit("/", 1)[1] for path in paths.predictions] == [
        path.rsplit("confusion_", 1)[1].replace(".png", ".csv") for path in paths.plots
    ]
    assert len((tmp_path / "predictions" / "linear_pretrained_final_avg_pool.csv").read_text().splitlines()) == 1 + 420
    assert len(list(tmp_path.glob("confusion_*"))) == 2


def test_another_metric_in_the_table():
    found = [record(metrics={"top_1": 0.5, "mean_per_class": 0.25}, intervals={})]
    table = result_rows(subject(metric="mean_per_class"), summarise(subject(), found))
    assert table[0][3:] == ["mean per class", "top-1", "seeds", "time"]
    assert table[1][3] == "25.0"


def test_pictures_of_several_labels_have_a_figure_and_no_confusion(tmp_path):
    several = record("logreg", metrics={"map_11_point": 0.842}, confusion=None)
    table = result_rows(subject(), summarise(subject(), [several]))
    assert column(table, "top-1") == ["84.2 (11-point mAP)"]
    assert column(result_rows(subject(metric="map_11_point"), summarise(subject(), [several])), "11-point mAP") == [
        "84.2"
    ]
    assert write_report(str(tmp_path), subject(), [several]).plots == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "report.md"]
    assert "Confusion" not in (tmp_path / "report.md").read_text(encoding="utf-8")


PAPERS = {"resnet_depth": 50, "width_multiplier": 1.0, "stem": "imagenet", "dataset": "imagenet2012"}


def test_figures_of_the_paper_stand_beside_the_pretrained_encoder():
    whole = subject(**PAPERS)
    found = [
        record(),
        record(encoder=UNTRAINED),
        record(endpoint="block_group3"),
        record("finetune_1pct", endpoint=None),
        record("supervised_10pct", SCRATCH, endpoint=None),
        record("knn", seed=None),
    ]
    rows = summarise(whole, found)
    paper = column(result_rows(whole, rows), "paper")
    assert paper == ["69.3 (top-5: 89.0)", "-", "-", "top-5: 75.5", "top-5: 80.4", "-"]
    assert source_lines(rows) == [
        "Paper, linear, top-1 69.3: SimCLR, Table 6",
        "Paper, linear, top-5 89.0: SimCLR, Table 6",
        "Paper, finetune_1pct, top-5 75.5: SimCLR, Table 7",
        "Paper, supervised_10pct, top-5 80.4: SimCLR, Table 7",
    ]
    values = report_values(whole, found)["rows"]
    assert values[0]["reference"]["top_1"] == {"value": 0.693, "source": "SimCLR, Table 6"}
    assert values[1]["reference"] is None


@pytest.mark.parametrize(
    "other", [{"resnet_depth": 18}, {"sk_ratio": 0.0625}, {"se_ratio": 0.25}, {"stem": "cifar"}, {"dataset": "folder"}]
)
def test_no_figure_of_the_paper_for_another_network(other):
    changed = subject(**{**PAPERS, **other})
    table = result_rows(changed, summarise(changed, [record()]))
    assert "paper" not in table[0]


def test_health_has_a_table_of_its_own_figures():
    runs = [health(0, loss=1.0, rank=10.0), health(1, loss=2.0, rank=10.5)]
    rows = summarise(subject(), runs)
    assert result_rows(subject(), rows) == []
    assert health_rows(rows) == [
        ["", "pretrained, final_avg_pool", "how to read it"],
        ["loss", "1.500 ± 0.707", ""],
        ["rank", "10.250 ± 0.354", ""],
        ["seeds", "0, 1", ""],
        ["time", "1.0 s", ""],
    ]
    assert health_rows(summarise(subject(), [record()])) == []


def test_warnings_are_said_once():
    rows = summarise(subject(), [health(0, "few dimensions"), health(1, "few dimensions"), record()])
    assert warning_lines(rows) == ["health, pretrained, final_avg_pool: few dimensions"]
    text = report_markdown(subject(), [health(0, "few | dimensions")])
    assert "- Warning: health, pretrained, final_avg_pool: few \\| dimensions\n" in text


def test_classes_of_the_pretrained_encoder(records):
    table = per_class_rows(subject(), summarise(subject(), records))
    assert table[0] == ["class", "knn", "linear"]
    assert column(table, "class") == list(NAMES)
    expected = np.mean([one.per_class for one in records[1:4]], axis=0)
    assert column(table, "linear") == [f"{100 * value:.1f}" for value in expected]
    assert "no evaluated image" not in report_markdown(subject(), records)
    assert per_class_rows(subject(), summarise(subject(), [record(encoder=UNTRAINED), health()])) == []


def test_columns_of_one_protocol_are_told_apart():
    found = [
        record(),
        record(endpoint="block_group3"),
        record(encoder=UNTRAINED),
        record("knn", encoder=PRETRAINED),
    ]
    assert per_class_rows(subject(), summarise(subject(), found))[0] == [
        "class",
        "linear, final_avg_pool",
        "linear, block_group3",
        "knn",
    ]


def test_a_class_without_a_image():
    found = [record(seed=seed, missing=3) for seed in (0, 1)]
    rows = summarise(subject(), found)
    assert [label for label, value in enumerate(rows[0].per_class) if value is None] == [3]
    table = per_class_rows(subject(), rows)
    assert table[4] == ["日本", "-"]
    assert all(re.fullmatch(r"\d+\.\d", row[1]) for row in table[1:4] + table[5:])
    assert "Where - stands, no evaluated image shows the class." in report_markdown(subject(), found)


def split_markdown(line):
    """The records of a row as a reader of Markdown takes them."""
    inner = re.split(r"(?<!\\)\|", line)[1:-1]
    return [re.sub(r"\\(.)", r"\1", text.strip()) for text in inner]


def test_markdown_gives_back_every_cell(records):
    table = per_class_rows(subject(), summarise(subject(), records))
    lines = markdown_table(table).splitlines()
    assert [split_markdown(line) for line in lines[:1] + lines[2:]] == table
    assert lines[1] == "| --- | --- | --- |"
    assert "bird\\|cat" in lines[3] and "naïve café" in lines[4]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b", "a\\|b"),
        ("linear_cached", "linear_cached"),
        ("_odd_", "\\_odd\\_"),
        ("*a* `b` <c> [d]", "\\*a\\* \\`b\\` \\<c> \\[d\\]"),
        ("two\nlines", "two lines"),
        ("back\\slash", "back\\\\slash"),
    ],
)
def test_markdown_of_odd_names(text, escaped):
    assert escape_markdown(text) == escaped


def test_plain_columns_stand_below_each_other():
    lines = plain_table([["class", "x"], ["日本", "1"], ["naïve café", "22"]]).splitlines()
    assert lines == ["class       x", "日本        1", "naïve café  22"]  # 日本 is four columns wide


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 0 s"), (250, "4 min 10 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_the_terminal_shows_what_the_tables_say(records, stream):
    odd = record("logreg", setting="[bold]c=1[/bold]")
    console = Console(file=stream(), width=200, color_system=None)
    print_report(subject(), [*records, odd], console)
    shown = console.file.getvalue()
    rows = summarise(subject(), [*records, odd])
    for line in [*result_rows(subject(), rows, narrow=stream is Terminal), *health_rows(rows)]:
        assert any(all(text in printed for text in line) for printed in shown.splitlines()), line
    assert "Warning: health, pretrained, final_avg_pool: few dimensions\n" in shown
    assert ("─" in shown) == (stream is Terminal)


def test_json_gives_back_the_same_report(records, tmp_path, quick_plots):
    paths = write_report(str(tmp_path / "deep" / "report"), subject(), records)
    with open(paths.json, encoding="utf-8") as file:
        values = json.load(file)
    again = [Record.from_json(one) for one in values["cells"]]
    assert again == records
    assert report_markdown(Subject.from_json(values["subject"]), again) == report_markdown(subject(), records)
    with open(paths.markdown, encoding="utf-8") as file:
        assert file.read() == report_markdown(subject(), records)
    assert values["format"] == 1
    assert values["subject"]["network"] == "ResNet-18 x0.5"
    linear = values["rows"][1]
    assert linear["metrics"]["top_1"]["runs"] == 3
    assert linear["seeds"] == [{"seed": seed, "details": {"strength": 0.5}} for seed in (0, 1, 2)]


def test_networks_by_name():
    assert subject(resnet_depth=50, width_multiplier=4.0).network == "ResNet-50 x4"
    assert subject(resnet_depth=152, width_multiplier=3, sk_ratio=0.0625).network == "ResNet-152 x3, SK 0.0625"


def test_what_is_not_known_is_left_out():
    text = report_markdown(subject(step=None, digest=None), [record()])
    assert "step" not in text and "digest" not in text
    assert "- step: 100\n- digest of the values: 0a1b\n" in report_markdown(subject(), [record()])


def test_plots_by_name(records, tmp_path, quick_plots):
    more = [record("knn", seed=None, setting=f"k={k}, T=0.1", endpoint="a/b") for k in (20, 200)]
    paths = write_report(str(tmp_path), subject(), [*records, *more])
    names = [path.rsplit("/", 1)[1] for path in paths.plots]
    assert names == [
        "confusion_knn_pretrained_final_avg_pool.png",
        "confusion_linear_pretrained_final_avg_pool.png",
        "confusion_linear_untrained_final_avg_pool.png",
        "confusion_supervised_10pct_from-scratch.png",
        "confusion_knn_pretrained_a-b_k=20-T=0.1.png",
        "confusion_knn_pretrained_a-b_k=200-T=0.1.png",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, "report.json", "report.md"])
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\((.*)\)", text) == names
    assert "linear, pretrained, final_avg_pool (3 seeds added up)" in text


def test_names_that_become_alike_get_a_number(tmp_path, quick_plots):
    alike = [record(endpoint=endpoint) for endpoint in ("a/b", "a:b", "a b")]
    paths = write_report(str(tmp_path), subject(), alike)
    assert [path.rsplit("/", 1)[1] for path in paths.plots] == [
        "confusion_linear_pretrained_a-b.png",
        "confusion_linear_pretrained_a-b_2.png",
        "confusion_linear_pretrained_a-b_3.png",
    ]


@pytest.mark.parametrize("interrupted", [".json", ".md", ".png"])
def test_an_interrupted_file_leaves_the_old_one(tmp_path, monkeypatch, quick_plots, interrupted):
    write_report(str(tmp_path), subject(), [record()])
    before = {path.suffix: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(before) == {".json", ".md", ".png"}
    replace = os.replace

    def fail_at_one(source, target):
        if target.endswith(interrupted):
            raise OSError(28, "full")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_at_one)
    with pytest.raises(OSError, match="full"):
        write_report(str(tmp_path), subject(step=200), [record()])
    after = {path.suffix: path.read_bytes() for path in tmp_path.iterdir()}
    assert after[interrupted] == before[interrupted]
    assert (after[".json"] == before[".json"]) == (interrupted == ".json")


def test_the_plots_are_images_of_the_rows(tmp_path):
    paths = write_report(str(tmp_path), subject(), [record(seed=0), record(seed=1)])
    (row,) = summarise(subject(), [record(seed=0), record(seed=1)])
    drawn = draw_confusion(row.confusion, NAMES, "linear, pretrained, final_avg_pool (2 seeds added up)")
    with open(paths.plots[0], "rb") as file:
        np.testing.assert_array_equal(pixels(file.read()), pixels(drawn))


def test_without_matplotlib_the_tables_are_written(records, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"pip install matplotlib, or the extra `evaluate`"):
        write_report(str(tmp_path), subject(), records)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "report.md"]


def pixels(png):
    return tf.io.decode_png(png, channels=3).numpy()


def share_of(colour, image):
    return np.mean(np.all(image == colour, axis=-1))


LIGHT_GREY = (211, 211, 211)


def test_a_plot_is_coloured_by_the_share_of_the_true_class():
    """Ten times the images in a class change neither its row's colour nor those of the others."""
    counts = np.full((50, 50), 1) + 9 * np.eye(50, dtype=int)
    names = [f"class {label}" for label in range(50)]
    drawn = draw_confusion(counts, names, "title")
    more = counts.copy()
    more[4] *= 10
    np.testing.assert_array_equal(pixels(draw_confusion(more, names, "title")), pixels(drawn))
    assert share_of(LIGHT_GREY, pixels(drawn)) < 1e-3
    more[4] = 0
    emptied = pixels(draw_confusion(more, names, "title"))
    # A fiftieth of a matrix that takes more than half of the image.
    assert 0.5 / 50 < share_of(LIGHT_GREY, emptied) < 1 / 50


def test_counts_are_written_for_few_classes():
    for classes, written in ((20, True), (21, False)):
        counts = 3 * np.eye(classes, dtype=int)
        names = [str(label) for label in range(classes)]
        # Twice the images are the same shares: only the numbers in the records can tell.
        once, twice = pixels(draw_confusion(counts, names, "")), pixels(draw_confusion(2 * counts, names, ""))
        assert (once != twice).any() == written


def test_names_are_written_up_to_forty_classes():
    for classes, written in ((40, True), (41, False)):
        counts = np.eye(classes, dtype=int)
        first, second = (
            pixels(draw_confusion(counts, [f"{letter}{n}" for n in range(classes)], "")) for letter in "ab"
        )
        assert (first.shape != second.shape or (first != second).any()) == written


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("names", [NAMES, ["😀", "", "two\nlines", "$", "a_{b", "%", "a name that is far too long"]])
def test_odd_names_are_drawn_without_a_warning(names):
    png = draw_confusion(np.eye(CLASSES, dtype=int), names, "finetune_10pct, $x$")
    assert min(pixels(png).shape[:2]) > 500


def test_names_at_the_axes():
    letters = set(range(32, 127))
    assert shown_name("two\nlines", 3, letters) == "two lines"
    assert shown_name("日本", 3, letters) == "class 3"
    assert shown_name("  ", 3, letters) == "class 3"
    assert shown_name("exactly 18 letters", 3, letters) == "exactly 18 letters"
    assert shown_name("American bulldog puppy", 3, letters) == "American…og puppy"
    assert len(shown_name("x" * 50, 3, letters)) == 18


def test_a_plot_leaves_matplotlib_as_it_was():
    program = (
        "import sys, numpy\n"
        "from tf_simclr.evaluate.report.confusion_plot import draw_confusion\n"
        "assert 'matplotlib' not in sys.modules\n"
        "draw_confusion(numpy.eye(2, dtype=int), 'ab', '')\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_plot_needs_a_name_for_each_class():
    with pytest.raises(InputError, match=r"each of the 3 names. Received: shape \(2, 2\)"):
        draw_confusion(np.eye(2, dtype=int), "abc", "")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "at least one result"),
        ([record(), record()], r"linear, pretrained, final_avg_pool, seed 0 twice"),
        ([health(), health()], "twice"),
        ([record(metrics={"top_1": float("nan")})], r"finite ones.*linear, pretrained"),
        ([record(metrics={})], "must have figures"),
        ([record(per_class=[0.5])], r"`per_class`.*7 classes.*with 1\."),
        ([record(confusion=[[1]])], r"`confusion`.*7 classes.*with 1\."),
        ([dataclasses.replace(record(), encoder="trained")], "pretrained, untrained, from scratch"),
    ],
)
def test_cells_that_make_no_report(wrong, message, tmp_path):
    with pytest.raises(InputError, match=message):
        write_report(str(tmp_path / "out"), subject(), wrong)
    assert not (tmp_path / "out").exists()


def test_a_plot_that_fails_leaves_the_tables(records, tmp_path, monkeypatch):
    def fail(*_arguments):
        raise MemoryError

    monkeypatch.setattr(report_module, "draw_confusion", fail)
    with pytest.raises(MemoryError):
        write_report(str(tmp_path), subject(), records)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "report.md"]
