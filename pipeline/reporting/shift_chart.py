"""The figure of the variance shift: a panel per row, a place per batch norm."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pipeline.reporting.charts import BLUE, GREEN, INK, PAPER, VERMILLION, Numbers
from pipeline.reporting.panels import logarithmic, panel_grid, summarize

Ratios = Mapping[str, Numbers]
"""Column of layers.csv to S×L values of S runs and L norms, nan where a run has none."""

COLUMNS = ("ratio", "ratio_alone", "q05", "q95", "predicted")
"""Columns of layers.csv that the figure shows."""


def shift_figure(rows: Mapping[str, Ratios]) -> Figure:
    """Variance in test mode by variance in training, for each batch norm of each row.

    Args:
        rows: by title of the panel, one or more.
    """
    shown = np.concatenate([summarize(values)[0] for ratios in rows.values() for values in ratios.values()])
    limits = logarithmic(np.append(shown[np.isfinite(shown) & (shown > 0)], 1.0))
    last = max(ratios["ratio"].shape[1] for ratios in rows.values())
    labels = ("batch norm, in network order", "variance, test mode / training")
    figure, grid = panel_grid(list(rows), labels, last, limits)
    for axes, ratios in zip(grid, rows.values(), strict=True):
        _draw(axes, ratios)
    figure.legend(handles=_legend(list(rows.values())), loc="upper center", ncols=5)
    return figure


def _draw(axes: Axes, ratios: Ratios) -> None:
    mean = {column: summarize(values)[0] for column, values in ratios.items()}
    places = np.arange(1, len(mean["ratio"]) + 1)
    axes.axhline(1, color=INK, linewidth=0.8)
    axes.fill_between(places, mean["q05"], mean["q95"], color=BLUE, alpha=0.18, linewidth=0)
    axes.plot(places, mean["ratio_alone"], color=GREEN, linestyle="--", linewidth=1.2)
    axes.plot(places, mean["ratio"], "o-", color=BLUE, markersize=3.5, linewidth=1.4)
    axes.plot(places, mean["predicted"], "D", markeredgecolor=VERMILLION, markerfacecolor=PAPER, markersize=4.5)


def _legend(rows: Sequence[Ratios]) -> list[Line2D | Patch]:
    several = any(len(row["ratio"]) > 1 for row in rows)
    handles = [
        Line2D([], [], color=BLUE, marker="o", markersize=3.5, label="mean over seeds" if several else "measured"),
        Patch(color=BLUE, alpha=0.3, linewidth=0, label="90 % of the channels"),
        Line2D([], [], color=GREEN, linestyle="--", label="own shift"),
    ]
    if any(np.isfinite(row["predicted"]).any() for row in rows):
        diamond = {"marker": "D", "markersize": 4.5, "markeredgecolor": VERMILLION, "markerfacecolor": PAPER}
        handles.append(Line2D([], [], linestyle="", label="formula", **diamond))
    return handles
