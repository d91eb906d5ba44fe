"""The site of the documents, built from the pages as they stand in the checkout.

python -m pip install -r requirements-docs.txt
python -m sphinx -W --keep-going -c docs/site . build/site    # every warning is an error
xdg-open build/site/index.html                                # opens from disk and needs no server

README.md is the first page. It gets the navigation of navigation.json appended, whose entries are `page` or
`title <page>`. A link to a file that is no page copies the file. A link to a directory leads to a page that shows the
files in it.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NAVIGATION: dict[str, list[str]] = json.loads((HERE / "navigation.json").read_text(encoding="utf-8"))
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#:\s]+)\)")
INDEX = "index"

project = "tf_simclr"
author = "The tf_simclr authors"
copyright = "the tf_simclr authors, Apache 2.0"
version = release = re.findall(r'^__version__ = "(.+)"', (ROOT / "tf_simclr" / "__init__.py").read_text(), re.M)[0]

root_doc = "README"
include_patterns = ["*.md", "docs/**.md"]
extensions = ["myst_parser"]
myst_heading_anchors = 4
smartquotes = False  # it would turn the two hyphens of a flag into a dash
html_theme = "furo"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_title = f"{project} {release}"
html_copy_source = False
html_show_search_summary = False  # it would fetch the pages found, which browsers refuse from disk
html_show_sphinx = False


def add_navigation(app: Any, page: str, source: list[str]) -> None:
    """Appends the navigation to the first page, and turns links to directories into links to their listings."""
    if page == root_doc:
        for title, pages in NAVIGATION.items():
            source[0] += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {title}", "", *pages, "```", ""])
    folder = (ROOT / page).parent

    def linked(match: re.Match[str]) -> str:
        text, target = match.groups()
        if not (folder / target).is_dir():
            return match[0]
        app.env.listed_directories.add((folder / target).resolve())
        return f'<a href="{target.rstrip("/")}/{INDEX}.html">{html.escape(text)}</a>'

    source[0] = LINK.sub(linked, source[0])


def list_directories(app: Any) -> Iterator[tuple[str, dict[str, str], str]]:
    """A page for each directory that a page links to: its text files, one under the other."""
    for directory in sorted(app.env.listed_directories):
        name = directory.relative_to(ROOT).as_posix()
        body = [f"<h1>{html.escape(name)}</h1>"]
        for path in sorted(p for p in directory.rglob("*") if p.is_file() and p.suffix in (".cfg", ".md", ".yaml")):
            text = html.escape(path.read_text(encoding="utf-8"))
            body.append(f"<h2>{html.escape(path.relative_to(directory).as_posix())}</h2><pre>{text}</pre>")
        yield f"{name}/{INDEX}", {"title": name, "body": "\n".join(body)}, "page.html"


def add_start_page(app: Any, failure: Exception | None) -> None:
    """Writes the first page under the name that servers and readers look for, too."""
    if failure is None:
        first = Path(app.outdir) / f"{root_doc}.html"
        first.with_name(f"{INDEX}.html").write_bytes(first.read_bytes())


def prepare(app: Any) -> None:
    """Kept with the environment, so that a second build, which reads changed pages only, lists the same."""
    if not hasattr(app.env, "listed_directories"):
        app.env.listed_directories = set()


def setup(app: Any) -> dict[str, bool]:
    """Connects the above to Sphinx."""
    app.connect("builder-inited", prepare)
    app.connect("source-read", add_navigation)
    app.connect("html-collect-pages", list_directories)
    app.connect("build-finished", add_start_page)
    return {"parallel_read_safe": False}
