"""The site: every page has its place in the navigation, every image its text, and the build accepts no dead link."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs" / "site"
NAVIGATION = json.loads((SITE / "navigation.json").read_text(encoding="utf-8"))
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FIRST = ROOT / "README.md"
MISSING = [name for name in ("sphinx", "myst_parser", "furo") if importlib.util.find_spec(name) is None]
needs_sphinx = pytest.mark.skipif(bool(MISSING), reason=f"no {', '.join(MISSING)}: requirements-docs.txt has them")
pytestmark = pytest.mark.python_alone


def page_of(entry):
    """The path in an entry `path` or `title <path>`."""
    titled = re.fullmatch(r".+ <(.+)>", entry)
    return titled[1] if titled else entry


def images_without_text(text):
    """Images of a page, in Markdown or HTML, that a reader who cannot see them learns nothing about."""
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)
    tags = [tag for tag in re.findall(r"<img\b[^>]*>", text) if not re.search(r'\balt="[^"]*\w', tag)]
    return re.findall(r"!\[\W*\]\([^)]*\)", text) + tags


def build(root, to):
    """Builds the site of a checkout strictly; returns what was printed and the exit code."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", root / "docs" / "site", root, to]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr, done.returncode


def test_each_page_is_in_the_navigation_once():
    listed = sorted(page_of(entry) for pages in NAVIGATION.values() for entry in pages)
    assert listed == sorted(page.relative_to(ROOT).as_posix() for page in PAGES if page != FIRST)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_each_image_has_a_text(page):
    assert not images_without_text(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("![A curve](a.png)", 0),
        ("![](a.png)", 1),
        ("![ ](a.png) ![b](b.png)", 1),
        ("`![](a.png)`", 0),
        ('<img src="a.png" alt="A curve">', 0),
        ('<img src="a.png">', 1),
        ('<img src="a.png" alt="">', 1),
    ],
)
def test_an_image_without_text_is_found(text, found):
    assert len(images_without_text(text)) == found


@needs_sphinx
def test_the_site_builds_without_warnings_and_opens_from_disk(tmp_path):
    output, code = build(ROOT, tmp_path)
    assert code == 0, output
    for page in PAGES:
        html = (tmp_path / page.relative_to(ROOT).with_suffix(".html")).read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img)[^>]*\bsrc="([^"]+)|<link[^>]*\brel="stylesheet"[^>]*href="([^"]+)', html)
        assert loaded and not [address for pair in loaded for address in pair if re.match(r"(https?:)?//", address)]
        for target in re.findall(r'<a[^>]*\bhref="(?![a-z]+:)([^"#?]+)', html):
            assert (tmp_path / page.parent.relative_to(ROOT) / target).is_file(), f"{page.name}: {target}"
    assert (tmp_path / "index.html").read_text(encoding="utf-8").count('class="caption"') == len(NAVIGATION)
    assert "--resnet_depth=18" in (tmp_path / "tf_simclr" / "configs" / "index.html").read_text(encoding="utf-8")


@needs_sphinx
@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("[gone](gone.md)", "gone.md"),
        ("[no such heading](page.md#gone)", "gone"),
        ("![A curve](gone.png)", "gone.png"),
        (None, "page.md"),  # the page is in no navigation
    ],
)
def test_a_dead_link_and_a_page_without_a_place_fail(text, warning, tmp_path):
    root = tmp_path / "checkout"
    shutil.copytree(SITE, root / "docs" / "site")
    (root / "tf_simclr").mkdir()
    (root / "tf_simclr" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    (root / "README.md").write_text("# First\n")
    (root / "docs" / "page.md").write_text(f"# Page\n\n{text}\n")
    listed = ["docs/page.md"] if text else []
    (root / "docs" / "site" / "navigation.json").write_text(json.dumps({"All": listed}))
    output, code = build(root, tmp_path / "site")
    assert code == 1 and warning in output
