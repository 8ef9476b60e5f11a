"""The report's figures: pure functions of numbers, and a way to save them that gives the same bytes everywhere."""

import io
import math
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from pipeline.stats import Estimate

Numbers = NDArray[np.float64]

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, VERMILLION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#C4C4C4"

LINES: dict[str, tuple[str, Literal[":", "-"]]] = {
    "training": (VERMILLION, ":"),
    "validation": (BLUE, "-"),
    "learning rate": (GREEN, "-"),
}
"""Colour and style of each kind of curve."""

WIDTH = 10.0
"""Inches; as wide as a page of a code host shows without shrinking."""

REFERENCE_POINTS = 30
"""Points of a grey line at most, so that a figure of 20 rows stays small."""

FIRST_EPOCHS = 0.1
"""Share of the lowest values that a rising axis leaves out; they would press all later epochs together."""

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
}
"""Text becomes outlines, so a viewer needs no fonts; white behind it serves dark pages too."""


@dataclass(frozen=True)
class Dots:
    """One line of the dot figure.

    Args:
        name: of the row.
        values: test accuracy of each finished run, fractions.
        estimate: their mean and interval; None where no run finished.
        published: what a publication reports, a fraction.
        leaking: selected on test images.
    """

    name: str
    values: Sequence[float]
    estimate: Estimate | None
    published: float | None
    leaking: bool


@dataclass(frozen=True)
class Panel:
    """One row's panel of a figure of curves.

    Args:
        title: name of the row.
        group: panels of one group are drawn behind each other in grey.
        curves: kind of curve, a key of LINES, to S×E values of S runs in E epochs, as `aligned` gives them.
    """

    title: str
    group: str
    curves: Mapping[str, Numbers]


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
    if not shown:
        return 0.0, 100.0
    low, high = min(shown), max(shown)
    room = max((high - low) / 2, 0.5)
    bounds = [line.estimate for line in lines if line.estimate and line.estimate.half_width is not None]
    left = max(low - room, min([low, *(100 * (bound.low or 0) for bound in bounds)]))
    right = min(high + room, max([high, *(100 * (bound.high or 0) for bound in bounds)]))
    edge = max((right - left) / 30, 0.1)
    return max(left - edge, 0.0), min(right + edge, 100.0)


def _label(line: Dots) -> str:
    return "\n".join(textwrap.wrap(line.name, 32)) + (" †" if line.leaking else "")


def _draw_dots(axes: Axes, place: int, line: Dots) -> None:
    colour = VERMILLION if line.leaking else BLUE
    if line.estimate is None:
        left = axes.get_yaxis_transform()
        axes.annotate("no run finished", (0.01, place), xycoords=left, va="center", color="#666666")
    else:
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


def curves_figure(panels: Sequence[Panel], label: str, rising: bool = False) -> Figure:
    """Curves by epoch, a panel per row on common axes; the other rows' means in grey behind.

    Args:
        panels: rows in the order of the ranking.
        label: of the vertical axis, with unit.
        rising: the values rise towards a ceiling: the axis leaves out the lowest. Otherwise it begins at 0, or is
            logarithmic where values span a factor of ten or more.
    """
    figure, grid = panel_grid([panel.title for panel in panels], "epoch", label)
    for axes, panel in zip(grid, panels, strict=True):
        _draw_panel(axes, panel, [other for other in panels if other is not panel and other.group == panel.group])
    (_scale_rising if rising else _scale_falling)(grid[0], panels)
    figure.legend(handles=_curves_legend(panels), loc="outside upper center", ncols=5)
    return figure


