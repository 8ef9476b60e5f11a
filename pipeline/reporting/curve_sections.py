"""The sections on how rows learn and on what they then say of test images: curves, calibration, confusions."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from markupsafe import Markup

from pipeline.findings.findings import Findings
from pipeline.findings.measured import Result
from pipeline.findings.wording import MOST_PANELS, named
from pipeline.reporting import charts
from pipeline.reporting.panels import Panel, aligned, curves_figure, summarize
from pipeline.reporting.section import Picture, Section, Shown, Words, chart

MEASURES = {
    "accuracy": ("accuracy", "Accuracy (%)"),
    "loss": ("loss", "Cross-entropy loss (nats)"),
    "auc": ("auc", "AUC, micro-averaged one-vs-rest"),
    "learning-rate": ("lr", "Learning rate"),
}
"""Files of curves: column of curves.csv without the split, and what the vertical axis is."""

RISING = ("accuracy", "auc")
"""Columns that rise towards 1."""

MOST_POINTS = 3000
"""Points of all rows' curves of one measure, so that a page of 100 rows stays small."""

FEWEST_POINTS = 20
"""Points that each curve keeps all the same."""

READING = "Means over the seeds; bands reach from the lowest to the highest seed. The lowest tenth is cut off."

SHOWN = 8
"""Rows whose curves show at first: as many as there are colours."""


def curves(found: Findings) -> Iterator[Section]:
    """Accuracy by epoch; on the page also loss, AUC and learning rate."""
    results = _finished(found)
    if not results:
        return
    data = {"x": "epoch", "rows": [named(result) for result in results], "shown": SHOWN}
    data["measures"] = [_measure(results, *measure) for measure in MEASURES.values()]
    caption = f"{READING} {_note(found)}"
    instead = [_picture(found, "accuracy"), Words(f"A panel per row; grey: the other rows. {caption}")]
    yield Section("Learning curves", [chart("curves", "By epoch", caption, data, *instead)])


def more(found: Findings) -> Iterator[Section]:
    """The other curves in Markdown; the page has them behind a switch."""
    if _finished(found):
        pictures = [_picture(found, file) for file in MEASURES if file != "accuracy"]
        yield Section("Curves", [Shown(Markup(""), pictures)])


def _finished(found: Findings) -> list[Result]:
    """The rows with a run that finished."""
    return [result for result in found.results if result.values("test_accuracy")]


def _note(found: Findings) -> str:
    kept = {result.row.keep for result in found.results}
    use = "they choose the epoch that is kept" if "best" in kept else "the last epoch is kept"
    use += ", but not where that is the last (`keep: last`)" if len(kept) > 1 else ""
    leaking = "; of rows marked †, these are the test images" if any(result.leaking for result in found.results) else ""
    many = f" The first {MOST_PANELS} rows have a picture." if len(found.results) > MOST_PANELS else ""
    return f"Validation images train nothing; {use}{leaking}.{many}"


def _picture(found: Findings, file: str) -> Picture:
    column, title = MEASURES[file]
    return Picture(found.path(file), f"{title} by epoch, a panel per row", partial(_draw, found.results, column, title))


def _kinds(column: str) -> dict[str, str]:
    """Columns of curves.csv by what a figure calls them."""
    return {"learning rate": "lr"} if column == "lr" else {"validation": f"val_{column}", "training": f"train_{column}"}


def _scale(column: str) -> float:
    return 100 if column == "accuracy" else 1


def _measure(results: Sequence[Result], column: str, label: str) -> dict[str, Any]:
    """One measure of the chart: all rows' curves."""
    most = MOST_POINTS // max(1, len(results))
    series = [
        {"row": row, "kind": kind} | _curve(result.curves[source], _scale(column), most)
        for row, result in enumerate(results)
        for kind, source in _kinds(column).items()
    ]
    return {"label": label, "scale": "rising" if column in RISING else "falling", "series": series}


def _curve(lines: list[list[float]], scale: float, most: int) -> dict[str, Any]:
    """Mean, minimum and maximum at so many epochs at most, the first and the last among them."""
    mean, low, high = summarize(scale * aligned(lines))
    kept = np.linspace(0, len(mean) - 1, min(len(mean), max(most, FEWEST_POINTS))).round().astype(int)
    curve = {"x": (kept + 1).tolist(), "mean": mean[kept].tolist()}
    if np.array_equal(low, high, equal_nan=True):
        return curve
    return curve | {"low": low[kept].tolist(), "high": high[kept].tolist()}


def _draw(results: Sequence[Result], column: str, label: str) -> str:
    shown = _panels(results[:MOST_PANELS], column)
    return charts.svg(lambda: curves_figure(shown, label, column in RISING))


def _panels(results: Sequence[Result], column: str) -> list[Panel]:
    if column == "lr" and (common := _common_rates(results)):
        return [Panel("all rows", "", {"learning rate": aligned([common])})]
    return [
        Panel(
            named(result),
            result.row.dataset,
            {kind: _scale(column) * aligned(result.curves[source]) for kind, source in _kinds(column).items()},
        )
        for result in results
    ]


def _common_rates(results: Sequence[Result]) -> list[float]:
    """The learning rate by epoch where all runs follow the same, for as long as they train; else nothing."""
    lines = [line for result in results for line in result.curves["lr"]]
    longest = max(lines, key=len, default=[])
    return longest if all(line == longest[: len(line)] for line in lines) else []
