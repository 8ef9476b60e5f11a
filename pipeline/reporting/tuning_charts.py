"""The figures of tunings: all trials, and what fewer of them would have found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from pipeline.params.tuning import Parameter
from pipeline.reporting.charts import BLUE, GREY, PAPER, VERMILLION, WIDTH
from pipeline.reporting.panels import Limits, limit, logarithmic, panel_grid
from pipeline.tuning.budget import best_of, counted

MARKS = {
    "complete": {"marker": "o", "color": BLUE, "markersize": 4},
    "pruned": {"marker": "o", "color": BLUE, "markersize": 4, "markerfacecolor": PAPER},
    "failed": {"marker": "x", "color": VERMILLION, "markersize": 5},
}
"""How trials of each state are drawn."""


@dataclass(frozen=True)
class Search:
    """A tuning as the figures show it.

    Args:
        scores: of each trial, in order.
        states: of each trial, keys of MARKS.
        values: of each parameter, by trial.
        space: what the parameters may be.
        lowest: whether a low score is a good one.
        label: what a score is.
    """

    scores: Sequence[float]
    states: Sequence[str]
    values: Mapping[str, Sequence[bool | int | float | str]]
    space: Mapping[str, Parameter]
    lowest: bool
    label: str


def trials_figure(searches: Mapping[str, Search]) -> Figure:
    """Scores by trial and by the value of each parameter: a line of panels per row.

    Args:
        searches: by the row's name, one or more.
    """
    paths = list(dict.fromkeys(path for search in searches.values() for path in search.values))
    columns = 1 + len(paths)
    size = (WIDTH, 0.9 + 1.9 * len(searches))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(searches), columns, squeeze=False, sharey="row")
    for line, (name, search) in zip(grid, searches.items(), strict=True):
        _history(line[0], search)
        line[0].set_title(name, loc="left")
        for axes, path in zip(line[1:], paths, strict=True):
            if path in search.values:
                _slice(axes, search, path)
            else:
                axes.set_visible(False)
        limit(line[0], _limits(search.scores))
        line[0].set_ylabel(search.label)
    figure.legend(handles=_legend(list(searches.values())), loc="outside upper center", ncols=5)
    return figure


def _history(axes: Axes, search: Search) -> None:
    places = np.arange(len(search.scores))
    never = np.inf if search.lowest else -np.inf
    winning = np.where(np.array(search.states) == "complete", search.scores, never)
    best = (np.minimum if search.lowest else np.maximum).accumulate(winning)
    axes.step(places, best, where="post", color=GREY, linewidth=1.2)
    _mark(axes, places, search)
    axes.set_xlabel("trial")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _slice(axes: Axes, search: Search, path: str) -> None:
    parameter, values = search.space[path], search.values[path]
    if parameter.choices is not None:
        _mark(axes, np.array([parameter.choices.index(value) for value in values]), search)
        axes.set_xticks(range(len(parameter.choices)), [str(choice) for choice in parameter.choices])
        axes.set_xlim(-0.5, len(parameter.choices) - 0.5)
    else:
        _mark(axes, np.array(values, float), search)
        if parameter.log:
            axes.set_xscale("log")
    axes.set_xlabel(path)


def _mark(axes: Axes, places: np.ndarray, search: Search) -> None:
    states, scores = np.array(search.states), np.array(search.scores)
    for state, mark in MARKS.items():
        chosen = states == state
        axes.plot(places[chosen], scores[chosen], linestyle="", **mark)


def _limits(scores: Sequence[float]) -> Limits:
    """All scores; on a logarithmic axis where they span a factor of ten or more."""
    low, high = min(scores), max(scores)
    if low > 0 and high / low >= 10:
        return logarithmic(np.array(scores))
    room = 0.05 * (high - low or 1)
    return Limits(low - room, high + room)


def _legend(searches: Sequence[Search]) -> list[Line2D]:
    states = {state for search in searches for state in search.states}
    handles = [Line2D([], [], linestyle="", label=state, **MARKS[state]) for state in MARKS if state in states]
    return [*handles, Line2D([], [], color=GREY, linewidth=1.2, label="best so far")]


def budget_figure(searches: Mapping[str, Search]) -> Figure:
    """The expected best score by the number of trials, a panel per row, the other rows in grey.

    Args:
        searches: by the row's name, one or more.
    """
    curves = {name: _curve(search) for name, search in searches.items()}
    labels = " or ".join(sorted({search.label for search in searches.values()}))
    limits = _limits([value for curve in curves.values() for line in curve for value in line])
    last = max(len(search.scores) for search in searches.values())
    figure, grid = panel_grid(list(searches), ("trials", f"best {labels}"), last, limits)
    for axes, name in zip(grid, searches, strict=True):
        for other, (expected, _, _) in curves.items():
            if other != name and searches[other].label == searches[name].label:
                axes.plot(np.arange(1, len(expected) + 1), expected, color=GREY, linewidth=0.8)
        expected, low, high = curves[name]
        budgets = np.arange(1, len(expected) + 1)
        axes.fill_between(budgets, low, high, color=BLUE, alpha=0.18, linewidth=0)
        axes.plot(budgets, expected, color=BLUE, linewidth=1.4)
    handles: list[Line2D | Patch] = [Line2D([], [], color=BLUE, label="expected best")]
    handles.append(Patch(color=BLUE, alpha=0.3, linewidth=0, label="95 % of draws"))
    if len(searches) > 1:
        handles.append(Line2D([], [], color=GREY, linewidth=1, label="other rows"))
    figure.legend(handles=handles, loc="upper center", ncols=5)
    return figure


def _curve(search: Search) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores = counted(search.scores, search.states, search.lowest)
    found = [best_of(scores, n, search.lowest) for n in range(1, len(scores) + 1)]
    return tuple(np.array([getattr(best, key) for best in found]) for key in ("expected", "low", "high"))  # type: ignore[return-value]
