"""Figures of one panel per row, on axes with the same limits: the curves of training, or whatever counts from 1.

Limits are set and not found, no axis is shared, and no solver lays out: each of these takes matplotlib minutes
with many panels.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from pipeline.reporting.charts import BLUE, GREEN, GREY, QUIET, VERMILLION, WIDTH, Numbers

LINES: dict[str, tuple[str, Literal[":", "-"]]] = {
    "training": (VERMILLION, ":"),
    "validation": (BLUE, "-"),
    "learning rate": (GREEN, "-"),
}
"""Colour and style of each kind of curve."""

REFERENCE_POINTS = 30
"""Points of a grey line at most, so that a figure of 20 rows stays small."""

FIRST_EPOCHS = 0.1
"""Share of the lowest values that a rising axis leaves out; they would press all later epochs together."""


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


@dataclass(frozen=True)
class Limits:
    """Of the vertical axes; `logarithmic` axes have numbers at 1, 2 and 5 where they span few powers of ten."""

    low: float
    high: float
    logarithmic: bool = False


def curves_figure(panels: Sequence[Panel], label: str, rising: bool = False) -> Figure:
    """Curves by epoch, a panel per row on common axes; the other rows' means in grey behind.

    Args:
        panels: rows in the order of the ranking.
        label: of the vertical axis, with unit.
        rising: the values rise towards a ceiling: the axis leaves out the lowest. Otherwise it begins at 0, or is
            logarithmic where values span a factor of ten or more.
    """
    limits = (_rising if rising else _falling)(panels)
    longest = max(1, *(values.shape[1] for panel in panels for values in panel.curves.values()))
    figure, grid = panel_grid([panel.title for panel in panels], ("epoch", label), longest, limits)
    for axes, panel in zip(grid, panels, strict=True):
        _draw_panel(axes, panel, [other for other in panels if other is not panel and other.group == panel.group])
    figure.legend(handles=_curves_legend(panels), loc="upper center", ncols=5)
    return figure


def panel_grid(titles: Sequence[str], labels: tuple[str, str], last: int, limits: Limits) -> tuple[Figure, list[Axes]]:
    """A figure of equal panels, with room for a legend above.

    Args:
        titles: of the panels, one or more.
        labels: of the horizontal and the vertical axis.
        last: the horizontal axis counts from 1 to this.
        limits: of the vertical axis.
    """
    columns = min(len(titles), 3 if len(titles) <= 9 else 4)
    lines = math.ceil(len(titles) / columns)
    wrapped = ["\n".join(textwrap.wrap(title, 30)) for title in titles]
    figure = _figure(lines, columns, max(title.count("\n") + 1 for title in wrapped))
    room = 0.04 * (last - 1 or 1)
    for place, (axes, title) in enumerate(zip(figure.axes, wrapped, strict=False)):
        axes.set_title(title)
        axes.set_autoscale_on(False)
        axes.set_xlim(1 - room, last + room)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
        limit(axes, limits)
        axes.tick_params(labelleft=place % columns == 0, labelbottom=place + columns >= len(titles))
    for axes in figure.axes[len(titles) :]:
        axes.remove()
    figure.supylabel(labels[1], fontsize=9, x=0.005, ha="left")
    figure.supxlabel(labels[0], fontsize=9, y=0.04 / figure.get_figheight(), va="bottom")
    return figure, figure.axes


def _figure(lines: int, columns: int, title_lines: int) -> Figure:
    """With empty panels; sizes in inches."""
    panel, gap = (1.2 if lines > 1 else 1.6), 0.12 + 0.16 * title_lines
    top, bottom, left, right = 0.35 + gap, 0.5, 0.85, 0.15
    height = top + lines * panel + (lines - 1) * gap + bottom
    figure = Figure(figsize=(WIDTH, height))
    sides = {"left": left / WIDTH, "right": 1 - right / WIDTH, "bottom": bottom / height, "top": 1 - top / height}
    figure.subplots(lines, columns, gridspec_kw=sides | {"hspace": gap / panel, "wspace": 0.08})
    return figure


def limit(axes: Axes, limits: Limits) -> None:
    """Sets the vertical axis."""
    if limits.logarithmic:
        axes.set_yscale("log")
        # Whole powers of ten alone could leave the axis without a number.
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if limits.high / limits.low < 200 else (1,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(limits.low, limits.high)


def _draw_panel(axes: Axes, panel: Panel, others: Sequence[Panel]) -> None:
    if not any(values.size for values in panel.curves.values()):
        axes.text(0.5, 0.5, "no run finished", transform=axes.transAxes, ha="center", va="center", color=QUIET)
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


def _rising(panels: Sequence[Panel]) -> Limits:
    """Begins the axis so that every row's last value is on it, and few of the others are not."""
    curves = [summarize(values) for panel in panels for values in panel.curves.values()]
    known = [mean[np.isfinite(mean)] for mean, _, _ in curves if np.isfinite(mean).any()]
    if not known:
        return Limits(0.0, 1.0)
    floor = min(np.quantile(np.concatenate(known), FIRST_EPOCHS), *(mean[-1] for mean in known))
    ceiling = max(float(np.nanmax(high)) for _, _, high in curves if np.isfinite(high).any())
    room = 0.05 * (ceiling - floor or 1.0)
    return Limits(floor - room, min(ceiling + room, 1.0 if ceiling <= 1 else 100.0))


def _falling(panels: Sequence[Panel]) -> Limits:
    """From 0, or logarithmic over a factor of ten or more."""
    values = np.concatenate([curve.ravel() for panel in panels for curve in panel.curves.values()])
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:
        return Limits(0.0, 1.0)
    if values.max() < 10 * values.min():
        return Limits(0.0, 1.05 * values.max())
    return logarithmic(values)


def logarithmic(values: Numbers) -> Limits:
    """Around positive numbers, with some room."""
    room = (values.max() / values.min()) ** 0.05
    return Limits(values.min() / room, values.max() * room, logarithmic=True)


def _curves_legend(panels: Sequence[Panel]) -> list[Artist]:
    kinds = list(panels[0].curves)
    several = any(len(values) > 1 for panel in panels for values in panel.curves.values())
    handles: list[Artist] = []
    for kind in kinds:
        label = f"{kind}, mean over seeds" if several else kind
        handles.append(Line2D([], [], color=LINES[kind][0], linestyle=LINES[kind][1], label=label))
    if several:
        handles.append(Patch(color=QUIET, alpha=0.35, linewidth=0, label="lowest to highest seed"))
    if "validation" in kinds and len(panels) > 1:
        handles.append(Line2D([], [], color=GREY, linewidth=1, label="other rows, validation"))
    return handles
