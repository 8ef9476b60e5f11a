"""The sections that compare rows: who beats whom, robust means, and the 2×2 table of batch norm and dropout."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.findings.comparisons import quadruples
from pipeline.findings.findings import Findings
from pipeline.findings.measured import Result
from pipeline.findings.stats import Interval, bootstrap, contrast, improvement, interquartile_mean, two_way
from pipeline.findings.wording import NONE, contenders, interval, marked, named, number, table
from pipeline.params.quantities import ACCURACY
from pipeline.reporting.section import Section, Words, chart

NOTE = (
    "Ends are those of percentile bootstrap intervals, 95 %; with few seeds these are too narrow. The interquartile"
    " mean is that of the middle half of the runs. P is the share of common seeds in which the row beats `{best}`, a"
    " tie counting half."
)
TWO_WAY_NOTE = (
    "Rows that are the same but for their `bn` and dropout words. A main effect is the mean of what a word changes"
    " without and with the other; the interaction is what batch normalization adds with dropout, less what it adds"
    " without. ± is half the 95 % interval of paired differences (Student's t)."
)


def wins(found: Findings) -> Iterator[Section]:
    """How often each row beats each other."""
    text = (
        "The share of common seeds in which the row on the left has the higher test accuracy than the row above, ties"
        " counted half. Columns are the rows by their place in the ranking."
    )
    finished = [[result for result in group if result.values("test_accuracy")] for group in found.groups]
    charts = [
        chart("matrix", f"P(row > column){found.on(group[0].row.dataset)}", text, _wins(group))
        for group in finished
        if len(group) > 1
    ]
    if charts:
        yield Section("Which row beats which", charts)


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


def robust(found: Findings) -> Iterator[Section]:
    """Means that a lucky run counts little in, and how often each row beats the best."""
    for group in found.groups:
        rivals = contenders(group)
        if len(rivals) > 1:
            best = rivals[0]
            head = ["row", "mean accuracy, %", "interquartile mean, %", f"P(beats `{best.label}`)"]
            lines = [_line(result, best) for result in group]
            note = Words(NOTE.format(best=best.label))
            yield Section(f"Comparisons{found.on(group[0].row.dataset)}", [Words(table(head, lines)), note])


def _line(result: Result, best: Result) -> list[str]:
    values = result.measure(ACCURACY)
    pair = {"row": values, "best": best.measure(ACCURACY)}
    differences = list(contrast(pair, {"row": 1.0, "best": -1.0}).values())
    beats = _ends(improvement(differences), 2, 1) if result is not best and differences else NONE
    means = (bootstrap(list(values.values()), statistic) for statistic in (np.mean, interquartile_mean))
    return [marked(result), *(_ends(mean, 2, 100) for mean in means), beats]


def _ends(found: Interval, digits: int, scale: float) -> str:
    if found.low is None or found.high is None:
        return number(found.value, digits, scale)
    low, high = (number(end, digits, scale) for end in (found.low, found.high))
    return f"{number(found.value, digits, scale)} ({low} to {high})"


def two_way_table(found: Findings) -> Iterator[Section]:
    """What batch normalization and dropout add, each and together; nothing where a corner of the table is missing."""
    lines = [line for line in map(_effects, quadruples(found.results)) if line]
    if lines:
        head = ["neither, bn, dropout, both", "bn", "dropout", "interaction"]
        title = "Batch normalization × dropout, test accuracy in points"
        yield Section(title, [Words(table(head, lines)), Words(TWO_WAY_NOTE)])


def _effects(cells: dict[str, Result]) -> Sequence[str]:
    effects = two_way({name: result.measure(ACCURACY) for name, result in cells.items()})
    if effects is None:
        return []
    rows = ", ".join(marked(cells[name]) for name in ("neither", "first", "second", "both"))
    return [rows, *(interval(effect, 2, 100, sign=True) for effect in effects.values())]
