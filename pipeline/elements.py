"""What the pages are made of: prose, tables and charts as HTML, accessible without further care.

The HTML itself stands in assets/elements.html; charts are drawn in the browser by assets/charts.js.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

ASSETS = Path(__file__).parent / "assets"

DIGITS = 4
"""Significant digits of a number in a chart: finer than a pixel, and half the size of a page."""


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Args:
        title: its heading, unique on the page.
        body: its HTML.
    """

    title: str
    body: Markup

    @property
    def anchor(self) -> str:
        """The part of a link after #."""
        return re.sub(r"\W+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Cell:
    """One cell of a sortable table: what it shows, and what it is sorted by; nothing is sorted last."""

    text: str | Markup
    value: float | str | None = None


@cache
def environment() -> Environment:
    """The templates of assets/."""
    loader = FileSystemLoader(ASSETS, encoding="utf-8")
    return Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def words(heading: str, body: str, pictures: Path) -> Section:
    """A section of a Markdown report.

    Args:
        heading, body: Markdown.
        pictures: the folder with what it shows.
    """
    title = str(inline(heading).striptags())
    return Section(title, prose(body, title, pictures))


def prose(text: str, about: str, pictures: Path | None = None) -> Markup:
    """Markdown with tables as HTML, its pictures within it; HTML in the text is shown as text.

    Args:
        text: paragraphs, lists, code, tables and pictures.
        about: what a table is about, for those who hear it.
        pictures: the folder with the pictures.
    """
    return Markup(_markdown().render(text, {"about": about, "pictures": pictures}))


def inline(text: str) -> Markup:
    """One line of Markdown as HTML."""
    return Markup(_markdown().renderInline(text))


def table(caption: str, head: Sequence[tuple[str, str]], lines: Sequence[Sequence[Cell]]) -> Markup:
    """A table that readers can sort.

    Args:
        caption: what it holds.
        head: heading of each column, and what it means, or nothing.
        lines: cells; the first column is sorted, the second names the line.
    """
    return _elements().table(caption, head, lines)


def chart(kind: Literal["curves", "dots", "matrix"], title: str, description: str, data: dict[str, Any]) -> Markup:
    """A chart that the browser draws.

    Args:
        kind: a function of assets/charts.js.
        title: what it shows.
        description: how to read it, Markdown.
        data: what this function takes.
    """
    text = json.dumps(_short(data), separators=(",", ":"), ensure_ascii=False)
    # Within a script, only what could end it must be written otherwise.
    return _elements().chart(kind, title, inline(description), Markup(text.replace("<", "\\u003c")))


def details(summary: str, body: Markup) -> Markup:
    """A part that opens on demand."""
    return _elements().details(summary, body)


def _elements() -> Any:
    return environment().get_template("elements.html").module


def _short(data: Any) -> Any:
    """Numbers with few digits; null where there is none, since JSON has no nan."""
    if isinstance(data, dict):
        return {key: _short(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_short(value) for value in data]
    if not isinstance(data, float):
        return data
    if not math.isfinite(data):
        return None
    short = float(f"{data:.{DIGITS}g}")
    return int(short) if short.is_integer() else short


@cache
def _markdown() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.core.ruler.push("row_headers", lambda state: _name_rows(state.tokens))
    parser.add_render_rule("image", _embed)
    parser.add_render_rule("table_open", _open_table)
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    return parser


def _embed(_: Any, tokens: Sequence[Token], place: int, options: Any, context: dict[str, Any]) -> str:
    """A picture within the page; of the reports, all are SVG."""
    source = context["pictures"] / Path(str(tokens[place].attrs["src"])).name
    data = quote(source.read_text(encoding="utf-8"), safe=" /:=,;()")
    return Markup('<img alt="{}" src="data:image/svg+xml,{}">').format(tokens[place].content, Markup(data))


def _open_table(_: Any, tokens: Sequence[Token], place: int, options: Any, context: dict[str, Any]) -> str:
    about = Markup.escape(context["about"])
    return f'<div class="scroll" role="region" tabindex="0" aria-label="Table: {about}"><table>'


def _name_rows(tokens: list[Token]) -> None:
    """Says which cells name a column and which a line: all of the head, and the first of each line."""
    opened: Token | None = None
    for before, token in pairwise(tokens):
        if token.type == "th_open":
            token.attrSet("scope", "col")
        elif token.type == "td_open" and before.type == "tr_open":
            token.tag, opened = "th", token
            token.attrSet("scope", "row")
        elif token.type == "td_close" and opened:
            token.tag, opened = "th", None
