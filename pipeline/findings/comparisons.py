"""The report's section of comparisons: robust means, who wins how often, and the 2×2 table of BN and dropout."""

from collections.abc import Sequence

import numpy as np

from pipeline.findings.measured import Groups, Result
from pipeline.findings.stats import Interval, bootstrap, contrast, improvement, interquartile_mean, two_way
from pipeline.findings.wording import NONE, contenders, interval, marked, number, table
from pipeline.params import vocabulary
from pipeline.params.quantities import ACCURACY
from pipeline.params.rows import PARTS, Row

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


def comparisons(groups: Groups) -> str:
    """The section as Markdown; empty where there are no two rows to compare."""
    parts = [_robust(group, len(groups) > 1) for group in groups if len(contenders(group)) > 1]
    results = [result for group in groups for result in group]
    return "\n\n".join(part for part in (*parts, _two_way(results)) if part)


def _robust(group: Sequence[Result], several: bool) -> str:
    best = contenders(group)[0]
    top = best.measure(ACCURACY)
    lines = []
    for result in group:
        values = result.measure(ACCURACY)
        differences = list(contrast({"row": values, "best": top}, {"row": 1.0, "best": -1.0}).values())
        wins = _ends(improvement(differences), 2, 1) if result is not best and differences else NONE
        listed = list(values.values())
        means = (bootstrap(listed, statistic) for statistic in (np.mean, interquartile_mean))
        lines.append([marked(result), *(_ends(mean, 2, 100) for mean in means), wins])
    head = ["row", "mean accuracy, %", "interquartile mean, %", f"P(beats `{best.name}`)"]
    on = f" on `{group[0].row.dataset}`" if several else ""
    return f"## Comparisons{on}\n\n{table(head, lines)}\n\n{NOTE.format(best=best.name)}"


def _ends(found: Interval, digits: int, scale: float) -> str:
    if found.low is None or found.high is None:
        return number(found.value, digits, scale)
    low, high = (number(end, digits, scale) for end in (found.low, found.high))
    return f"{number(found.value, digits, scale)} ({low} to {high})"


def _two_way(results: Sequence[Result]) -> str:
    tables = [_effects(cells) for cells in quadruples(results)]
    if not any(tables):
        return ""
    head = ["neither, bn, dropout, both", "bn", "dropout", "interaction"]
    heading = "## Batch normalization × dropout, test accuracy in points"
    return f"{heading}\n\n{table(head, [line for line in tables if line])}\n\n{TWO_WAY_NOTE}"


def _effects(cells: dict[str, Result]) -> list[str]:
    effects = two_way({name: result.measure(ACCURACY) for name, result in cells.items()})
    if effects is None:
        return []
    rows = ", ".join(marked(cells[name]) for name in ("neither", "first", "second", "both"))
    return [rows, *(interval(effect, 2, 100, sign=True) for effect in effects.values())]


def quadruples(results: Sequence[Result]) -> list[dict[str, Result]]:
    """The rows that make a 2×2 table: with both kinds of words, without the one, without the other, without either.

    Returns:
        By the cells of `stats.two_way`, `bn` being the first factor and dropout the second.
    """
    dropouts = {word for word, kind in vocabulary.words().items() if kind.drops}
    rows = {_identity(result.row, set(), dropouts): result for result in results}
    found = []
    for result in results:
        without = {"neither": {"bn"} | dropouts, "first": dropouts, "second": {"bn"}, "both": set[str]()}
        cells = {cell: rows.get(_identity(result.row, words, dropouts)) for cell, words in without.items()}
        complete = {cell: row for cell, row in cells.items() if row is not None}
        if len({row.name for row in complete.values()}) == 4:
            found.append(complete)
    return found


def _identity(row: Row, without: set[str], dropouts: set[str]) -> str:
    """All that decides a row's numbers, less some words; rates count only where a word takes them."""
    sentence = {part: [word for word in said.split() if word not in without] for part, said in row.parts().items()}
    drops = any(word in dropouts for words in sentence.values() for word in words)
    settings = row.model_dump(exclude={*PARTS, "published", "seeds"} | (set() if drops else {"dropout"}))
    return repr((sentence, settings))
