"""The gallery as a picture: a column for each test image, a line for each row."""

import math
import textwrap
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.findings.gallery import MOST_ROWS, Exhibit, Gallery, Said
from pipeline.reporting.charts import BLUE, VERMILLION, WIDTH
from pipeline.text import printable

COLUMNS = 10
"""Images side by side at most; more go on below."""

# Inches.
NAMES, SIDE, LINE, LABEL, TITLE, GAP = 1.8, 0.6, 0.19, 0.17, 0.3, 0.22
WIDEST = 1.2

FONT = {"name": 6.5, "label": 8.0, "cell": 6.5}
"""Points."""


@dataclass(frozen=True)
class Band:
    """Images side by side, and below each what the rows say of it."""

    title: str  #: nothing where the band above goes on
    exhibits: list[Exhibit]

    @property
    def width(self) -> float:
        """Of a column, inches."""
        return min(WIDEST, (WIDTH - NAMES - 0.1) / len(self.exhibits))

    @property
    def labels(self) -> list[list[str]]:
        """The class of each image in one or two lines."""
        letters = _letters(self.width, "label")
        wrapped = [textwrap.wrap(exhibit.label, letters) or [""] for exhibit in self.exhibits]
        joined = [lines if len(lines) < 3 else [lines[0], " ".join(lines[1:])] for lines in wrapped]
        return [[_shortened(line, letters) for line in lines] for lines in joined]

    @property
    def top(self) -> float:
        """Height down to the images, inches."""
        return TITLE if self.title else 0.0

    @property
    def head(self) -> float:
        """Height down to the first row, inches."""
        return self.top + SIDE + LABEL * (0.5 + max(map(len, self.labels)))

    @property
    def height(self) -> float:
        """Of the whole, inches."""
        return self.head + LINE * min(len(self.exhibits[0].said), MOST_ROWS) + GAP


def gallery_figure(gallery: Gallery) -> Figure:
    """One band below another: first images, then disputed images."""
    bands = _bands(gallery)
    height = TITLE + GAP + sum(band.height for band in bands)
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1))
    _draw_legend(axes)
    top = TITLE + GAP
    for band in bands:
        _draw_band(axes, top, band)
        top += band.height
    # Inches from the upper left corner; at the end, because images move the limits.
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    axes.set_axis_off()
    return figure


def _bands(gallery: Gallery) -> list[Band]:
    bands: list[Band] = []
    for title, exhibits in (
        ("First test image of each class", gallery.first),
        ("Test image of each class on which the rows disagree most", gallery.disputed),
    ):
        size = math.ceil(len(exhibits) / max(1, math.ceil(len(exhibits) / COLUMNS)))  # bands of even length
        starts = range(0, len(exhibits), max(1, size))
        bands += [Band("" if start else title, exhibits[start : start + size]) for start in starts]
    return bands


def _draw_legend(axes: Axes) -> None:
    words = (
        (BLUE, "the row recognizes the class, with this confidence in %"),
        (VERMILLION, "the row takes it for the class that is named, with this confidence in %"),
    )
    for left, (colour, text) in zip((0.1, 4.2), words, strict=True):
        axes.add_patch(Rectangle((left, 0.14), 0.3, LINE, color=colour, alpha=0.45, linewidth=0))
        _write(axes, left + 0.38, 0.14 + LINE / 2, text, 8, "left")


def _draw_band(axes: Axes, top: float, band: Band) -> None:
    _write(axes, 0.1, top + TITLE / 2, band.title, 9, "left", fontweight="bold")
    below = top + band.head
    for line, said in enumerate(band.exhibits[0].said[:MOST_ROWS]):
        name = _shortened(said.row, _letters(NAMES, "name") - 2) + (" †" if said.leaking else "")
        _write(axes, NAMES - 0.06, below + LINE * (line + 0.5), name, FONT["name"], "right")
    for column, (exhibit, labels) in enumerate(zip(band.exhibits, band.labels, strict=True)):
        left = NAMES + band.width * column
        _draw_image(axes, left + band.width / 2, top + band.top, exhibit)
        for number, label in enumerate(labels):
            height = top + band.top + SIDE + LABEL * (number + 0.6)
            _write(axes, left + band.width / 2, height, label, FONT["label"])
        for line, said in enumerate(exhibit.said[:MOST_ROWS]):
            _draw_cell(axes, left, below + LINE * line, band.width, said)


def _draw_image(axes: Axes, middle: float, top: float, exhibit: Exhibit) -> None:
    """A thumbnail that fills its square as far as its proportions allow."""
    height, width = (SIDE * extent / max(exhibit.pixels.shape[:2]) for extent in exhibit.pixels.shape[:2])
    place = (middle - width / 2, middle + width / 2, top + SIDE, top + SIDE - height)
    axes.imshow(exhibit.pixels, cmap="gray", vmin=0, vmax=255, extent=place, aspect="auto", interpolation="none")


def _draw_cell(axes: Axes, left: float, top: float, width: float, said: Said) -> None:
    room = 0.02
    cell = Rectangle((left + room, top + room), width - 2 * room, LINE - 2 * room)
    cell.set(facecolor=BLUE if said.right else VERMILLION, alpha=0.08 + 0.42 * said.confidence, linewidth=0)
    axes.add_patch(cell)
    name = "" if said.right else _shortened(said.predicted, _letters(width, "cell") - 4) + ": "
    _write(axes, left + width / 2, top + LINE / 2, f"{name}{100 * said.confidence:.0f}", FONT["cell"])


def _write(axes: Axes, x: float, y: float, text: str, size: float, align: str = "center", **more: Any) -> None:
    # Dollars in names are no formulas.
    axes.text(x, y, text, ha=align, va="center", fontsize=size, parse_math=False, **more)


def _letters(width: float, kind: str) -> int:
    """How many letters of usual width so many inches hold."""
    return int(width / (0.6 * FONT[kind] / 72))


def _shortened(text: str, letters: int) -> str:
    """At most so many letters, the end kept: names often differ there."""
    text = printable(text)
    if len(text) <= letters:
        return text
    end = (letters - 1) // 2
    return f"{text[: letters - 1 - end]}…{text[len(text) - end :]}"
