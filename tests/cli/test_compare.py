"""`python -m tf_simclr compare`: two reports that the real code wrote, compared as a whole, and what it refuses."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest

from tests.networks import write_run
from tf_simclr.cli.main import main
from tf_simclr.data.source import MultiLabel
from tf_simclr.evaluate.measures.paired import compare_hits, compare_scores
from tf_simclr.evaluate.predictions import EvaluatedImages
from tf_simclr.evaluate.records import PRETRAINED, Record, measured, measured_multi_label
from tf_simclr.evaluate.report.files import write_report
from tf_simclr.evaluate.report.subject import SplitFacts, Subject

NAMES = ("cat", "dog|wolf", "naïve\ncafé")
LABELS = np.random.default_rng(0).integers(0, 3, 60)
PATHS = tuple(f"{number:02d},\udcff.png" for number in range(60))
IMAGES = EvaluatedImages(NAMES, PATHS, LABELS)
SUBJECT = Subject(
    checkpoint="runs/a",
    step=7,
    digest="0a",
    resnet_depth=18,
    width_multiplier=1.0,
    sk_ratio=0.0,
    se_ratio=0.0,
    stem="cifar",
    dataset="shapes",
    class_names=NAMES,
    train_pictures=90,
    test_pictures=60,
    image_size=32,
    metric="top_1",
    splits=(SplitFacts("test", "test", 60, None, "fingerprint"),),
)


def record(share, seed=None, protocol="knn", setting=""):
    """Right for about a share of the images."""
    rng = np.random.default_rng([int(100 * share), seed or 0])
    said = np.where(rng.random(60) < share, LABELS, rng.integers(0, 3, 60))
    return Record(protocol, PRETRAINED, "final_avg_pool", setting, seed, **measured(said, LABELS, 3))


def written(directory, records, images=IMAGES, **changes):
    write_report(str(directory), dataclasses.replace(SUBJECT, **changes), records, images)
    return directory


def compare(*words):
    return main(["compare", *map(str, words)])


def hits(records):
    return np.mean([one.predicted.classes == LABELS for one in records], axis=0)


def test_the_protocols_that_both_have(tmp_path, capsys):
    of_a = [record(0.4, 0), record(0.3, 1), record(0.5, protocol="logreg"), record(0.5, protocol="linear")]
    of_b = [record(0.9, 1), record(0.8, 2), record(0.5, protocol="logreg"), record(0.6, protocol="finetune")]
    a, b, out = written(tmp_path / "a", of_a), written(tmp_path / "b", of_b), tmp_path / "numbers.json"
    assert compare(a, b, f"--out={out}") == 0
    printed = capsys.readouterr().out
    assert "60 images of shapes, test of the data set" in printed and "only B right" in printed
    rows = json.loads(out.read_text())["rows"]
    assert [(row["row_a"].split("_")[0], row["metric"]) for row in rows] == [
        ("knn", "top_1"),
        ("knn", "mean_per_class"),
        ("logreg", "top_1"),
        ("logreg", "mean_per_class"),
    ]
    # Of both seeds only 1 is in both.
    wanted = compare_hits(hits(of_a[1:2]), hits(of_b[:1]))
    assert rows[0]["paired"] == dataclasses.asdict(wanted) | {"interval": list(wanted.interval)}
    assert (rows[0]["seeds_a"], rows[0]["seeds_b"], rows[0]["images"]) == (["1"], ["1"], 60)
    assert rows[0]["only_b"] - rows[0]["only_a"] == round(60 * wanted.difference)
    assert rows[0]["paired"]["p_value"] < 0.05
    per_class = compare_hits(hits(of_a[1:2]), hits(of_b[:1]), LABELS)
    assert rows[1]["paired"]["difference"] == pytest.approx(per_class.difference)
    assert rows[2]["paired"]["difference"] == 0 and rows[2]["paired"]["p_value"] == 1


def test_two_rows_of_one_evaluation(tmp_path, capsys):
    records = [record(0.5, 0, "linear"), record(0.5, 1, "linear"), record(0.8, 5, "finetune")]
    a, out = written(tmp_path / "a", records), tmp_path / "numbers.json"
    names = sorted(path.stem for path in (a / "predictions").glob("*.csv"))
    assert compare(a, a, f"--row_a={names[1]}", f"--row_b={names[0]}", f"--out={out}") == 0
    row = json.loads(out.read_text())["rows"][0]
    wanted = compare_hits(hits(records[:2]), hits(records[2:]))
    assert row["paired"]["p_value"] == pytest.approx(wanted.p_value) and row["seeds_a"] == ["0", "1"]
    assert row["paired"]["a"] == pytest.approx(np.mean([one.metrics["top_1"] for one in records[:2]]))
    assert f"{names[1]} and {names[0]}" in capsys.readouterr().out


def test_images_that_show_several_classes(tmp_path, capsys):
    rng = np.random.default_rng(3)
    positives = rng.random((60, 3)) < 0.4
    targets = MultiLabel(positives, ~positives & (rng.random((60, 3)) < 0.2))
    # A name with the separator cannot be read back, and such sets do not have one.
    names = ("cat", "dog", "fox")
    images = EvaluatedImages(names, PATHS, None, targets)
    scores = {letter: np.float32(rng.normal(size=(60, 3)) + far * positives) for letter, far in (("a", 0.5), ("b", 2))}
    for letter, one in scores.items():
        found = Record("logreg", PRETRAINED, "h", "", None, **measured_multi_label(one, targets, {}))
        written(tmp_path / letter, [found], images, class_names=names)
    assert compare(tmp_path / "a", tmp_path / "b", f"--out={tmp_path / 'c.json'}") == 0
    (row,) = json.loads((tmp_path / "c.json").read_text())["rows"]
    wanted = compare_scores([scores["a"]], [scores["b"]], positives, ignored=targets.ignored)
    assert row["metric"] == "map_11_point" and row["only_a"] is None
    assert row["paired"]["difference"] == pytest.approx(wanted.difference, abs=1e-3)
    assert row["paired"]["p_value"] == pytest.approx(wanted.p_value, abs=0.01)
    assert "11-point mAP" in capsys.readouterr().out
    # A table from before did not say what does not count.
    (path,) = (tmp_path / "a" / "predictions").glob("*.csv")
    lines = list(csv.DictReader(path.open(encoding="utf-8", errors="surrogateescape")))
    with path.open("w", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, [name for name in lines[0] if name != "ignored"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)
    assert refused(capsys, tmp_path / "a", tmp_path / "b")


def refused(capsys, *words):
    capsys.readouterr()
    assert compare(*words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Received" in error
    return error


def test_what_cannot_be_compared_is_a_line(tmp_path, capsys):
    a = written(tmp_path / "a", [record(0.5)])
    assert "needs two evaluations. Received: none" in refused(capsys)
    assert f"needs two evaluations. Received: {a}" in refused(capsys, a)
    assert "flags are written --name=value. Received: c" in refused(capsys, a, a, "c")
    assert "`run_b` must be the directory of an evaluation" in refused(capsys, a, tmp_path / "nothing")
    assert "`row_b` must be one of: knn_pretrained" in refused(
        capsys, a, a, "--row_a=knn_pretrained_final_avg_pool", "--row_b=x"
    )
    other = SplitFacts("test", "test", 60, "/elsewhere", "another")
    b = written(tmp_path / "images", [record(0.5)], splits=(other,))
    assert "same test images and classes" in refused(capsys, a, b) and "/elsewhere" in refused(capsys, a, b)
    b = written(tmp_path / "classes", [record(0.5)], class_names=("a", "b", "c"))
    assert "same test images and classes" in refused(capsys, a, b)
    moved = EvaluatedImages(NAMES, PATHS[::-1], LABELS)
    b = written(tmp_path / "order", [record(0.5)], moved, splits=())
    assert "same test images and classes" in refused(capsys, a, b)
    b = written(tmp_path / "protocol", [record(0.5, setting="k=9")])
    assert "a protocol with the same setting in common" in refused(capsys, a, b)
    b = written(tmp_path / "older", [record(0.5)], None)
    assert "without predictions/knn_pretrained_final_avg_pool.csv" in refused(capsys, a, b)
    b = written(tmp_path / "others", [record(0.9)])
    (table,) = (b / "predictions").glob("*.csv")
    table.write_bytes(next((a / "predictions").glob("*.csv")).read_bytes())
    assert "must be of the same results as report.json" in refused(capsys, a, b)
    table.write_text("path,label\nx,y\n")
    assert "must be a table of predictions" in refused(capsys, a, b)
    (b / "report.json").write_text("{}")
    assert "report.json" in refused(capsys, a, b)
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.whole_runs
def test_evaluations_of_two_runs(tmp_path, capsys):
    flags = {
        **{"dataset": "shapes", "train_split": "train[:40]", "eval_split": "test[:30]", "image_size": 16},
        **{"resnet_depth": 10, "width_multiplier": 0.0625, "num_proj_layers": 2, "proj_out_dim": 8},
    }
    for number, name in enumerate("ab"):
        write_run(tmp_path / name, flags, 7 + number)
        words = (f"--checkpoint={tmp_path / name}", "--eval_batch_size=30", "--protocols=knn", "--knn_k=3")
        assert main(["evaluate", *words]) == 0
    capsys.readouterr()
    assert compare(tmp_path / "a", tmp_path / "b") == 0
    printed = capsys.readouterr().out
    assert printed.count("mean per class") == 1 and "at step 8" in printed
    (evaluation,) = (tmp_path / "a").glob("evaluation-*")
    shutil.copytree(evaluation, tmp_path / "a" / "evaluation-another")
    assert "must be one evaluation" in refused(capsys, tmp_path / "a", tmp_path / "b")
