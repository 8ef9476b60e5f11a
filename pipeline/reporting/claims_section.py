"""The section on claims: how many hold, each with its picture, and what lies behind each verdict."""

from collections.abc import Iterator, Sequence
from functools import partial

from pipeline.findings.decisions import Decision
from pipeline.findings.evidence import Evidence
from pipeline.findings.findings import Findings
from pipeline.findings.stats import Estimate
from pipeline.findings.verdicts import Verdict
from pipeline.findings.wording import NONE, cell, interval, number, signed, table, times
from pipeline.params.quantities import Quantity
from pipeline.reporting.interval_plot import Line, interval_plot
from pipeline.reporting.section import Picture, Section, Words

MARKS = {
    Decision.SUPPORTED: "✓",
    Decision.CONTRADICTED: "✗",
    Decision.NEGLIGIBLE: "≈",
    Decision.UNDECIDED: "?",
    Decision.NOT_RUN: NONE,
}
"""What a verdict begins with, for the eye."""

UNLESS = ", if the difference stays as it is"
"""The end of a reason that the evidence repeats."""


def claims(found: Findings) -> Iterator[Section]:
    """Every claim that the study tests with its verdict and why, a line each."""
    if found.verdicts:
        lines = [
            f"{place}. **{MARKS[verdict.decision]} {verdict.decision}**: {cell(verdict.case.claim.says)} {why(verdict)}"
            for place, verdict in enumerate(found.verdicts, 1)
        ]
        count = f"{_count(found.verdicts)} made elsewhere, tested here: {tally(found.verdicts)}."
        note = (
            "Beside each, how far the seeds speak for it, with the 95 % interval; below zero, or 1 of a factor, they"
            " speak against it. Where a claim allows or asks for a margin, that is where counting starts."
        )
        yield Section("Claims", [Words(f"{count} {note}"), Words("\n".join(lines))])


def why(verdict: Verdict) -> str:
    """What the seeds show, and why a claim is open."""
    reason = verdict.reason.removesuffix(UNLESS)
    return "; ".join(filter(None, [in_favour(verdict) if verdict.case.evidence else "", reason])) + "."


def evidence(found: Findings) -> Iterator[Section]:
    """What lies behind each verdict, with a picture of every seed."""
    lines, pictures = [], []
    for place, verdict in enumerate(found.verdicts, 1):
        shown = NONE
        if verdict.case.evidence:
            name = f"claim-{verdict.case.name}"
            pictures.append(Picture(found.path(name), cell(_described(verdict)), partial(draw, verdict)))
            shown = pictures[-1].markdown
        lines.append([str(place), shown, found.short(_details(verdict))])
    if lines:
        shown = Words(table(["#", "seeds", "evidence"], lines, numbers_from=3), pictures)
        yield Section("Evidence", [shown])


def _count(verdicts: Sequence[Verdict]) -> str:
    return f"{len(verdicts)} claim{'s' * (len(verdicts) > 1)}"


def tally(verdicts: Sequence[Verdict]) -> str:
    """How many got which verdict."""
    counts = [(decision, sum(verdict.decision == decision for verdict in verdicts)) for decision in Decision]
    return ", ".join(f"{count} {decision}" for decision, count in counts if count)


def draw(verdict: Verdict) -> str:
    """The picture of a verdict with evidence, as SVG."""
    scale, unit = verdict.case.quantity.scale, verdict.case.quantity.unit
    lines = [Line([scale * value for value in part.differences], _scaled(part, scale)) for part in verdict.grounds]
    return interval_plot(lines, verdict.decision, unit, _described(verdict))


def _scaled(part: Evidence, scale: float) -> Estimate:
    half = part.estimate.half_width
    return Estimate(scale * part.estimate.mean, None if half is None else scale * half, part.estimate.n)


def in_favour(verdict: Verdict) -> str:
    """What speaks for the claim, with its interval: of several comparisons, the one that speaks least."""
    case = verdict.case
    if not case.evidence:
        return NONE
    least = _least(verdict.grounds)
    margin = case.margin(case.contrast.parts[case.evidence.index(least)]) if least in case.evidence else 0.0
    return _ends(least.estimate, case.quantity) + (f", counted from {_bound(margin, case.quantity)}" if margin else "")


def _least(evidence: Sequence[Evidence]) -> Evidence:
    return min(evidence, key=lambda part: part.estimate.mean)


def _ends(found: Estimate, unit: Quantity) -> str:
    if unit.base:
        return times(found, unit.base)
    text = f"{signed(unit.scale * found.mean, unit.digits)} {unit.unit}".rstrip()
    if found.low is None or found.high is None:
        return text
    ends = (signed(unit.scale * end, unit.digits) for end in (found.low, found.high))
    return f"{text} ({' to '.join(ends)})"


def _bound(margin: float, unit: Quantity) -> str:
    return f"{number(unit.base**margin, 2)} times" if unit.base else signed(unit.scale * margin, unit.digits)


def _failed(row: str, seeds: Sequence[int], verdict: Verdict) -> str:
    """What became of a row's runs that failed."""
    become = "counted" if verdict.case.values[row].keys() >= set(seeds) else "left out"
    return f"`{row}`: {len(seeds)} failed run{'s' * (len(seeds) > 1)}, {become}."


def _described(verdict: Verdict) -> str:
    return f"{verdict.decision}: {in_favour(verdict)}"


def _details(verdict: Verdict) -> str:
    case = verdict.case
    found = case.quantity
    rows = ", ".join(
        f"`{row}`{' †' * (row in case.leaking)} {interval(mean, found.digits, found.scale)}"
        for row, mean in case.rows.items()
    )
    parts = [f"`{case.name}`, {verdict.decision}. {cell(case.claim.source)}. Tested: {cell(case.claim.tested)}"]
    parts.append(f"`{case.claim.test}`.")
    if rows:
        parts.append(f"{found.meaning[0].upper()}{found.meaning[1:]}{f', {found.unit}' if found.unit else ''}: {rows}.")
    if case.evidence:
        least = _least(verdict.grounds)
        won = f"{number(100 * least.won, 0)} % of {least.estimate.n} seeds are in its favour"
        several = " in the worst of its comparisons" if len(verdict.grounds) > 1 else ""
        parts.append(f"{won}{several}; p = {_p(verdict.p)}, corrected {_p(verdict.corrected)}.")
        if least.unpaired:
            parts.append(f"Unpaired it would be {_ends(least.unpaired, found)}.")
    parts += [_failed(row, seeds, verdict) for row, seeds in case.failures.items() if case.evidence]
    if verdict.reason:
        parts.append(f"{verdict.reason[0].upper()}{verdict.reason[1:]}.")
    return " ".join(parts)


def _p(value: float | None) -> str:
    return NONE if value is None else f"{value:.2g}" if value >= 0.001 else "under 0.001"
