"""The figure of all runs, and what all figures share: a style, and a way to save them that gives the same bytes."""

import io
import re
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from pipeline.findings.stats import Estimate

Numbers = NDArray[np.float64]

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, VERMILLION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#C4C4C4"

WIDTH = 10.0
"""Inches; as wide as a page of a code host shows without shrinking."""

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "disharmony",
    "svg.fonttype": "path",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.columnspacing": 1.5,
    "image.composite_image": False,
}
"""Text becomes outlines, so a viewer needs no fonts; white behind it serves dark pages too; pixels stay as they are."""


@dataclass(frozen=True)
class Dots:
    """One line of the dot figure.

    Args:
        name: of the row.
        values: test accuracy of each run, fractions; of one that failed, that of a guess.
        estimate: their mean and interval.
        published: what a publication reports, a fraction.
        leaking: selected on test images.
    """

    name: str
    values: Sequence[float]
    estimate: Estimate
    published: float | None
    leaking: bool


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's own defaults with what the figures share, whatever the user has configured."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def save_svg(figure: Figure, path: Path) -> None:
    """Writes an SVG without date and program version. To be called within `style`, like what drew the figure.

    Outlines keep hundredths of a point, which nobody sees: half the size, and no rounding errors in the bytes.
    """
    text = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of classes in scripts that the font lacks: boxes
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    short = re.sub(r' d="[^"]*"', lambda outline: re.sub(r"\d+\.\d+", _hundredths, outline[0]), text.getvalue())
    path.write_text(short, encoding="utf-8", newline="\n")


def _hundredths(found: re.Match[str]) -> str:
    return f"{float(found[0]):.2f}"


def dots_figure(groups: Mapping[str, Sequence[Dots]]) -> Figure:
    """Test accuracy of every run, a line per row in the given order, a panel per group.

    Args:
        groups: lines by title of the panel; a single panel goes without title.
    """
    counts = [len(lines) for lines in groups.values()]
    figure = Figure(figsize=(WIDTH, 1.2 + 0.6 * (len(counts) - 1) + 0.32 * sum(counts)), layout="constrained")
    panels = figure.subplots(len(counts), 1, squeeze=False, height_ratios=counts)[:, 0]
    for axes, (title, lines) in zip(panels, groups.items(), strict=True):
        for place, line in enumerate(lines):
            _draw_dots(axes, place, line)
        axes.set(title=title if len(groups) > 1 else "", ylim=(len(lines) - 0.4, -0.6))
        axes.set_yticks(range(len(lines)), [_label(line) for line in lines])
        axes.grid(visible=False, axis="y")
        axes.set_xlim(*_range(lines))
    panels[-1].set_xlabel("test accuracy (%)")
    figure.legend(handles=_dots_legend(groups), loc="outside upper center", ncols=5)
    return figure


def _range(lines: Sequence[Dots]) -> tuple[float, float]:
    """Ends of the axis in percent: all runs, and of the intervals what keeps the runs readable."""
    shown = [100 * value for line in lines for value in (*line.values, line.published) if value is not None]
    low, high = min(shown), max(shown)
    room = max((high - low) / 2, 0.5)
    bounds = [line.estimate for line in lines if line.estimate.half_width is not None]
    left = max(low - room, min([low, *(100 * (bound.low or 0) for bound in bounds)]))
    right = min(high + room, max([high, *(100 * (bound.high or 0) for bound in bounds)]))
    edge = max((right - left) / 30, 0.1)
    return max(left - edge, 0.0), min(right + edge, 100.0)


def _label(line: Dots) -> str:
    return "\n".join(textwrap.wrap(line.name, 32)) + (" †" if line.leaking else "")


def _draw_dots(axes: Axes, place: int, line: Dots) -> None:
    colour = VERMILLION if line.leaking else BLUE
    mean, half = 100 * line.estimate.mean, 100 * (line.estimate.half_width or 0)
    ends = [mean - half, mean + half]
    axes.plot(ends, [place, place], color=colour, alpha=0.3, linewidth=8, solid_capstyle="butt")
    axes.plot(mean, place, "|", color=colour, markersize=14, markeredgewidth=2)
    # Equal values would hide each other, so each run keeps its own height within the line.
    heights = place + (0.16 * np.linspace(-1, 1, len(line.values)) if len(line.values) > 1 else np.zeros(1))
    axes.plot([100 * value for value in line.values], heights, "o", color=colour, markersize=3.5, alpha=0.85)
    if line.published is not None:
        axes.plot(100 * line.published, place, "D", markerfacecolor="white", markeredgecolor="black", markersize=5)


def _dots_legend(groups: Mapping[str, Sequence[Dots]]) -> list[Line2D]:
    def mark(label: str, marker: str, size: float, color: str = BLUE, **more: Any) -> Line2D:
        return Line2D([], [], linestyle="", marker=marker, markersize=size, color=color, label=label, **more)

    lines = [line for group in groups.values() for line in group]
    handles = [
        mark("one run", "o", 3.5),
        mark("mean", "|", 12, markeredgewidth=2),
        Line2D([], [], color=BLUE, alpha=0.3, linewidth=8, label="95 % interval of the mean"),
    ]
    if any(line.published is not None for line in lines):
        handles.append(mark("published", "D", 5, "black", markerfacecolor="white"))
    if any(line.leaking for line in lines):
        handles.append(mark("† selected on test images", "o", 3.5, VERMILLION))
    return handles
