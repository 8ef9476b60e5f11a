"""The figure of all runs, and what all figures share: a style, and a way to save them that gives the same bytes."""

import io
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from pipeline.findings.measured import Result
from pipeline.findings.wording import named
from pipeline.params.quantities import ACCURACY

Numbers = NDArray[np.float64]

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, VERMILLION, GREEN, PURPLE, GREY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#c4c4c4"
INK, QUIET, RULE, PAPER = "#1b1f24", "#57606a", "#e6e6e6", "#ffffff"

DARK = {
    BLUE: "#56b4e9",
    VERMILLION: "#ff9a56",
    GREEN: "#3ecfa4",
    PURPLE: "#e79bcb",
    GREY: "#68717c",
    INK: "#e6e9ec",
    QUIET: "#a3adb8",
    RULE: "#30363d",
    PAPER: "#16191d",
}
"""What each colour becomes for a reader who prefers dark pages; the paper is part of the picture, so that it can be
read on a page of either kind."""

DARK_RULES = "".join(
    f'[style*="{what}: {light}"]{{{what}: {dark} !important}}'
    for light, dark in DARK.items()
    for what in ("fill", "stroke")
)

WIDTH = 10.0
"""Inches; as wide as a page of a code host shows without shrinking."""

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "disharmony",
    "svg.fonttype": "path",
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "axes.facecolor": PAPER,
    **dict.fromkeys(["text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"], INK),
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.columnspacing": 1.5,
    "image.composite_image": False,
}
"""Text becomes outlines, so a viewer needs no fonts; pixels stay as they are."""


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's own defaults with what the figures share, whatever the user has configured."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def svg(draw: Callable[[], Figure]) -> str:
    """A figure as SVG, without date and program version.

    Outlines keep hundredths of a point, which nobody sees: half the size, and no rounding errors in the bytes.
    """
    text = io.StringIO()
    with style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of classes in scripts that the font lacks: boxes
        draw().savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    short = re.sub(r' d="[^"]*"', lambda outline: re.sub(r"\d+\.\d+", _hundredths, outline[0]), text.getvalue())
    return short.replace("</style>", f"@media (prefers-color-scheme: dark) {{{DARK_RULES}}}</style>", 1)


def _hundredths(found: re.Match[str]) -> str:
    return f"{float(found[0]):.2f}"


def dots_figure(group: Sequence[Result]) -> Figure:
    """Test accuracy of every run, a line per row in the given order.

    Args:
        group: rows of one data set.
    """
    figure = Figure(figsize=(WIDTH, 1.2 + 0.32 * len(group)), layout="constrained")
    axes = figure.subplots()
    for place, result in enumerate(group):
        _draw_dots(axes, place, result)
    axes.set(xlabel="test accuracy (%)", xlim=_range(group), ylim=(len(group) - 0.4, -0.6))
    axes.set_yticks(range(len(group)), ["\n".join(textwrap.wrap(named(result), 34)) for result in group])
    axes.grid(visible=False, axis="y")
    figure.legend(handles=_dots_legend(group), loc="outside upper center", ncols=5)
    return figure


def _accuracies(result: Result) -> list[float]:
    """Of each run, in percent; of one that failed, that of a guess."""
    return [100 * value for value in result.measure(ACCURACY).values()]


def published(result: Result) -> float | None:
    """What a publication reports, in percent."""
    known = result.row.published
    return 100 * known.accuracy if known and known.accuracy is not None else None


def _range(group: Sequence[Result]) -> tuple[float, float]:
    """Ends of the axis in percent: all runs, and of the intervals what keeps the runs readable."""
    known = [[*_accuracies(result), published(result)] for result in group]
    shown = [value for values in known for value in values if value is not None]
    low, high = min(shown), max(shown)
    room = max((high - low) / 2, 0.5)
    bounds = [result.accuracy for result in group if result.accuracy.half_width is not None]
    left = max(low - room, min([low, *(100 * (bound.low or 0) for bound in bounds)]))
    right = min(high + room, max([high, *(100 * (bound.high or 0) for bound in bounds)]))
    edge = max((right - left) / 30, 0.1)
    return max(left - edge, 0.0), min(right + edge, 100.0)


def _draw_dots(axes: Axes, place: int, result: Result) -> None:
    colour = VERMILLION if result.leaking else BLUE
    mean, half = 100 * result.accuracy.mean, 100 * (result.accuracy.half_width or 0)
    axes.plot([mean - half, mean + half], [place] * 2, color=colour, alpha=0.3, linewidth=8, solid_capstyle="butt")
    axes.plot(mean, place, "|", color=colour, markersize=14, markeredgewidth=2)
    # Equal values would hide each other, so each run keeps its own height within the line.
    values = _accuracies(result)
    heights = place + (0.16 * np.linspace(-1, 1, len(values)) if len(values) > 1 else np.zeros(1))
    axes.plot(values, heights, "o", color=colour, markersize=3.5, alpha=0.85)
    if (known := published(result)) is not None:
        axes.plot(known, place, "D", markerfacecolor=PAPER, markeredgecolor=INK, markersize=5)


def _dots_legend(group: Sequence[Result]) -> list[Line2D]:
    def mark(label: str, marker: str, size: float, color: str = BLUE, **more: Any) -> Line2D:
        return Line2D([], [], linestyle="", marker=marker, markersize=size, color=color, label=label, **more)

    handles = [
        mark("one run", "o", 3.5),
        mark("mean", "|", 12, markeredgewidth=2),
        Line2D([], [], color=BLUE, alpha=0.3, linewidth=8, label="95 % interval of the mean"),
    ]
    if any(published(result) is not None for result in group):
        handles.append(mark("published", "D", 5, INK, markerfacecolor=PAPER))
    if any(result.leaking for result in group):
        handles.append(mark("† selected on test images", "o", 3.5, VERMILLION))
    return handles
