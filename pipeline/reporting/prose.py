"""Markdown as HTML: what the Markdown report says, in the same words, for the page."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any
from urllib.parse import quote, unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup


def prose(text: str, about: str, pictures: Mapping[str, str] | None = None) -> Markup:
    """Markdown with tables as HTML, its pictures within it; HTML in the text is shown as text.

    Args:
        text: paragraphs, lists, code, tables and pictures.
        about: what a table is about, for those who hear it.
        pictures: SVG by the path under which the text shows it.
    """
    return Markup(_markdown().render(text, {"about": about, "pictures": pictures}))


def inline(text: str) -> Markup:
    """One line of Markdown as HTML."""
    return Markup(_markdown().renderInline(text))


@cache
def _markdown() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.core.ruler.push("row_headers", lambda state: _name_rows(state.tokens))
    parser.core.ruler.push("links", lambda state: _link_pages(state.tokens))
    parser.add_render_rule("image", _embed)
    parser.add_render_rule("table_open", _open_table)
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    return parser


def _embed(_: Any, tokens: Sequence[Token], place: int, options: Any, context: dict[str, Any]) -> str:
    """A picture within the page."""
    data = quote(context["pictures"][unquote(str(tokens[place].attrs["src"]))], safe=" /:=,;()")
    return Markup('<img alt="{}" src="data:image/svg+xml,{}">').format(tokens[place].content, Markup(data))


def _open_table(_: Any, tokens: Sequence[Token], place: int, options: Any, context: dict[str, Any]) -> str:
    about = Markup.escape(context["about"])
    return f'<div class="scroll" role="region" tabindex="0" aria-label="Table: {about}"><table class="sortable">'


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


def _link_pages(tokens: Sequence[Token]) -> None:
    """Lets links to other reports lead to their pages."""
    for link in (child for token in tokens for child in token.children or () if child.type == "link_open"):
        address = str(link.attrs["href"])
        if address.endswith(".md") and ":" not in address:
            link.attrSet("href", f"{address.removesuffix('.md')}.html")
