"""The report's section on claims: how many hold, each with its picture, and what lies behind each verdict."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.findings.decisions import ALPHA, level
from pipeline.findings.evidence import Evidence
from pipeline.findings.stats import Estimate
from pipeline.findings.verdicts import Decision, Verdict
from pipeline.findings.wording import NONE, cell, interval, number, signed, table
from pipeline.params.quantities import QUANTITIES, Quantity
from pipeline.reporting.interval_plot import Line, interval_plot


def _matters(name: str) -> str:
    found = QUANTITIES[name]
    size = found.base**found.matters - 1 if found.base else found.matters
    unit = "%" if found.base else f"{found.unit} of {name}" if found.unit == "points" else found.unit or name.upper()
    return f"{(100 if found.base else found.scale) * size:.2g} {unit}"


NOTE = (
    "A claim is a contrast of rows, evaluated within each seed; over zero, right in the pictures, is in its favour."
    " Every dot is a seed, the bar the 95 % interval of their mean (Student's t); a bar that reaches the edge goes on"
    f" beyond it. One interval decides, at {100 * ALPHA:.0f} % and corrected for the number of claims (Holm): supported"
    " or contradicted if all of it lies on that side of zero, negligible if all of it lies nearer to zero than what"
    f" matters ({', '.join(map(_matters, ('accuracy', 'loss', 'auc', 'best_epoch', 'shift')))}), else undecided. A"
    " claim with a margin is judged by its side of the margin alone. Values in steps, such as epochs, are taken to"
    " vary at least as much as rounding does. Seeds are always taken as pairs; the interval without that stands beside"
    " it. A run that failed counts as a guess: accuracy 1/K and loss log K of K classes, AUC ½, one epoch more than it"
    " may train; for other numbers its seed is left out. The seeds that are missing are an estimate for one more look,"
    " with a chance of 80 %: looking after each seed would decide too often."
)


def claims_section(study: str, verdicts: Sequence[Verdict], looks: Sequence[int] = ()) -> str:
    """The section as Markdown; empty where the study tests no claim.

    Args:
        study: name of the folder with the pictures.
        verdicts: in the order of params.yaml.
        looks: numbers of seeds at which they are judged.
    """
    if not verdicts:
        return ""
    share = (
        f"They are judged at {', '.join(map(str, looks))} seeds, each time at {100 * level(looks):.3g} % and not 5 %."
    )
    lines = [
        [
            f"**{verdict.decision}**",
            cell(verdict.case.claim.says),
            in_favour(verdict),
            f"![{cell(_described(verdict))}]({study}/{picture_name(verdict)})" if verdict.case.evidence else NONE,
        ]
        for verdict in verdicts
    ]
    head = ["verdict", "claim", "in its favour, 95 % interval", "seeds"]
    details = "\n".join(_details(verdict) for verdict in verdicts)
    count = f"{_count(verdicts)}: {tally(verdicts)}."
    return "\n\n".join(
        ["## Claims", count, table(head, lines, numbers_from=len(head)), details, NOTE, *([share] if looks else [])]
    )


def lead(verdicts: Sequence[Verdict]) -> str:
    """What became of the claims, in a sentence or two, and which were contradicted; empty where there are none."""
    if not verdicts:
        return ""
    wrong = [verdict.case.claim.says for verdict in verdicts if verdict.decision is Decision.CONTRADICTED]
    against = f" Contradicted: {' '.join(wrong)}" if wrong else ""
    return f"{_count(verdicts)} made elsewhere: {tally(verdicts)}.{against}"


def _count(verdicts: Sequence[Verdict]) -> str:
    return f"{len(verdicts)} claim{'s' * (len(verdicts) > 1)}"


def tally(verdicts: Sequence[Verdict]) -> str:
    """How many got which verdict."""
    counts = [(decision, sum(verdict.decision == decision for verdict in verdicts)) for decision in Decision]
    return ", ".join(f"{count} {decision}" for decision, count in counts if count)


def draw(verdicts: Sequence[Verdict], folder: Path) -> None:
    """Writes the picture of every verdict that has evidence."""
    for verdict in verdicts:
        if verdict.case.evidence:
            (folder / picture_name(verdict)).write_text(picture(verdict), encoding="utf-8", newline="\n")


def picture_name(verdict: Verdict) -> str:
    """The file of a verdict's picture."""
    return f"claim-{verdict.case.name}.svg"


def picture(verdict: Verdict) -> str:
    """The picture of a verdict with evidence, as SVG."""
    scale, unit = verdict.case.quantity.scale, verdict.case.quantity.unit
    lines = [
        Line([scale * value for value in part.differences], _scaled(part, scale)) for part in verdict.case.evidence
    ]
    return interval_plot(lines, verdict.decision, unit, _described(verdict))


def _scaled(part: Evidence, scale: float) -> Estimate:
    half = part.estimate.half_width
    return Estimate(scale * part.estimate.mean, None if half is None else scale * half, part.estimate.n)


def in_favour(verdict: Verdict) -> str:
    """What speaks for the claim, with its interval: of several comparisons, the one that speaks least."""
    if not verdict.case.evidence:
        return NONE
    return _ends(_least(verdict.case.evidence).estimate, verdict.case.quantity)


def _least(evidence: Sequence[Evidence]) -> Evidence:
    return min(evidence, key=lambda part: part.estimate.mean)


def _ends(found: Estimate, unit: Quantity) -> str:
    text = f"{signed(unit.scale * found.mean, unit.digits)} {unit.unit}".rstrip()
    if found.low is None or found.high is None:
        return text
    ends = (signed(unit.scale * end, unit.digits) for end in (found.low, found.high))
    return f"{text} ({' to '.join(ends)})"


def _failed(row: str, count: int, verdict: Verdict) -> str:
    """What became of a row's runs that failed."""
    become = "counted as guesses" if verdict.case.quantity.of_failed else "left out"
    return f"`{row}`: {count} failed run{'s' * (count > 1)}, {become}."


def _described(verdict: Verdict) -> str:
    return f"{verdict.decision}: {in_favour(verdict)}"


def _details(verdict: Verdict) -> str:
    case = verdict.case
    found = case.quantity
    rows = ", ".join(
        f"`{row}`{' †' * (row in case.leaking)} {interval(mean, found.digits, found.scale)}"
        for row, mean in case.rows.items()
    )
    parts = [f"- `{case.name}`, {verdict.decision}. {cell(case.claim.source)}. Tested: {cell(case.claim.tested)}"]
    parts.append(f"`{case.claim.test}`.")
    if rows:
        parts.append(f"{found.meaning.capitalize()}{f', {found.unit}' if found.unit else ''}: {rows}.")
    if case.evidence:
        least = _least(case.evidence)
        won = f"{number(100 * least.won, 0)} % of {least.estimate.n} seeds are in its favour"
        several = " in the worst of its comparisons" if len(case.evidence) > 1 else ""
        parts.append(f"{won}{several}; p = {_p(verdict.p)}, corrected {_p(verdict.corrected)}.")
        if least.unpaired:
            parts.append(f"Unpaired it would be {_ends(least.unpaired, found)}.")
    parts += [_failed(row, count, verdict) for row, count in case.failures.items() if case.evidence]
    if verdict.reason:
        parts.append(f"{verdict.reason[0].upper()}{verdict.reason[1:]}.")
    return " ".join(parts)


def _p(value: float | None) -> str:
    return NONE if value is None else f"{value:.2g}" if value >= 0.001 else "under 0.001"
