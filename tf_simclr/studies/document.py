"""Blocks of a page, each of which can say itself in HTML and in Markdown."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote

from tf_simclr.evaluate.report.tables import escape_markdown, markdown_table

_STYLE = """
:root { color-scheme: light dark; --text: #1d2329; --back: #ffffff; --line: #c9d1d9; --soft: #f3f5f7;
  --good: #1a6d33; --bad: #b3261e; --open: #6b5900; --link: #0b57d0; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e7ea; --back: #14181c; --line: #414a53; --soft: #20262c;
  --good: #7bd694; --bad: #ff9d94; --open: #e5cd6b; --link: #8ab4f8; } }
body { margin: 0; color: var(--text); background: var(--back); font: 1rem/1.55 system-ui, sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
a { color: var(--link); }
p, li, h1, h2, td, th, dd { overflow-wrap: anywhere; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--soft); padding: .7rem; border-radius: .3rem; }
figure { margin: 1.2rem 0; } figure img { max-width: 100%; height: auto; background: #ffffff; }
figcaption { padding: .3rem 0; font-size: .9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .7rem; text-align: left; vertical-align: top; }
thead th { background: var(--soft); vertical-align: bottom; min-width: 4.5rem; overflow-wrap: normal; }
tbody th { font-weight: normal; } .figures td, .figures tbody th { white-space: nowrap; }
.good, .bad, .open { font-weight: 600; overflow-wrap: normal; }
.good { color: var(--good); } .bad { color: var(--bad); } .open { color: var(--open); }
"""


class Block(Protocol):
    """A part of a page."""

    def to_html(self) -> str:
        """As HTML."""

    def to_markdown(self) -> str:
        """As Markdown."""


@dataclass(frozen=True)
class Heading:
    """The title of a section."""

    text: str

    def to_html(self) -> str:
        """As HTML."""
        return f"<h2>{html.escape(self.text)}</h2>"

    def to_markdown(self) -> str:
        """As Markdown."""
        return f"## {markdown_text(self.text)}"


@dataclass(frozen=True)
class Paragraph:
    """Text, with a name in bold before it where there is one."""

    text: str
    name: str = ""

    def to_html(self) -> str:
        """As HTML."""
        name = f"<strong>{html.escape(self.name)}:</strong> " if self.name else ""
        return f"<p>{name}{html.escape(self.text)}</p>"

    def to_markdown(self) -> str:
        """As Markdown."""
        name = f"**{markdown_text(self.name)}:** " if self.name else ""
        return name + markdown_text(self.text)


@dataclass(frozen=True)
class Links:
    """Words before links to files beside the page: (text, file name)."""

    text: str
    links: Sequence[tuple[str, str]]

    def to_html(self) -> str:
        """As HTML."""
        links = ", ".join(f'<a href="{quote(name)}">{html.escape(text)}</a>' for text, name in self.links)
        return f"<p>{html.escape(self.text)} {links}</p>"

    def to_markdown(self) -> str:
        """As Markdown."""
        links = ", ".join(f"[{markdown_text(text)}]({quote(name)})" for text, name in self.links)
        return f"{markdown_text(self.text)} {links}"


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: Sequence[str]

    def to_html(self) -> str:
        """As HTML."""
        return "<ul>\n" + "\n".join(f"<li>{html.escape(item)}</li>" for item in self.items) + "\n</ul>"

    def to_markdown(self) -> str:
        """As Markdown."""
        return "\n".join(f"- {markdown_text(item)}" for item in self.items)


@dataclass(frozen=True)
class Code:
    """Lines as they are typed."""

    text: str

    def to_html(self) -> str:
        """As HTML."""
        return f"<pre><code>{html.escape(self.text)}</code></pre>"

    def to_markdown(self) -> str:
        """As Markdown: indented, which no text can end."""
        return "\n".join(f"    {line}" for line in self.text.splitlines())


@dataclass(frozen=True)
class Table:
    """Rows of text below a header; the first cell of a row names it.

    Attributes:
        caption: what the table shows.
        rows: the header first, all of one length.
        marks: class of the style sheet for cells with a text.
        figures: whether its rows are short and kept on one line.
    """

    caption: str
    rows: Sequence[Sequence[str]]
    marks: Mapping[str, str] = field(default_factory=dict)
    figures: bool = False

    def to_html(self) -> str:
        """As HTML, in a box that scrolls where the table is wider than the screen."""
        header, *rows = self.rows
        caption = html.escape(self.caption)
        heads = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in header)
        lines = "\n".join(f"<tr>{self._row(row)}</tr>" for row in rows)
        kind = ' class="figures"' if self.figures else ""
        # The caption stands outside of the box: in it, it would be as wide as the table.
        return (
            f"<figure>\n<figcaption>{caption}</figcaption>\n"
            f'<div class="wide" role="region" aria-label="{caption}" tabindex="0">\n'
            f'<table{kind} aria-label="{caption}">\n'
            f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table>\n</div>\n</figure>"
        )

    def _row(self, row: Sequence[str]) -> str:
        first, *others = row
        cells = [f'<th scope="row">{html.escape(first)}</th>']
        for text in others:
            mark = f' class="{self.marks[text]}"' if text in self.marks else ""
            cells.append(f"<td{mark}>{html.escape(text)}</td>")
        return "".join(cells)

    def to_markdown(self) -> str:
        """As Markdown."""
        return f"{markdown_text(self.caption)}\n\n{markdown_table([list(row) for row in self.rows])}"


@dataclass(frozen=True)
class Image:
    """A PNG: inside the HTML page, and beside the Markdown page.

    Attributes:
        caption: below it.
        alternative: what it shows, for who cannot see it.
        png: its bytes.
        link: relative to the page, with "/".
    """

    caption: str
    alternative: str
    png: bytes
    link: str

    def to_html(self) -> str:
        """As HTML."""
        data = base64.b64encode(self.png).decode()
        return (
            f'<figure>\n<img src="data:image/png;base64,{data}" alt="{html.escape(self.alternative)}">\n'
            f"<figcaption>{html.escape(self.caption)}</figcaption>\n</figure>"
        )

    def to_markdown(self) -> str:
        """As Markdown."""
        return f"![{markdown_text(self.alternative)}]({quote(self.link)})"


def markdown_text(text: str) -> str:
    """Text on one line, in which Markdown sees nothing of its own, entities included."""
    return escape_markdown(text).replace("&", r"\&")


def html_page(title: str, blocks: Sequence[Block]) -> str:
    """A page that needs no other file."""
    name, body = html.escape(title), "\n".join(block.to_html() for block in blocks)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{name}</h1>\n{body}\n"
        "</main>\n</body>\n</html>\n"
    )


def markdown_page(title: str, blocks: Sequence[Block]) -> str:
    """The same content as Markdown."""
    return "\n\n".join([f"# {markdown_text(title)}", *(block.to_markdown() for block in blocks)]) + "\n"
