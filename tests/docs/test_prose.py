"""The prose reads as plain modern English: proselint's checks, and our own list of words, `words.json`."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from proselint.checks import __register__ as stock_checks
from proselint.config import DEFAULT
from proselint.registry import CheckRegistry
from proselint.registry.checks import Check, CheckFlags, types
from proselint.tools import LintFile

ROOT = Path(__file__).parents[2]
# Both are made from docstrings and help texts, which are checked where they stand.
GENERATED = {"api.md", "flags.md"}
PAGES = sorted(
    [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    + [page for page in ROOT.glob("docs/*.md") if page.name not in GENERATED]
)
# Help texts, log lines and error messages are strings of this code.
CODE = sorted([ROOT / "run.py", *ROOT.glob("tf_simclr/**/*.py"), *ROOT.glob("tools/*.py")])
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
CONFIGS = sorted(ROOT.glob("tf_simclr/configs/**/*.cfg"))
# Word: what to write instead.
WORDS = json.loads((Path(__file__).parent / "words.json").read_text(encoding="utf-8"))
OURS = "words"
# Typography and spelling are those of Markdown tables, formulas and British English, with `color` in names.
WITHOUT = ("typography", "spelling", "dates_times", "restricted", "uncomparables", "lexical_illusions")
STOCK = {name: used and not name.startswith(WITHOUT) for name, used in DEFAULT["checks"].items()}


@pytest.fixture(scope="module", autouse=True)
def checks():
    """Ours beside proselint's, in the registry that its linter reads."""
    ours = Check(
        check_type=types.PreferredForms({f"(?:{word})": instead for word, instead in WORDS.items()}),
        path=OURS,
        message="'{1}': write {0}",
        flags=CheckFlags(allow_quotes=True),
    )
    CheckRegistry().register_many((*stock_checks, ours))


def problems(text, name, enabled):
    """`name:line: message` of everything that the checks find in a text."""
    found = LintFile(source=name, content=text).lint({"max_errors": 1000, "checks": enabled}) if text else []
    return [f"{name}:{result.pos[0]}: {result.check_result.message}" for result in found]


def prose_of(page):
    """The text of a page with blanks in place of code and of the targets of links; lines keep their numbers."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`|\]\([^)\s]*\)|^ {4}.*$", "_", text, flags=re.MULTILINE)


def prose_of_code(source):
    """Comments, docstrings and messages: strings of several words. Names and keys are left out."""
    lines = [re.search(r"(?:^|\s)# (.*)", line) for line in source.splitlines()]
    kept = [found[1] if found else "" for found in lines]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            for offset, line in enumerate(node.value.splitlines()):
                place = min(node.lineno - 1 + offset, len(kept) - 1)
                kept[place] += " " + re.sub(r"`[^`]*`", "_", line)
    return "\n".join(kept)


def prose_of_notebook(content):
    """Its cells, without their outputs: the text of Markdown, and what `prose_of_code` takes of code."""
    cells = [("".join(cell["source"]), cell["cell_type"]) for cell in json.loads(content)["cells"]]
    return "\n".join(
        prose_of_code(source) if kind == "code" else re.sub(r"`[^`]*`", "_", source) for source, kind in cells
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages(page):
    assert not problems(prose_of(page), page.name, STOCK | {OURS: True})


@pytest.mark.parametrize(
    ("paths", "prose"),
    [(CODE, prose_of_code), (CONFIGS, str), (NOTEBOOKS, prose_of_notebook)],
    ids=["code", "configs", "notebooks"],
)
def test_docstrings_comments_messages_configs_and_notebooks(paths, prose):
    assert paths
    texts = [(path.name, prose(path.read_text(encoding="utf-8"))) for path in paths]
    assert not [found for name, text in texts for found in problems(text, name, {OURS: True})]


def test_every_help_text_and_message_is_among_what_is_checked():
    for module, words in {
        "config/model.py": "Temperature tau of the loss.",
        "cli/failures.py": "Put it back, or check the path, and run the same command again",
        "cli/prepare.py": "received: nothing is written to",  # a part of an f-string
    }.items():
        path = ROOT / "tf_simclr" / module
        assert path in CODE and words in prose_of_code(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("one\n\nThe model is judged by it.\n", 3),
        ("Wait for ever.\n", 1),
        ("It shows a picture.\n", 1),
        ('What "nobody was told".\n', 1),
    ],
)
def test_the_line_of_a_word_is_named(text, line):
    [found] = problems(text, "page.md", STOCK | {OURS: True})
    assert found.startswith(f"page.md:{line}: ")


def test_code_is_no_prose(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("`told` and [a page](verdict.md)\n\n```bash\necho judged\n```\n\n    picture\n\nmend\n")
    assert [line.split(":")[1] for line in problems(prose_of(page), "page.md", {OURS: True})] == ["9"]
    source = 'told = {"pictures": 1}  # told here\n\n\ndef f():\n    """One.\n\n    A verdict.\n    """\n'
    assert [line.split(":")[1] for line in problems(prose_of_code(source), "a.py", {OURS: True})] == ["1", "7"]
