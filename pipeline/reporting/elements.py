"""What the pages are made of: tables, charts and pictures as HTML, accessible without further care.

The HTML itself stands in assets/elements.html; charts are drawn in the browser by assets/charts.js.
"""

import io
import json
import math
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from pipeline.reporting.prose import inline, prose

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


def exhibits(caption: str, shown: Sequence[dict[str, Any]]) -> Markup:
    """Pictures, and below each what every row says of it.

    Args:
        caption: which pictures.
        shown: each a `picture` and an `exhibit` of the gallery; the same rows speak of all.
    """
    return _elements().exhibits(caption, shown)


def picture(pixels: NDArray[np.uint8]) -> str:
    """The address of a picture that lies in the address itself.

    Args:
        pixels: H×W or H×W×3.
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png", optimize=True)
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"


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
