"""A study's answer to its own question, in at most four sentences: what reports, index, MLflow and terminal say.

First what batch normalization and dropout add, where rows with neither, either and both are there, and what the study's
`answers` in params.yaml tell; then, as long as there is room, which rows may be the best. A number that is not
sure at 5 %, all numbers of the answer taken together (Holm), says so, and so does a number that a failed run decides.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.findings.comparisons import quadruples
from pipeline.findings.decisions import ALPHA, Decision, compare, decide, level
from pipeline.findings.evidence import Evidence, gather
from pipeline.findings.measured import Groups, Result
from pipeline.findings.stats import Estimate
from pipeline.findings.wording import MOST_NAMED, NONE, contenders, guessing, listed, number, percent, times
from pipeline.params.contrasts import Sum, parse_sum
from pipeline.params.quantities import ACCURACY, Quantity, quantity
from pipeline.params.studies import Study

MOST = 4
"""Sentences of an answer."""

NOTE = (
    "± is half of the 95 % interval of this number alone. A number without a mark is surely not zero, at 5 % for all"
    " numbers of the answer together, of which each planned look at the study has its share; this asks for more"
    " than that interval; not sure: chance alone may have made it; too little to matter: surely less than half a point,"
    " or what else the claims call negligible; a guess beside a guess: none of its rows recognizes more than a guess"
    " would, so nothing is known of it. In 95 % of such studies the best row is among those that may be the best."
)


@dataclass(frozen=True)
class Number:
    """A number within a sentence: a sum of rows, and what was measured for it; None where nothing was."""

    quantity: Quantity
    rows: Sequence[Result]
    evidence: Evidence | None


@dataclass(frozen=True)
class Sentence:
    """A sentence with numbers in braces, by name."""

    says: str
    numbers: Mapping[str, Number]


def answer(study: Study, groups: Groups) -> str:
    """The answer as Markdown, with the labels of rows.

    Args:
        study: as planned.
        groups: what `measured.load` gives.
    """
    results = {result.name: result for group in groups for result in group}
    if not any(result.finished for result in results.values()):
        return "No run finished, so there is no answer."
    sentences = [*(_both(group) for group in groups), *_declared(study, results)]
    alpha = level(study.looks)
    told = _tell([sentence for sentence in sentences if sentence], alpha)
    several = len(groups) > 1
    ranked = sorted(filter(contenders, groups), key=lambda group: contenders(group)[0].leaking)
    best = (_best(group, f" on `{group[0].row.dataset}`" if several else "", alpha) for group in ranked)
    prefix = next(iter(results.values())).prefix
    return " ".join([*told, *best][:MOST]).replace(f"`{prefix}", "`")


def advice(study: Study, group: Sequence[Result]) -> str:
    """Which row to take, and which others may do as well.

    Args:
        study: as planned.
        group: its rows on one data set.
    """
    rivals = contenders(group)
    if not rivals:
        return "no run finished, so nothing can be said."
    best = rivals[0]
    equal = [result.label for result in may_be_best(rivals, level(study.looks)) if result is not best]
    text = f"{best.label}, which recognizes {percent(best.accuracy)} % of the test images"
    if equal:
        return f"{text}, and these are as good, as far as {len(best.runs)} seeds can tell: {', '.join(equal)}."
    return f"{text}; every other row is surely worse." if len(rivals) > 1 else f"{text}."


def _declared(study: Study, results: Mapping[str, Result]) -> Iterator[Sentence]:
    for one in study.answers:
        numbers = {}
        for name, text in one.of.items():
            contrast = parse_sum(text)
            found = quantity(contrast.metric)
            assert found is not None  # the plan has checked it
            numbers[name] = _number(found, contrast.parts[0], results)
        yield Sentence(one.says.strip(), numbers)


def _both(group: Sequence[Result]) -> Sentence | None:
    """What batch normalization and dropout add, each and together, on average over all settings that have both."""
    tables = quadruples(group)
    if not tables:
        return None
    results = {result.name: result for result in group}

    def added(cell: str) -> Number:
        total = Sum()
        for table in tables:
            total = total.plus(Sum({table[cell].name: 1.0, table["neither"].name: -1.0}), 1 / len(tables))
        return _number(ACCURACY, total, results)

    several = f"networks without either, on average over {len(tables)} settings"
    start = several if len(tables) > 1 else f"`{tables[0]['neither'].name}`"
    says = (
        f"Batch normalization alone adds {{bn}} to the test accuracy of {start}, dropout alone {{dropout}}, and both"
        " together {both}."
    )
    return Sentence(says, {"bn": added("first"), "dropout": added("second"), "both": added("both")})


def _number(found: Quantity, part: Sum, results: Mapping[str, Result]) -> Number:
    evidence = gather(found, [part], results)
    return Number(found, [results[row] for row in part.weights], evidence[0] if evidence else None)


def _tell(sentences: Sequence[Sentence], alpha: float) -> list[str]:
    numbers = [one for sentence in sentences for one in sentence.numbers.values()]
    compared = [compare([one.evidence.sample], matters=one.quantity.matters) for one in numbers if one.evidence]
    words = iter(decide(compared, alpha) if compared else [])
    told = []
    for sentence in sentences:
        shown = {
            name: _shown(one, str(next(words).word[0])) if one.evidence else NONE
            for name, one in sentence.numbers.items()
        }
        telling = [one for one in sentence.numbers.values() if not one.quantity.tells_failure]
        rows = {row.name: row for one in telling for row in one.rows}
        ways = {one.quantity.counts_as for one in telling}
        counted = ways.pop() if len(ways) == 1 else ""
        told.append(_remarked(sentence.says.format(**shown), list(rows.values()), counted))
    return told


DOUBTS = {Decision.UNDECIDED: " (not sure)", Decision.NEGLIGIBLE: " (too little to matter)"}
GUESSES = " (a guess beside a guess)"
"""What a number says between rows that only guess, of which nothing is known."""


def _shown(one: Number, word: str) -> str:
    assert one.evidence
    guess = not one.quantity.tells_failure and not any(row.learns for row in one.rows)
    doubt = GUESSES if guess else DOUBTS.get(Decision(word), "")
    return measure(one.evidence.estimate, one.quantity) + doubt


def measure(found: Estimate, unit: Quantity) -> str:
    """A number with unit and interval, in as many digits as that has meaning; of a logarithm the factor."""
    if unit.base:
        return times(found, unit.base)
    half = unit.scale * (found.half_width or 0.0)
    digits = min(unit.digits, max(0, 1 - math.floor(math.log10(half)))) if half else unit.digits
    spread = "" if found.half_width is None else f" ± {number(half, digits)}"
    return f"{number(found.mean, digits, unit.scale)}{spread} {unit.unit}".rstrip()


def _remarked(text: str, rows: Sequence[Result], counted: str = ACCURACY.counts_as) -> str:
    """A sentence with what is to be known of its rows: runs that failed and count as something, and that only guess."""
    failed = [f"{len(row.failures)} of {len(row.runs)} runs of `{row.name}`" for row in rows if row.failures]
    idle = guessing(rows, lambda row: f"`{row.name}`")
    remarks = []
    if failed:
        remarks.append(f"{listed(failed)} failed{f', counted as {counted}' if counted else ''}")
    if idle:
        remarks.append(idle)
    return f"{text.removesuffix('.')} ({'; '.join(remarks)})." if remarks else text


def _best(group: Sequence[Result], where: str, alpha: float) -> str:
    """Which row is ahead, and which others may be the best."""
    rivals = contenders(group)
    best, *others = rivals
    scope = ""
    if best.leaking:
        which = "all rows" if all(result.leaking for result in group) else "all rows that finished"
        scope = f"by accuracies that are optimistic, since {which} were selected on test images, "
    elif any(result.leaking for result in group):
        scope = "among the rows selected on validation images, "
    text = f"{scope}`{best.name}` has the highest mean test accuracy{where}, {percent(best.accuracy)} %"
    text = text[0].upper() + text[1:]
    if not others:
        return f"{text}; no other row can be compared with it."
    equal = [result for result in may_be_best(rivals, alpha) if result is not best]
    worse = len(others) - len(equal)
    names = [f"`{result.name}`" for result in equal]
    named = ", ".join(names)
    if len(names) > MOST_NAMED:
        named = f"{len(names)} of the {len(others)} other rows" if worse else f"all {len(others)} other rows"
    if not equal:
        told = f"surely higher than that of {f'all {worse} other rows' if worse > 1 else 'the other row'}"
        return _remarked(f"{text}, {told}.", [best])
    rest = f", the {f'{worse} others are' if worse > 1 else 'other is'} surely not the best" if worse else ""
    return _remarked(f"{text}; {named} may be as good{rest}.", [best, *equal[:MOST_NAMED]])


def may_be_best(rivals: Sequence[Result], alpha: float = ALPHA) -> list[Result]:
    """The rows that the seeds do not exclude from being the best: in 1 − alpha of all studies the best is among them.

    A row is excluded where a paired one-sided test says of any other that it is better, at an alpha that the others
    share (multiple comparisons with the best, Hsu 1981, with Bonferroni's bound, so that rows may vary unequally).
    """
    share = alpha / max(1, len(rivals) - 1)
    results = {result.name: result for result in rivals}

    def better(other: Result, result: Result) -> bool:
        found = gather(ACCURACY, [Sum({other.name: 1.0, result.name: -1.0})], results)
        return bool(found) and float(found[0].sample.over()[0]) <= share

    return [result for result in rivals if not any(better(other, result) for other in rivals if other is not result)]
