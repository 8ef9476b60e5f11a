"""A section of a report is one object that shows itself as Markdown and as HTML: a title and its parts.

Most parts are words, written in Markdown once. What a browser shows better, a chart to switch or a gallery, names the
parts that stand for it in Markdown. The HTML itself stands in assets/elements.html, accessible without further care;
charts are drawn in the browser by assets/charts.js.
"""

import io
import json
import math
import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from pipeline.reporting.prose import inline, prose

ASSETS = Path(__file__).parent / "assets"

DIGITS = 4
"""Significant digits of a number in a chart: finer than a pixel, and half the size of a page."""


class Part(Protocol):
    """What a section is made of."""

    @property
    def markdown(self) -> str:
        """As Markdown; empty where it has nothing to show there."""
        ...

    def html(self, about: str) -> Markup:
        """As HTML.

        Args:
            about: title of the section, for those who hear a table.
        """
        ...

    @property
    def pictures(self) -> "Sequence[Picture]":
        """The files that Markdown shows."""
        ...


@dataclass(frozen=True)
class Words:
    """Paragraphs, lists, code and tables.

    Args:
        markdown: as written.
        pictures: that it shows.
    """

    markdown: str
    pictures: "Sequence[Picture]" = ()

    def html(self, about: str) -> Markup:
        return prose(self.markdown, about, {picture.path: picture.svg for picture in self.pictures})


@dataclass(frozen=True)
class Picture:
    """A picture, which Markdown has in a file beside the report, and the page within it.

    Args:
        path: of the file, from the report: `<study>/<name>.svg`.
        alt: what it shows, for those who do not see it.
        draw: gives it as SVG.
    """

    path: str
    alt: str
    draw: Callable[[], str]

    @cached_property
    def svg(self) -> str:
        """The content of the file."""
        return self.draw()

    @property
    def markdown(self) -> str:
        return f"![{self.alt}]({self.path})"

    def html(self, about: str) -> Markup:
        return prose(self.markdown, about, {self.path: self.svg})

    @property
    def pictures(self) -> "Sequence[Picture]":
        return [self]


@dataclass(frozen=True)
class Shown:
    """What a browser shows better than Markdown can.

    Args:
        page: its HTML.
        instead: what Markdown shows in its place, if anything.
    """

    page: Markup
    instead: Sequence[Part] = ()

    @property
    def markdown(self) -> str:
        return _joined(self.instead)

    def html(self, about: str) -> Markup:
        return self.page

    @property
    def pictures(self) -> Sequence[Picture]:
        return [picture for part in self.instead for picture in part.pictures]


@dataclass(frozen=True)
class Section:
    """A part of a report with a heading of its own.

    Args:
        title: Markdown, unique in the report.
        parts: from top to bottom.
    """

    title: str
    parts: Sequence[Part]

    def markdown(self, level: int = 2) -> str:
        """As Markdown, with a heading of that level, 0 for none; empty where nothing of it is shown there."""
        body = _joined(self.parts)
        return f"{'#' * level} {self.title}\n\n{body}" if body and level else body

    @cached_property
    def html(self) -> Markup:
        """What stands below its heading on the page."""
        return Markup("").join(part.html(self.heading) for part in self.parts)

    @property
    def heading(self) -> str:
        """The title as text."""
        return str(inline(self.title).striptags())

    @property
    def anchor(self) -> str:
        """The part of a link after #."""
        return anchor(self.heading)

    @property
    def pictures(self) -> Sequence[Picture]:
        """All files that Markdown shows."""
        return [picture for part in self.parts for picture in part.pictures]


@dataclass(frozen=True)
class Fold:
    """Sections that open on demand, under a heading that says what is in them.

    Args:
        title: the heading, text.
        sections: one or more.
    """

    title: str
    sections: Sequence[Section]

    @property
    def markdown(self) -> str:
        """As Markdown; empty where nothing of it is shown there."""
        level = 3 if len(self.sections) > 1 else 0
        body = "\n\n".join(filter(None, (section.markdown(level) for section in self.sections)))
        return body and f"<details>\n<summary><strong>{self.title}</strong></summary>\n\n{body}\n\n</details>"

    @property
    def shown(self) -> Sequence[Section]:
        """The sections of which the page shows anything."""
        return [section for section in self.sections if section.html]

    @property
    def anchor(self) -> str:
        """The part of a link after #."""
        return anchor(self.title)

    @property
    def pictures(self) -> Sequence[Picture]:
        """All files that Markdown shows."""
        return [picture for section in self.sections for picture in section.pictures]


def anchor(title: str) -> str:
    """The part of a link after #."""
    return re.sub(r"\W+", "-", title.lower()).strip("-")


def _joined(parts: Sequence[Part]) -> str:
    return "\n\n".join(filter(None, (part.markdown for part in parts)))


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


class Cell(NamedTuple):
    """A cell of a coloured table."""

    text: str
    share: float | None  #: depth of its colour, 0 to 1; None for none


def chart(
    kind: Literal["curves", "dots", "matrix"], title: str, description: str, data: dict[str, Any], *instead: Part
) -> Shown:
    """A chart that the browser draws.

    Args:
        kind: a function of assets/charts.js.
        title: what it shows.
        description: how to read it, Markdown.
        data: what this function takes.
        instead: what Markdown shows in its place.
    """
    text = json.dumps(_short(data), separators=(",", ":"), ensure_ascii=False)
    # Within a script, only what could end it must be written otherwise.
    script = Markup(text.replace("<", "\\u003c"))
    return Shown(_elements().chart(kind, title, inline(description), script), instead)


def exhibits(caption: str, shown: Sequence[dict[str, Any]], *instead: Part) -> Shown:
    """Pictures, and below each what every row says of it.

    Args:
        caption: which pictures.
        shown: each a `picture` and an `exhibit` of the gallery; the same rows speak of all.
        instead: what Markdown shows in its place.
    """
    return Shown(_elements().exhibits(caption, shown), instead)


def shaded(
    title: str, note: str, head: Sequence[str], lines: Sequence[tuple[str, Sequence[Cell]]], *instead: Part
) -> Shown:
    """A table whose cells are coloured by a number.

    Args:
        title: what it holds.
        note: how to read it.
        head: of all columns.
        lines: name and cells of each.
        instead: what Markdown shows in its place.
    """
    return Shown(_elements().shaded(title, note, head, lines), instead)


def details(summary: str, body: str) -> Shown:
    """A part that opens on demand; nothing in Markdown.

    Args:
        summary: what it holds.
        body: Markdown.
    """
    return Shown(_elements().details(summary, prose(body, summary)))


def picture(pixels: NDArray[np.uint8]) -> str:
    """The address of a picture that lies in the address itself.

    Args:
        pixels: H×W or H×W×3.
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png", optimize=True)
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"


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
