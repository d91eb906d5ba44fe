"""Pages from templates: the same content as HTML and as Markdown, in each of which text stays text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tf_simclr.escape import as_text
from tf_simclr.evaluate.report.marks import Bold
from tf_simclr.evaluate.report.tables import escape_markdown, markdown_table
from tf_simclr.optional import require_jinja2


def render(name: str, content: Mapping[str, Any]) -> str:
    """A template of templates/, filled in.

    Args:
        name: of the template; what it ends in, .html or .md, says what is escaped.
        content: its variables.

    Raises:
        InputError: jinja2 is missing.
    """
    jinja2 = require_jinja2()
    as_html = name.endswith(".html")
    # In Markdown, `_markdown_text` escapes.
    environment = jinja2.Environment(  # nosec B701
        loader=jinja2.PackageLoader("tf_simclr.studies"),
        autoescape=as_html,
        finalize=_html_text if as_html else _markdown_text,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    markup = environment.filters["safe"]
    environment.tests["bold"] = lambda text: isinstance(text, Bold)
    environment.filters["table"] = lambda rows: markup(markdown_table(rows))
    return environment.get_template(name).render(content)


def _html_text(value: Any) -> Any:
    """Text in which nothing works that a page does not show; jinja2 escapes what HTML would take for its own."""
    return as_text(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _markdown_text(value: Any) -> Any:
    """Text on one line, in which Markdown sees nothing of its own; as it is where it was marked as safe."""
    if hasattr(value, "__html__"):
        return value
    return escape_markdown(str(value)).replace("&", r"\&")
