"""What the section on tuning says of what it changes: rows tuned beside the same rows untuned, and their order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from pipeline.findings.evidence import difference
from pipeline.findings.measured import Result
from pipeline.findings.stats import Estimate, paired_difference
from pipeline.findings.wording import interval, marked, table
from pipeline.params.quantities import ACCURACY
from pipeline.reporting.section import Section, Words


@dataclass(frozen=True)
class Pair:
    """A row before and after tuning, trained with the same seeds or others."""

    untuned: Result
    tuned: Result


def sections(results: Sequence[Result]) -> Iterator[Section]:
    """Nothing where no row is there both ways."""
    found = pairs(results)
    if found:
        question = "Does the order of the rows change with tuning"
        told = (f"**{question}{_on(group, found)}?** {order(group)}" for group in _groups(found))
        yield Section("Tuned beside untuned", [Words(_beside(found)), *map(Words, told)])


def pairs(results: Sequence[Result]) -> list[Pair]:
    """Tuned rows with the row that is the same but for its tuning, its seeds and what is published of it."""
    aside = {"tuning", "seeds", "published"}
    untuned = {repr(result.row.model_dump(exclude=aside)): result for result in results if not result.tuning}
    tuned = [(result, result.tuning.planned.model_dump(exclude=aside)) for result in results if result.tuning]
    return [Pair(untuned[repr(row)], result) for result, row in tuned if repr(row) in untuned]


def _groups(found: Sequence[Pair]) -> list[list[Pair]]:
    """Pairs that compare: of one data set, two or more, all with runs that finished."""
    groups: dict[str, list[Pair]] = {}
    for pair in found:
        if pair.untuned.values("test_accuracy") and pair.tuned.values("test_accuracy"):
            groups.setdefault(pair.tuned.row.dataset, []).append(pair)
    return [group for group in groups.values() if len(group) > 1]


def _on(group: Sequence[Pair], found: Sequence[Pair]) -> str:
    several = len({pair.tuned.row.dataset for pair in found}) > 1
    return f" on `{group[0].tuned.row.dataset}`" if several else ""


def order(group: Sequence[Pair]) -> str:
    """Which pairs of rows change places by mean test accuracy, and whether the seeds bear it out."""
    before = sorted(group, key=lambda pair: -pair.untuned.accuracy.mean)
    after = sorted(group, key=lambda pair: -pair.tuned.accuracy.mean)
    ranked = [[pair.untuned for pair in before], [pair.tuned for pair in after]]
    names = [" > ".join(f"`{result.label}`" for result in results) for results in ranked]
    swapped = [(first, second) for first, second in combinations(before, 2) if after.index(first) > after.index(second)]
    if not swapped:
        return f"Not that of the means: by test accuracy it is {names[0]} untuned and {names[1]} tuned."
    told = "; ".join(_swap(first, second) for first, second in swapped)
    return f"By mean test accuracy it is {names[0]} untuned and {names[1]} tuned. {told}."


def _swap(first: Pair, second: Pair) -> str:
    """Two rows that change places: their differences, and which of them the seeds tell from zero."""
    differences = [
        difference(ACCURACY, one, other)
        for one, other in ((first.untuned, second.untuned), (first.tuned, second.tuned))
    ]
    shown = " untuned, ".join(interval(found, 2, 100, sign=True) for found in differences)
    settled = [found is not None and _excludes_zero(found) for found in differences]
    verdict = {
        (True, True): "and the seeds bear out both",
        (True, False): "but only the untuned difference excludes zero",
        (False, True): "but only the tuned difference excludes zero",
        (False, False): "but neither difference excludes zero",
    }[settled[0], settled[1]]
    return f"`{first.tuned.label}` against `{second.tuned.label}`: {shown} points tuned, {verdict}"


def _excludes_zero(found: Estimate) -> bool:
    return found.low is not None and found.high is not None and (found.low > 0 or found.high < 0)


def _beside(found: Sequence[Pair]) -> str:
    head = ["untuned", "tuned", "test accuracy, %, untuned", "tuned", "paired difference, points"]
    head += ["test loss, nats, untuned", "tuned", "paired difference"]
    lines = []
    for pair in found:
        line = [marked(pair.untuned), marked(pair.tuned)]
        for column, digits, scale in (("test_accuracy", 2, 100), ("test_loss", 4, 1)):
            gained = paired_difference(pair.tuned.values(column), pair.untuned.values(column))
            line += [interval(result.estimate(column), digits, scale) for result in (pair.untuned, pair.tuned)]
            line.append(interval(gained, digits, scale, sign=True))
        lines.append(line)
    return table(head, lines, numbers_from=2)
