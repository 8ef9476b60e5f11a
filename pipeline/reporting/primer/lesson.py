"""What a lesson of the primer is made of, and how numbers are drawn as boxes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike
from torch import nn

from models.place import Norm, Place
from models.vocabulary import words
from pipeline.reporting import charts
from pipeline.reporting.section import Picture, Section, Words

FOLDER = "primer"
"""Where the pictures lie, beside the page."""


@dataclass(frozen=True)
class Lesson:
    """One thing that a layer does, computed by the layer itself.

    Args:
        title: what one learns.
        file: name of its picture.
        alt: what the picture shows.
        draw: the picture.
        before: Markdown above the picture.
        formula: as text.
        source: who says so.
        after: Markdown below.
        rows: rows of studies in which it matters, by study.
        matters: why it matters there.
    """

    title: str
    file: str
    alt: str
    draw: Callable[[], Figure]
    before: str
    formula: str
    source: str
    after: str
    rows: dict[str, Sequence[str]]
    matters: str

    def section(self, number: int) -> Section:
        """The lesson as a section of a page."""
        picture = Picture(f"{FOLDER}/{self.file}.svg", self.alt, lambda: charts.svg(self.draw))
        named = "; ".join(
            f"{', '.join(f'`{row}`' for row in rows)} of study [`{study}`]({study}.md)"
            for study, rows in self.rows.items()
        )
        formula = f"```text\n{self.formula}\n```\n\nSource: {self.source}."
        matters = f"**Where it matters.** {self.matters} See {named}."
        return Section(
            f"{number}. {self.title}", [Words(self.before), picture, *map(Words, (formula, self.after, matters))]
        )


def layer(word: str, features: int, pixels: int = 0, rate: float = 0.0, **norm: float) -> nn.Module:
    """The layer that a row gets by saying a word.

    Args:
        word: of models/words/.
        features, pixels, rate: of its place, as in `models.place.Place`.
        norm: settings that a row writes under `norm`.
    """
    made = words()[word].layer(Place("head", word, features, pixels, rate, Norm(**norm)))  # type: ignore[arg-type]
    assert made is not None
    return made


def boxes(
    axes: Axes,
    values: ArrayLike,
    left: float = 0,
    top: float = 0,
    most: float = 1,
    digits: int = 1,
    grey: ArrayLike = (),
) -> None:
    """Numbers as boxes, blue above zero and orange below, the stronger the further from it.

    Args:
        axes: with one unit per box, the vertical axis downwards.
        values: R×C.
        left, top: place of the first box.
        most: size of a number that is drawn in full colour.
        digits: decimals.
        grey: R×C flags of boxes to be drawn without colour, if any.
    """
    numbers = np.atleast_2d(np.asarray(values, dtype=float))
    crossed = np.broadcast_to(np.asarray(grey, dtype=bool) if np.size(grey) else np.zeros(1, dtype=bool), numbers.shape)
    for (row, column), value in np.ndenumerate(numbers):
        x, y = left + column, top + row
        colour = charts.BLUE if value >= 0 else charts.VERMILLION
        depth = 0.0 if crossed[row, column] else 0.08 + 0.55 * min(1, abs(value) / most)
        axes.add_patch(Rectangle((x + 0.04, y + 0.08), 0.92, 0.84, facecolor=colour, alpha=depth, linewidth=0))
        axes.add_patch(Rectangle((x + 0.04, y + 0.08), 0.92, 0.84, fill=False, edgecolor=charts.GREY, linewidth=0.6))
        text = f"{value:z.{digits}f}".replace("-", "−")
        axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=8)


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of so many boxes, without axes; labels may stand in its left fourth, at negative places."""
    left = width / 3
    scale = charts.WIDTH / (width + left)
    figure = Figure(figsize=(charts.WIDTH, height * scale * 0.62))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-left, width), ylim=(height, 0))
    axes.set_axis_off()
    return figure, axes
