"""The report's figures: pure functions of numbers, and a way to save them that gives the same bytes everywhere."""

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from pipeline.stats import Estimate

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, VERMILLION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#BBBBBB"

LINES = {"training": (VERMILLION, ":"), "validation": (BLUE, "-"), "learning rate": (GREEN, "-")}
"""Colour and style of each kind of curve."""

WIDTH = 10.0
"""Inches; as wide as a page of a code host shows without shrinking."""

REFERENCE_POINTS = 60
"""Points of a grey line at most; with them a figure of 20 rows stays small."""


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
        curves: kind of curve, a key of LINES, to S×E values of S runs in E epochs, nan after a run's end.
    """

    title: str
    group: str
    curves: Mapping[str, NDArray[np.float64]]


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's own defaults with what the figures share, whatever the user has configured.

    Text becomes outlines, so a viewer needs no fonts; white behind it serves dark pages too.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
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
            }
        )
        yield


def save_svg(figure: Figure, path: Path) -> None:
    """Writes an SVG without date and program version. To be called within `style`, like what drew the figure."""
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def dots_figure(groups: Mapping[str, Sequence[Dots]]) -> Figure:
    """Test accuracy of every run, a line per row in the given order, a panel per group.

    Args:
        groups: lines by title of the panel; a single panel goes without title.
    """
    counts = [len(lines) for lines in groups.values()]
    figure = Figure(figsize=(WIDTH, 1.2 + 0.6 * len(counts) + 0.3 * sum(counts)), layout="constrained")
    panels = figure.subplots(len(counts), 1, squeeze=False, height_ratios=counts)[:, 0]
    for axes, (title, lines) in zip(panels, groups.items(), strict=True):
        for place, line in enumerate(lines):
            _draw_dots(axes, place, line)
        axes.set(title=title if len(groups) > 1 else "", ylim=(len(lines) - 0.4, -0.6))
        axes.set_yticks(range(len(lines)), [_label(line) for line in lines])
        axes.grid(visible=False, axis="y")
        axes.set_xlim(right=min(axes.get_xlim()[1], 100.0))
    panels[-1].set_xlabel("test accuracy (%)")
    figure.legend(handles=_dots_legend(groups), loc="outside upper center", ncols=4)
    return figure


def _label(line: Dots) -> str:
    return "\n".join(textwrap.wrap(line.name, 32)) + (" †" if line.leaking else "")


def _draw_dots(axes: Axes, place: int, line: Dots) -> None:
    colour = VERMILLION if line.leaking else BLUE
    if line.estimate is None:
        axes.annotate("no run finished", (0.01, place), xycoords=axes.get_yaxis_transform(), va="center", color="#666666")
        return
    mean, half = 100 * line.estimate.mean, 100 * (line.estimate.half_width or 0)
    axes.plot([mean - half, mean + half], [place, place], color=colour, alpha=0.3, linewidth=8, solid_capstyle="butt")
    axes.plot(mean, place, "|", color=colour, markersize=14, markeredgewidth=2)
    # Equal values would hide each other, so each run keeps its own height within the line.
    heights = place + 0.16 * np.linspace(-1, 1, len(line.values)) if len(line.values) > 1 else [place]
    axes.plot([100 * value for value in line.values], heights, "o", color=colour, markersize=3.5, alpha=0.85)
    if line.published is not None:
        axes.plot(100 * line.published, place, "D", markerfacecolor="white", markeredgecolor="black", markersize=5)


def _dots_legend(groups: Mapping[str, Sequence[Dots]]) -> list[Line2D]:
    lines = [line for group in groups.values() for line in group]
    handles = [
        Line2D([], [], color=BLUE, marker="o", linestyle="", markersize=3.5, label="one run"),
        Line2D([], [], color=BLUE, alpha=0.3, linewidth=8, label="95 % interval of the mean"),
    ]
    handles.insert(1, Line2D([], [], color=BLUE, marker="|", linestyle="", markersize=12, markeredgewidth=2, label="mean"))
    if any(line.published is not None for line in lines):
        handles.append(Line2D([], [], color="black", marker="D", linestyle="", markerfacecolor="white", label="published"))
    if any(line.leaking for line in lines):
        handles.append(Line2D([], [], color=VERMILLION, marker="o", linestyle="", label="† selected on test images"))
    return handles


def curves_figure(panels: Sequence[Panel], label: str) -> Figure:
    """Curves by epoch, a panel per row on common axes; the other rows' means in grey behind.

    Values that span a factor of ten or more get a logarithmic axis.

    Args:
        panels: rows in the order of the ranking.
        label: of the vertical axis, with unit.
    """
    columns = min(len(panels), 3 if len(panels) <= 9 else 4)
    lines = math.ceil(len(panels) / columns)
    size = (WIDTH, 1.1 + max(1.6 * lines, 2.2))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    for axes, panel in zip(grid.flat, panels, strict=False):
        axes.set_title("\n".join(textwrap.wrap(panel.title, 30)))
        for other in panels:
            if other is not panel and other.group == panel.group:
                _draw_reference(axes, other)
        _draw_panel(axes, panel)
    _scale(grid[0, 0], panels)
    for column, bare in ((i % columns, grid.flat[i]) for i in range(len(panels), lines * columns)):
        bare.set_visible(False)
        grid[lines - 2, column].tick_params(labelbottom=True)
    figure.supxlabel("epoch", fontsize=9)
    figure.supylabel(label, fontsize=9)
    figure.legend(handles=_curves_legend(panels), loc="outside upper center", ncols=5)
    return figure


def _draw_panel(axes: Axes, panel: Panel) -> None:
    drawn = False
    for kind, values in panel.curves.items():
        colour, dashes = LINES[kind]
        mean, low, high = summarize(values)
        epochs = np.arange(1, len(mean) + 1)
        axes.fill_between(epochs, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(epochs, mean, color=colour, linestyle=dashes, linewidth=1.4)
        drawn |= len(mean) > 0
    if not drawn:
        axes.text(0.5, 0.5, "no run finished", transform=axes.transAxes, ha="center", va="center", color="#666666")


def _draw_reference(axes: Axes, panel: Panel) -> None:
    mean, _, _ = summarize(list(panel.curves.values())[-1])
    if len(mean):
        kept = np.unique(np.linspace(0, len(mean) - 1, min(len(mean), REFERENCE_POINTS)).round().astype(int))
        axes.plot(kept + 1, mean[kept], color=GREY, linewidth=0.6)


def summarize(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean, minimum and maximum over the runs still training, for each of E epochs.

    Args:
        values: S×E, nan where a run has no value; S or E may be 0.
    """
    if not values.size:
        return (np.empty(0),) * 3
    known = np.ma.masked_invalid(values)
    mean, low, high = (np.ma.filled(summary.astype(float), np.nan) for summary in (known.mean(0), known.min(0), known.max(0)))
    return mean, low, high


def _scale(axes: Axes, panels: Sequence[Panel]) -> None:
    """Ticks of the axes that all panels share."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    values = np.concatenate([curve.ravel() for panel in panels for curve in panel.curves.values()])
    values = values[np.isfinite(values) & (values > 0)]
    ratio = values.max() / values.min() if values.size else 1
    if ratio < 10:
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if ratio < 200 else (1,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _curves_legend(panels: Sequence[Panel]) -> list[Line2D | Patch]:
    kinds = list(panels[0].curves)
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=LINES[kind][0], linestyle=LINES[kind][1], label=f"{kind}, mean over seeds") for kind in kinds
    ]
    handles.append(Patch(color="#888888", alpha=0.35, linewidth=0, label="min–max over seeds"))
    if len(panels) > 1:
        handles.append(Line2D([], [], color=GREY, linewidth=1, label=f"other rows ({kinds[-1]})"))
    return handles
