"""docs/api.md says what the docstrings say, names every public name, and its examples run."""

from __future__ import annotations

import importlib
import re

import pytest

import tf_simclr
from tools import api_reference

MODULES = ("layers", "losses", "optimizers", "schedules", "callbacks", "evaluate")
EXAMPLES = re.findall(r"^## tf_simclr\.(\S+)$.*?^```python\n(.*?)^```", api_reference.reference(), re.M | re.S)


def resolved(name):
    value = tf_simclr
    for part in name.split("."):
        value = getattr(value, part)
    return value


def test_the_page_is_current():
    assert api_reference.PAGE.read_text(encoding="utf-8") == api_reference.reference(), (
        f"docs/api.md is out of date. Run: {api_reference.COMMAND}"
    )


def test_every_public_name_has_an_entry():
    own = set(tf_simclr.PUBLIC) - set(MODULES)
    of_modules = {f"{module}.{name}" for module in MODULES for name in resolved(module).__all__}
    assert own | of_modules - {"layers.resnet"} == set(api_reference.ENTRIES)


@pytest.mark.parametrize(("name", "place"), api_reference.ENTRIES.items())
def test_an_entry_is_what_it_documents(name, place):
    module, _, attribute = place.partition(":")
    assert resolved(name) is getattr(importlib.import_module(module), attribute)


def test_every_entry_has_an_example():
    assert [name for name, _ in EXAMPLES] == list(api_reference.ENTRIES)


@pytest.mark.parametrize(("name", "code"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_the_example_runs(name, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, f"the example of {name}", "exec"), {"__name__": "example"})
