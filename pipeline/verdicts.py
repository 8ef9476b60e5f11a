"""What the seeds say to each claim: supported, contradicted, undecided, or not run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from pipeline import power, stats
from pipeline.contrasts import Contrast, Sum, parse
from pipeline.decisions import ALPHA, compare, holm, improvement
from pipeline.measured import Result
from pipeline.plan import Claims, PlannedClaim
from pipeline.quantities import Quantity, quantity
from pipeline.stats import Estimate, mean_interval

Values = dict[str, dict[int, float]]
"""A quantity by row and seed."""


class Decision(StrEnum):
    """What a verdict says."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Evidence:
    """One sum of rows that the claim says is over zero.

    Args:
        differences: one per common seed, in the quantity's own unit; over zero speaks for the claim.
        estimate: their mean and t interval.
        won: share of the seeds that speak for the claim, a tie counting half.
    """

    differences: tuple[float, ...]
    estimate: Estimate
    won: float


@dataclass(frozen=True)
class Case:
    """A claim and what was measured for it.

    Args:
        name, claim: as planned.
        contrast, quantity: what its test compares.
        values: of the rows that were measured, in the order of the contrast.
        evidence: one for each part of the contrast; empty where the claim cannot be judged.
        leaking: rows that were selected on test images.
    """

    name: str
    claim: PlannedClaim
    contrast: Contrast
    quantity: Quantity
    values: Values
    evidence: tuple[Evidence, ...]
    leaking: frozenset[str] = frozenset()

    @property
    def rows(self) -> dict[str, Estimate]:
        """Mean of the quantity by row."""
        return {row: mean_interval(list(values.values())) for row, values in self.values.items()}


@dataclass(frozen=True)
class Verdict:
    """A claim as one study decides it.

    Args:
        case: the claim and its evidence.
        decision: what the seeds say.
        reason: why the claim is open; empty where it is decided.
        p: two-sided p-value; None where the claim was not run.
        corrected: p, corrected for the other claims that the study tests.
    """

    case: Case
    decision: Decision
    reason: str = ""
    p: float | None = None
    corrected: float | None = None


def judge(claims: Claims, results: Mapping[str, Result]) -> list[Verdict]:
    """Verdicts on all claims of a study, corrected for how many of them were run (Holm).

    Args:
        claims: as planned.
        results: by row; a claim about a row that is not there was not run.
    """
    cases = [_case(name, claim, results) for name, claim in claims.items()]
    run = [case for case in cases if case.evidence]
    comparisons = [compare([[part.differences] for part in case.evidence]) for case in run]
    p = [float(comparison.p[0]) for comparison in comparisons]
    corrected = [float(value) for value in holm(p)]
    level = ALPHA / max(1, sum(value > ALPHA for value in corrected))  # of Holm's next step
    verdicts = {}
    for case, comparison, raw, value in zip(run, comparisons, p, corrected, strict=True):
        decision, reason = _decide(case, int(comparison.decided([value])[0]), value <= ALPHA, level)
        if value > ALPHA and comparison.decided([raw])[0]:
            reason = f"sure by itself, but not as one of {len(run)} claims; {reason}"
        verdicts[case.name] = Verdict(case, decision, reason, raw, value)
    return [verdicts.get(case.name) or Verdict(case, Decision.NOT_RUN, _missing(case, results)) for case in cases]


def _case(name: str, claim: PlannedClaim, results: Mapping[str, Result]) -> Case:
    contrast = parse(claim.test)
    found = quantity(contrast.metric)
    assert found is not None  # the plan has checked it
    measured = {row: results[row].measure(found) for row in contrast.rows if row in results}
    values = {row: by_seed for row, by_seed in measured.items() if by_seed}
    evidence = gather(values, contrast.parts) if len(values) == len(contrast.rows) else ()
    leaking = frozenset(row for row in values if results[row].leaking)
    return Case(name, claim, contrast, found, values, evidence, leaking)


def gather(values: Values, sums: Sequence[Sum]) -> tuple[Evidence, ...]:
    """Evidence for each sum; none at all where one of them has no common seed."""
    found = []
    for part in sums:
        differences = tuple(total + part.constant for total in stats.contrast(values, part.weights).values())
        if not differences:
            return ()
        found.append(Evidence(differences, mean_interval(differences), float(improvement([differences]).share[0])))
    return tuple(found)


def _missing(case: Case, results: Mapping[str, Result]) -> str:
    if absent := [row for row in case.contrast.rows if row not in results]:
        return f"no results of {_listed(absent)}"
    if unmeasured := [row for row in case.contrast.rows if row not in case.values]:
        return f"{case.contrast.metric} was not measured in {_listed(unmeasured)}"
    return "its rows have no seed in common"


def _listed(rows: Sequence[str]) -> str:
    return ", ".join(rows if len(rows) <= 3 else [*rows[:2], f"{len(rows) - 2} other rows"])


def _decide(case: Case, decided: int, sure: bool, level: float) -> tuple[Decision, str]:
    """The decision and, where the claim is open, why.

    Args:
        decided: 1 for, −1 against, 0 for neither, by the rules for a single comparison.
        sure: the corrected t test alone decides it.
        level: at which the t test will have to decide it.
    """
    if decided < 0:
        return Decision.CONTRADICTED, ""
    if decided > 0:
        steps = gather(case.values, case.contrast.steps)
        turns = [place for place, step in enumerate(steps, 1) if step.estimate.mean <= 0]
        turned = f"the slope is sure, but step {turns[0]} of {len(steps)} goes the other way" if turns else ""
        return (Decision.UNDECIDED, turned) if turned else (Decision.SUPPORTED, "")
    return Decision.UNDECIDED, _rarely_won(case) if sure else _needed(case, level)


def _rarely_won(case: Case) -> str:
    shares = [max(part.won, 1 - part.won) for part in case.evidence]
    return f"the difference is sure, but one side wins in {100 * min(shares):.0f} % of the seeds, too few to decide"


def _needed(case: Case, level: float) -> str:
    """How many seeds would decide a claim, in words."""
    common = min(len(part.differences) for part in case.evidence)
    if common == 1:
        return "one common seed shows no spread"
    if common < power.FEWEST:
        return f"{common} common seeds say too little of the spread to plan with"
    against = [part for part in case.evidence if part.estimate.mean < 0]
    # Which part speaks against the claim is picked afterwards, for which `compare` corrects.
    level = level / len(case.evidence) if against else level
    plans = [_plan(part, level) for part in against or case.evidence]
    seeds = [plan - len(part.differences) for plan, part in zip(plans, against or case.evidence, strict=True) if plan]
    if len(seeds) < len(plans) and not (against and seeds):
        return f"too small a difference to be decided by {power.MOST} seeds, if it stays as it is"
    more = min(seeds) if against else max(seeds)
    return f"about {more} more seed{'s' * (more > 1)} would decide it, if the difference stays as it is"


def _plan(part: Evidence, level: float) -> int | None:
    deviation = float(np.std(part.differences, ddof=1))
    return power.seeds_needed(len(part.differences), part.estimate.mean, deviation, level)
