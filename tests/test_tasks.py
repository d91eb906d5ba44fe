"""The tasks as functions do what the commands do, and return what the commands write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.networks import small_networks_everywhere
from tf_simclr import tasks
from tf_simclr.errors import InputError

TINY = {
    "dataset": "shapes",
    "train_split": "train[:48]",
    "eval_split": "test[:22]",
    "image_size": 16,
    "train_batch_size": 16,
    "eval_batch_size": 11,
    "resnet_depth": 10,
    "width_multiplier": 1,
    "num_proj_layers": 2,
    "proj_out_dim": 16,
    "use_blur": False,
    "warmup_epochs": 0,
    "train_steps": 3,
}


@pytest.fixture(scope="module", autouse=True)
def small():
    """Two convolutions in place of a ResNet: nothing here depends on the networks."""
    with small_networks_everywhere():
        yield


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tasks") / "run"
    return tasks.run(**TINY, mode="train_then_eval", model_dir=directory)  # a Path is a path


def test_run_returns_what_it_wrote(result):
    written = json.loads(Path(result.directory, "result.json").read_text())
    assert result.finished and result.exit_code == 0 and result.step == 3 == written.pop("global_step")
    assert written.pop("evaluated_on")["split"] == "test[:22]"
    assert written == result.metrics and 0 <= written["eval/label_top_1_accuracy"] <= 1
    assert Path(result.saved_model, "saved_model.pb").is_file()
    recorded = json.loads(Path(result.directory, "flags.json").read_text())
    assert recorded["train_split"] == "train[:48]" and recorded["use_blur"] is False


def test_evaluate_checkpoint_returns_its_report(result, tmp_path):
    found = tasks.evaluate_checkpoint(
        checkpoint=result.directory, protocols=["knn", "health"], knn_k=[3, 5], model_dir=tmp_path, eval_batch_size=11
    )
    assert found.exit_code == 0 and found.failed == () and found.directory == str(tmp_path)
    assert found.report == json.loads((tmp_path / "report.json").read_text())
    assert {row["protocol"] for row in found.report["rows"]} == {"knn", "health"}
    assert len([row for row in found.report["rows"] if row["protocol"] == "knn"]) == 2


def test_run_study_returns_results_and_findings(tmp_path):
    data = {"train_split": "train[:48]", "eval_split": "test[:22]", "train_batch_size": 16, "eval_batch_size": 11}
    found = tasks.run_study(
        study="figure8", scale="tiny", cells=["none", "linear 8"], seeds=0, model_dir=tmp_path, **data, train_steps=2
    )
    assert found.exit_code == 0 and found.failed == ()
    assert {name for name in ("none", "linear 8") if found.results.of(name)} == {"none", "linear 8"}
    assert {finding.outcome for finding in found.findings} == {"not measured"}
    assert Path(found.directory, "index.html").is_file()


@pytest.mark.parametrize(
    ("task", "flags", "words"),
    [
        (tasks.run, {"train_step": 3}, "Unknown command line flag 'train_step'. Did you mean: train_steps"),
        (tasks.run, {"data_dir": 3.5, "train_steps": object()}, "`train_steps` must be a number, a text, a path"),
        (tasks.run, TINY | {"temperature": 0, "model_dir": "nowhere"}, "`temperature` must be > 0"),
        (tasks.evaluate_checkpoint, {}, "`checkpoint` must name what is evaluated"),
        (tasks.run_study, {"study": "figure99"}, "figure99"),
    ],
)
def test_bad_flags_are_an_input_error_that_writes_nothing(task, flags, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words.replace(".", r"\.")):
        task(**flags)
    assert list(tmp_path.iterdir()) == []
