import json
import math

import pytest

from tf_simclr.errors import InputError, require_range
from tf_simclr.files import read_json, to_json, write_json, write_whole


def strictly(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_values_come_back(tmp_path):
    values = {"b": [1, 2.5, None, "é"], "a": {"c": True}}
    path = str(tmp_path / "values.json")
    write_json(path, values)
    assert read_json(path) == values
    assert strictly((tmp_path / "values.json").read_text()) == values
    assert read_json(str(tmp_path / "none.json")) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_named_and_nothing_is_written(tmp_path, value):
    path = tmp_path / "values.json"
    write_json(str(path), {"kept": 1})
    with pytest.raises(InputError, match=r"eval\.rows\[1\]=") as caught:
        write_json(str(path), {"eval": {"rows": [0.5, value]}})
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["values.json"]
    assert strictly(path.read_text()) == {"kept": 1}


def test_other_mistakes_stay_what_they_are():
    loop: list = []
    loop.append(loop)
    with pytest.raises(ValueError, match="Circular"):
        to_json({"a": loop})


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "file"
    write_whole(str(path), b"old")
    write_whole(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("bounds", [{}, {"above": 0.0}, {"at_least": -math.inf}, {"at_most": math.inf}])
def test_a_range_holds_finite_numbers_only(value, bounds):
    with pytest.raises(InputError, match=r"`rate` must be .*finite.* Received: rate="):
        require_range("rate", value, **bounds)


def test_a_number_of_any_size_is_compared():
    with pytest.raises(InputError, match="`seed` must be <= 1"):
        require_range("seed", 10**400, at_most=1)
