"""The sections of a study's page that are charts: what assets/charts.js is to draw, as data."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from pipeline.findings.findings import Findings
from pipeline.findings.measured import Result
from pipeline.findings.predictions import Predictions
from pipeline.findings.stats import Estimate, improvement
from pipeline.findings.wording import named, percent, place
from pipeline.params.quantities import ACCURACY
from pipeline.reporting import markdown
from pipeline.reporting.diagnosis_sections import shift_words, shifted
from pipeline.reporting.elements import Section, chart
from pipeline.reporting.panels import aligned, summarize
from pipeline.reporting.prose import prose

MOST_POINTS = 3000
"""Points of all rows' curves of one measure, so that a page of 100 rows stays small."""

FEWEST_POINTS = 20
"""Points that each curve keeps all the same."""

FEWEST_IMAGES = 10
"""Predictions that make an accuracy worth a point."""

SHOWN = 8
"""Rows whose curves show at first: as many as there are colours."""


def ranking(found: Findings) -> Section:
    """Every run of every row, best row first."""
    text = (
        "A dot is a run, the thick line its row's mean, the bar the 95 % interval of the mean. A diamond is the"
        " published value. † marks rows that were selected on test images."
    )
    charts = [
        chart("dots", f"Test accuracy{found.on(group[0].row.dataset)}", text, ranked(group)) for group in found.groups
    ]
    return Section("Ranking", Markup("").join(charts))


def ranked(group: Sequence[Result]) -> dict[str, Any]:
    """Data of a chart of dots: accuracies in percent."""
    lines = []
    for result in group:
        published = result.row.published
        failed = f", {len(result.failures)} of {len(result.runs)} failed" if result.failures else ""
        line = {
            "name": f"{place(result, group)}  {named(result)}",
            "note": f"{percent(result.accuracy)}{failed}",
            "values": [[seed, 100 * value] for seed, value in result.measure(ACCURACY).items()],
            "published": 100 * published.accuracy if published and published.accuracy is not None else None,
            "marked": result.leaking,
        }
        lines.append(line | _ends(result.accuracy, 100))
    return {"label": "Test accuracy, %", "each": "seed", "lines": lines}


def comparisons(found: Findings) -> Section | None:
    """How often each row beats each other."""
    text = (
        "The share of common seeds in which the row on the left has the higher test accuracy than the row above, ties"
        " counted half; a run that diverged counts as a guess. Columns are the rows by their place in the ranking."
    )
    finished = [[result for result in group if result.values("test_accuracy")] for group in found.groups]
    charts = [
        chart("matrix", f"P(row > column){found.on(group[0].row.dataset)}", text, _wins(group))
        for group in finished
        if len(group) > 1
    ]
    return Section("Which row beats which", Markup("").join(charts)) if charts else None


def _wins(group: list[Result]) -> dict[str, Any]:
    accuracies = [result.measure(ACCURACY) for result in group]
    values = [[None if a is b else _share(a, b) for b in accuracies] for a in accuracies]
    places = [str(1 + column) for column in range(len(group))]
    names = [f"{column}  {named(result)}" for column, result in zip(places, group, strict=True)]
    return {"rows": names, "columns": places, "down": "row", "across": "rank", "middle": 0.5, "tables": {"": values}}


def _share(a: Mapping[int, float], b: Mapping[int, float]) -> float | None:
    """P(a > b); None where no seed is common."""
    differences = [a[seed] - b[seed] for seed in a.keys() & b.keys()]
    return improvement(differences).value if differences else None


