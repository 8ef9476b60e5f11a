"""The sections on what rows say of test images: accuracy by class, confusions, confidence."""

from collections.abc import Iterator
from typing import Any

from pipeline.findings.findings import Findings
from pipeline.findings.predictions import Predictions
from pipeline.findings.wording import cell, contenders, marked, mean, named, table
from pipeline.reporting.curve_sections import SHOWN
from pipeline.reporting.section import Section, Words, chart

MOST_CLASSES = 20
"""Classes are shown one by one if they are at most so many."""

FEWEST_IMAGES = 10
"""Predictions that make an accuracy worth a point."""


def by_class(found: Findings) -> Iterator[Section]:
    """Accuracy by class; nothing where there are too many classes for a table."""
    for group in found.groups:
        classes: list[str] = group[0].spec["classes"]
        if contenders(group) and len(classes) <= MOST_CLASSES:
            columns = [f"class_accuracy_{name}" for name in classes]
            lines = [[marked(result), *(mean(result, column, 1, 100) for column in columns)] for result in group]
            note = Words("Share of each class's test images that is recognized, mean over seeds.")
            title = f"Test accuracy by class, %{found.on(group[0].row.dataset)}"
            yield Section(title, [Words(table(["row", *map(cell, classes)], lines)), note])


def confusion(found: Findings) -> Iterator[Section]:
    """Which classes a row takes for which; nothing where there are too many classes for a picture."""
    text = (
        "Test images of a true class by the class that they were taken for, all seeds in one pool. Colour is the share"
        " of the true class, so a perfect row colours the diagonal alone."
    )
    shown = []
    for group in found.groups:
        classes: list[str] = group[0].spec["classes"]
        tables = {named(result): result.predictions.confusion.tolist() for result in group if result.predictions}
        if tables and len(classes) <= MOST_CLASSES:
            data = {"rows": classes, "columns": classes, "down": "true class", "across": "predicted class"}
            title = f"Confusion matrix{found.on(group[0].row.dataset)}"
            shown.append(chart("matrix", title, text, data | {"tables": tables}))
    if shown:
        yield Section("Confusions", shown)


def calibration(found: Findings) -> Iterator[Section]:
    """Whether confidence is accuracy."""
    text = (
        "Test predictions of all seeds in one pool, in 15 bins of equal width by confidence, the probability of the"
        " predicted class. On the diagonal, confidence is accuracy; below it, a row is too sure of itself. Points grow"
        f" with the share of the images that they stand for; bins of fewer than {FEWEST_IMAGES} are left out."
    )
    pools = {named(result): result.predictions for result in found.results if result.predictions}
    if pools:
        series = [{"row": row, "kind": "test"} | _reliability(pool) for row, pool in enumerate(pools.values())]
        measures = [{"label": "accuracy, %", "series": series}]
        data = {"x": "confidence, %", "rows": list(pools), "shown": SHOWN, "diagonal": True, "measures": measures}
        yield Section("Calibration", [chart("curves", "Reliability diagram", text, data)])


def _reliability(pool: Predictions) -> dict[str, Any]:
    kept = pool.images >= FEWEST_IMAGES
    points = {"x": pool.confidence, "mean": pool.accuracy, "share": pool.images / pool.images.sum()}
    return {key: (100 * values[kept]).tolist() for key, values in points.items()}
