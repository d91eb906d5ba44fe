"""Files that are cut off, empty, or hold something else are named; values of other types too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tf_simclr.config.identity import read_recorded
from tf_simclr.evaluate.record_store import RecordStore
from tf_simclr.evaluate.records import Record
from tf_simclr.stored import DamagedFileError, parse_object, require_types
from tf_simclr.studies.results import CellResult, read_result, write_result

DAMAGED = [b"", b'{"a": ', b"\xff\xfe\x00", b"[1, 2]", b"7", b"null", b"[" * 100_000]


@dataclass
class Example:
    count: int = 0
    rate: float | None = None
    names: tuple[str, ...] = ()
    found: dict[str, list[float]] | None = None
    details: Any = None


@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: repr(content[:8]))
def test_what_is_no_object_is_named_in_one_line(content):
    with pytest.raises(DamagedFileError, match=r"^/a/flags\.json is damaged: .*Received: /a/flags\.json\.") as error:
        parse_object(content, "/a/flags.json")
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize(
    "values",
    [
        {"count": 1.5},
        {"count": True},
        {"count": "1"},
        {"rate": "fast"},
        {"names": "abc"},
        {"names": [1]},
        {"found": {"a": [1, None]}},
        {"found": []},
    ],
    ids=repr,
)
def test_another_type_is_named(values):
    with pytest.raises(DamagedFileError, match=f"{next(iter(values))}="):
        require_types(values, Example, "x.json")


def test_what_json_makes_of_the_types_fits():
    values = {"count": 2.0, "rate": 1, "names": ["a"], "found": {"a": [1, 2.5]}, "details": [None], "other": 3}
    require_types(values, Example, "x.json")
    require_types({"rate": None, "found": None}, Example, "x.json")


@pytest.mark.parametrize("values", [{"dataset": 5}, {"image_size": "big"}, {"use_blur": "no"}, {"data_dir": ["a"]}])
def test_flags_of_other_types_are_named(values):
    with pytest.raises(DamagedFileError, match=rf"flags\.json is damaged: {next(iter(values))}="):
        read_recorded(values, "flags.json")


CELL_FILES = [*DAMAGED, b'{"cell": "a", "seed": 0, "measures": ["x"]}', b'{"cell": "a"}', b'{"cell": 3, "seed": 0}']


@pytest.mark.parametrize("content", CELL_FILES, ids=lambda content: repr(content[:40]))
def test_a_result_of_a_study_is_named(tmp_path, content):
    write_result(str(tmp_path), CellResult("a", 0, {"top_1": 0.5}))
    [path] = (tmp_path / "cells").iterdir()
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a result of a study must be JSON.*a-seed0\.json.*Delete it"):
        read_result(str(tmp_path), "a", 0)


RECORD = b'{"cells": [{"protocol": 3, "encoder": "x", "endpoint": null, "setting": "", "seed": null, "metrics": {}}]}'


@pytest.mark.parametrize("content", [*DAMAGED, b'{"cells": 3}', b'{"cells": [3]}', RECORD], ids=lambda x: repr(x[:20]))
def test_a_result_of_an_evaluation_is_computed_again(tmp_path, content):
    said = []
    store = RecordStore(str(tmp_path), said.append)
    store.write("a", {}, [Record("knn", "pretrained", "h", "", None, {"top_1": 0.5})])
    assert store.read("a") is not None and said == []
    (tmp_path / "cells" / "a.json").write_bytes(content)
    assert store.read("a") is None
    assert len(said) == 1 and "computing it again" in said[0]