def curves(found: Findings) -> Section | None:
    """Accuracy, loss, AUC and learning rate by epoch."""
    results = [result for result in found.results if result.values("test_accuracy")]
    if not results:
        return None
    leaking = ", which are the test images in rows marked †" if any(result.leaking for result in results) else ""
    text = (
        f"Validation: the images that select, after the epoch{leaking}. Training: in training mode while the weights"
        " change. Lines are means over the seeds that finished, bands reach from minimum to maximum; a run that stops"
        " before others of its row keeps its last value. Accuracy and AUC leave out their lowest tenth."
    )
    measures = []
    for column, label in markdown.FIGURES.values():
        kinds = {"validation": f"val_{column}", "training": f"train_{column}"}
        kinds = {"learning rate": "lr"} if column == "lr" else kinds
        scale = 100 if column == "accuracy" else 1
        series = [
            {"row": row, "kind": kind} | _curve(result.curves[source], scale, MOST_POINTS // len(results))
            for row, result in enumerate(results)
            for kind, source in kinds.items()
        ]
        measures.append(
            {"label": label, "scale": "rising" if column in markdown.RISING else "falling", "series": series}
        )
    data = {"x": "epoch", "rows": [named(result) for result in results], "shown": SHOWN, "measures": measures}
    return Section("Curves", chart("curves", "Learning curves", text, data))


def _curve(lines: list[list[float]], scale: float, most: int) -> dict[str, Any]:
    """Mean, minimum and maximum at so many epochs at most, the first and the last among them."""
    mean, low, high = summarize(scale * aligned(lines))
    kept = np.linspace(0, len(mean) - 1, min(len(mean), max(most, FEWEST_POINTS))).round().astype(int)
    curve = {"x": (kept + 1).tolist(), "mean": mean[kept].tolist()}
    if np.array_equal(low, high, equal_nan=True):
        return curve
    return curve | {"low": low[kept].tolist(), "high": high[kept].tolist()}


def calibration(found: Findings) -> Section | None:
    """Whether confidence is accuracy."""
    text = (
        "Test predictions of all seeds in one pool, in 15 bins of equal width by confidence, the probability of the"
        " predicted class. On the diagonal, confidence is accuracy; below it, a row is too sure of itself. Points grow"
        f" with the share of the images that they stand for; bins of fewer than {FEWEST_IMAGES} are left out."
    )
    pools = {named(result): result.predictions for result in found.results if result.predictions}
    if not pools:
        return None
    series = [{"row": row, "kind": "test"} | _reliability(pool) for row, pool in enumerate(pools.values())]
    measures = [{"label": "accuracy, %", "series": series}]
    data = {"x": "confidence, %", "rows": list(pools), "shown": SHOWN, "diagonal": True, "measures": measures}
    return Section("Calibration", chart("curves", "Reliability diagram", text, data))


def _reliability(pool: Predictions) -> dict[str, Any]:
    kept = pool.images >= FEWEST_IMAGES
    points = {"x": pool.confidence, "mean": pool.accuracy, "share": pool.images / pool.images.sum()}
    return {key: (100 * values[kept]).tolist() for key, values in points.items()}


def confusion(found: Findings) -> Section | None:
    """Which classes a row takes for which; nothing where there are too many classes for a picture."""
    text = (
        "Test images of a true class by the class that they were taken for, all seeds in one pool. Colour is the share"
        " of the true class, so a perfect row colours the diagonal alone."
    )
    charts = []
    for group in found.groups:
        classes: list[str] = group[0].spec["classes"]
        tables = {named(result): result.predictions.confusion.tolist() for result in group if result.predictions}
        if tables and len(classes) <= markdown.MOST_CLASSES:
            data = {"rows": classes, "columns": classes, "down": "true class", "across": "predicted class"}
            title = f"Confusion matrix{found.on(group[0].row.dataset)}"
            charts.append(chart("matrix", title, text, data | {"tables": tables}))
    return Section("Confusions", Markup("").join(charts)) if charts else None


def shift(found: Findings) -> Section | None:
    """By how much each batch norm meets another variance in test mode than training left it."""
    text = (
        "Variance in test mode by that which training left, means over the seeds, for each batch norm in network order;"
        " bands are the quantiles .05 to .95 of the channels. Under 1, a norm meets less variance than it divides by."
        " Alone: all norms before it have exact statistics."
    )
    rows = shifted(found.planned)
    if not rows:
        return None
    series = [line for row, result in enumerate(rows) for line in _ratios(row, result)]
    measures = [{"label": "variance, test mode / training", "scale": "ratio", "series": series}]
    data = {"x": "batch norm", "rows": [named(result) for result in rows], "shown": SHOWN, "points": True}
    drawn = chart("curves", "Variance shift by layer", text, data | {"measures": measures})
    return Section("Variance shift", prose(shift_words(rows), "Variance shift") + drawn)


def _ratios(row: int, result: Result) -> Iterator[dict[str, Any]]:
    """A row's shift, what it is alone and what the formula predicts, as lines by layer."""
    assert result.diagnosis
    low, high = (summarize(aligned(result.diagnosis.by_layer(column)))[0].tolist() for column in ("q05", "q95"))
    for kind, column in (("measured", "ratio"), ("alone", "ratio_alone"), ("formula", "predicted")):
        mean = summarize(aligned(result.diagnosis.by_layer(column)))[0]
        if np.isfinite(mean).any():
            line = {"row": row, "kind": kind, "x": list(range(1, len(mean) + 1)), "mean": mean.tolist()}
            yield line | ({"low": low, "high": high} if kind == "measured" else {})


def _ends(estimate: Estimate | None, scale: float) -> dict[str, float | None]:
    """A mean and its interval."""
    ends = (estimate.mean, estimate.low, estimate.high) if estimate else (None, None, None)
    return {key: None if end is None else scale * end for key, end in zip(("mean", "low", "high"), ends, strict=True)}
