from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "flag_reference.py"


@pytest.fixture
def tool():
    """The tool as a module of its own, whose page a test may replace."""
    spec = importlib.util.spec_from_file_location("flag_reference", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_flags_are_now(tool):
    written = tool.PAGE.read_text(encoding="utf-8")
    assert written == tool.reference(), f"docs/flags.md is out of date. Run: {tool.COMMAND}"


def test_every_flag_and_its_origin_are_there(tool):
    rows = [line for line in tool.reference().splitlines() if line.startswith("| `--")]
    authors = {row.split("`")[1].removeprefix("--") for row in rows if "| authors |" in row}
    assert authors == tool.AUTHORS_FLAGS
    assert all("| authors |" in row or "| ours |" in row for row in rows)
    assert any(row.startswith("| `--temperature` | number, > 0 | `0.1` | authors |") for row in rows)
    assert any(row.startswith("| `--seed` | integer, ≥ 0 | `0` | ours |") for row in rows)
    assert any(row.startswith("| `--use_tpu` | switch | `False` (`True`) | authors |") for row in rows)


def test_the_differences_name_every_flag_of_ours_that_run_py_has(tool):
    differs = (tool.ROOT / "docs" / "differences.md").read_text(encoding="utf-8")
    ours = {field.name for group in tool.ALL_FLAG_GROUPS for field in group.fields} - tool.AUTHORS_FLAGS
    assert ours == {name for name in ours if f"`--{name}`" in differs}


def test_a_bar_stays_inside_its_cell(tool):
    assert tool.table_row(["a|b", "c"]) == r"| a\|b | c |"


def test_check_says_what_to_run(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    monkeypatch.setattr(tool, "PAGE", tmp_path / "flags.md")
    assert tool.main(["--check"]) == 1
    assert tool.COMMAND in capsys.readouterr().err
    assert tool.main([]) == 0
    assert tool.main(["--check"]) == 0