def panel_grid(titles: Sequence[str], across: str, label: str) -> tuple[Figure, list[Axes]]:
    """A figure of panels on common axes, counted in whole numbers across.

    Args:
        titles: of the panels, one or more.
        across, label: of the horizontal and the vertical axis.
    """
    columns = min(len(titles), 3 if len(titles) <= 9 else 4)
    lines = math.ceil(len(titles) / columns)
    figure = Figure(figsize=(WIDTH, 1.1 + max(1.6 * lines, 2.0)), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    grid[0, 0].xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    for axes, title in zip(grid.flat, titles, strict=False):
        axes.set_title("\n".join(textwrap.wrap(title, 30)))
    for place in range(len(titles), lines * columns):
        grid.flat[place].set_visible(False)
        grid.flat[place - columns].tick_params(labelbottom=True)
    figure.supxlabel(across, fontsize=9)
    figure.supylabel(label, fontsize=9)
    return figure, list(grid.flat[: len(titles)])


def _draw_panel(axes: Axes, panel: Panel, others: Sequence[Panel]) -> None:
    if not any(values.size for values in panel.curves.values()):
        axes.text(0.5, 0.5, "no run finished", transform=axes.transAxes, ha="center", va="center", color="#666666")
        return
    references = [other.curves["validation"] for other in others if "validation" in other.curves]
    # One line with gaps: as lines of their own they would double the file.
    axes.plot(*np.concatenate([np.empty((2, 0)), *map(_reference, references)], axis=1), color=GREY, linewidth=0.6)
    for kind, values in panel.curves.items():
        colour, dashes = LINES[kind]
        mean, low, high = summarize(values)
        epochs = np.arange(1, len(mean) + 1)
        axes.fill_between(epochs, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(epochs, mean, color=colour, linestyle=dashes, linewidth=1.4)


def _reference(values: Numbers) -> Numbers:
    """Epochs and means of some epochs, 2×P, with a gap at the end."""
    mean, _, _ = summarize(values)
    kept = np.linspace(0, len(mean) - 1, min(len(mean), REFERENCE_POINTS)).round().astype(int)
    return np.array([[*(kept + 1), np.nan], [*mean[kept], np.nan]])


def aligned(lines: Sequence[Sequence[float]]) -> Numbers:
    """S lines as S×E numbers, E the length of the longest; a line that ends before keeps its last value."""
    values = np.full((len(lines), max(map(len, lines), default=0)), np.nan)
    for place, line in enumerate(lines):
        if line:
            values[place] = [*line, *[line[-1]] * (values.shape[1] - len(line))]
    return values


def summarize(values: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Mean, minimum and maximum over the runs, for each of E epochs.

    Args:
        values: S×E, nan where a run has no value; S or E may be 0.
    """
    if not values.size:
        return np.empty(0), np.empty(0), np.empty(0)
    known = np.ma.masked_invalid(values)
    return known.mean(0).filled(np.nan), known.min(0).filled(np.nan), known.max(0).filled(np.nan)


def _scale_rising(axes: Axes, panels: Sequence[Panel]) -> None:
    """Begins the axis so that every row's last value is on it, and few of the others are not."""
    means = [summarize(values)[0] for panel in panels for values in panel.curves.values()]
    known = [mean[np.isfinite(mean)] for mean in means if np.isfinite(mean).any()]
    if known:
        values = np.concatenate(known)
        floor = min(np.quantile(values, FIRST_EPOCHS), *(mean[-1] for mean in known))
        axes.set_ylim(bottom=floor - 0.05 * (values.max() - floor))


def _scale_falling(axes: Axes, panels: Sequence[Panel]) -> None:
    values = np.concatenate([curve.ravel() for panel in panels for curve in panel.curves.values()])
    values = values[np.isfinite(values) & (values > 0)]
    ratio = values.max() / values.min() if values.size else 1
    if ratio < 10:
        axes.set_ylim(bottom=0)
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if ratio < 200 else (1,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _curves_legend(panels: Sequence[Panel]) -> list[Artist]:
    kinds = list(panels[0].curves)
    several = any(len(values) > 1 for panel in panels for values in panel.curves.values())
    handles: list[Artist] = []
    for kind in kinds:
        label = f"{kind}, mean over seeds" if several else kind
        handles.append(Line2D([], [], color=LINES[kind][0], linestyle=LINES[kind][1], label=label))
    if several:
        handles.append(Patch(color="#888888", alpha=0.35, linewidth=0, label="min–max over seeds"))
    if "validation" in kinds and len(panels) > 1:
        handles.append(Line2D([], [], color=GREY, linewidth=1, label="other rows, validation"))
    return handles
