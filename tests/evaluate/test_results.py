"""Result files: what is added to them, and what is kept apart."""

from __future__ import annotations

import json

import pytest

from tf_simclr.config import build_config
from tf_simclr.data.shapes import shapes_source
from tf_simclr.evaluate.results import describe_evaluation, write_results

ON = {"checkpoint": "abc", "location": "/one", "split": "test", "fingerprint": "f", "eval_crop": 1.0, "eval_steps": 0}


def values(path):
    return json.loads(path.read_text())


def test_figures_of_the_same_network_and_images_come_together(tmp_path):
    write_results(str(tmp_path), 4, {"eval/a": 0.5, "eval/b": 0.25}, ON)
    moved = ON | {"location": "/two"}
    found = write_results(str(tmp_path), 4, {"eval/a": 0.75}, moved)
    assert found.figures == {"eval/a": 0.75, "eval/b": 0.25} and found.kept is None
    assert values(tmp_path / "result_4.json") == {**found.figures, "global_step": 4, "evaluated_on": moved}
    assert values(tmp_path / "result.json") == values(tmp_path / "result_4.json")


@pytest.mark.parametrize(
    "other", [{"fingerprint": "g"}, {"split": "test[:4]"}, {"checkpoint": "d"}, {"checkpoint": ""}, {"eval_crop": 0.9}]
)
def test_figures_of_other_images_or_networks_are_kept_apart(tmp_path, other):
    write_results(str(tmp_path), 4, {"eval/a": 0.5, "eval/b": 0.25}, ON)
    before = values(tmp_path / "result_4.json")
    found = write_results(str(tmp_path), 4, {"eval/a": 0.75}, ON | other)
    assert found.figures == {"eval/a": 0.75} and "eval/b" not in values(tmp_path / "result.json")
    assert values(tmp_path / found.kept) == before


def test_a_file_of_an_earlier_version_does_not_say_what_it_is_of(tmp_path):
    (tmp_path / "result_4.json").write_text(json.dumps({"eval/a": 0.5, "global_step": 4}))
    assert write_results(str(tmp_path), 4, {"eval/a": 0.5, "eval/c": 1.0}, ON).kept is None
    (tmp_path / "result_5.json").write_text(json.dumps({"eval/b": 0.5, "global_step": 5}))
    found = write_results(str(tmp_path), 5, {"eval/a": 0.5}, ON)
    assert values(tmp_path / found.kept)["eval/b"] == 0.5 and found.figures == {"eval/a": 0.5}


def test_a_damaged_file_is_written_anew(tmp_path):
    (tmp_path / "result_4.json").write_text("{")
    assert write_results(str(tmp_path), 4, {"eval/a": 0.5}, ON).kept is None


def test_what_figures_depend_on(tmp_path):
    config = build_config({"dataset": "shapes", "model_dir": str(tmp_path), "image_size": 32})
    source = shapes_source("test[:4]", seed=0)
    found = describe_evaluation(config, 4, source)
    assert (found["split"], found["fingerprint"]) == ("test[:4]", source.fingerprint)
    assert found["checkpoint"] == "" and found["eval_crop"] == 1.0
    (tmp_path / "ckpt-4.index").write_bytes(b"check sums")
    assert describe_evaluation(config, 4, source)["checkpoint"] not in ("", describe_evaluation(config, 5, source))
    assert describe_evaluation(config, 4, None)["fingerprint"] == ""
