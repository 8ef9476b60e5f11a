"""What the seeds say to each claim: supported, contradicted, negligible, undecided, or not run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline import paths
from pipeline.findings import power
from pipeline.findings.decisions import Comparison, Decision, compare, decide, holm, level, turned
from pipeline.findings.evidence import Evidence, gather
from pipeline.findings.measured import Result, load_available
from pipeline.findings.stats import Estimate, mean_interval
from pipeline.findings.wording import cell, guessing, listed
from pipeline.params.contrasts import Contrast, Sum, parse
from pipeline.params.planned import Claims, PlannedClaim, PlannedStudy, claims_of
from pipeline.params.quantities import Quantity, quantity
from pipeline.params.studies import Params

Values = dict[str, dict[int, float]]
"""A quantity by row and seed."""


@dataclass(frozen=True)
class Case:
    """A claim and what was measured for it.

    Args:
        name, claim: as planned.
        contrast, quantity: what its test compares.
        values: of the rows that were measured, in the order of the contrast.
        evidence: one for each part of the contrast; empty where the claim cannot be judged.
        steps: the same for each step of a trend.
        leaking: rows that were selected on test images.
        failures: the seeds of a row's runs that failed, of rows that had any.
    """

    name: str
    claim: PlannedClaim
    contrast: Contrast
    quantity: Quantity
    values: Values
    evidence: tuple[Evidence, ...]
    steps: tuple[Evidence, ...] = ()
    leaking: frozenset[str] = frozenset()
    failures: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @property
    def rows(self) -> dict[str, Estimate]:
        """Mean of the quantity by row."""
        return {row: mean_interval(list(values.values())) for row, values in self.values.items()}

    def margin(self, part: Sum) -> float:
        """What a difference of the contrast's part has to exceed, in the stored unit."""
        return -part.constant - (self.quantity.matters if self.contrast.tolerant else 0.0)

    @property
    def turn(self) -> int | None:
        """The step in which a trend that rises surely turns round, which keeps it from being supported, if one does."""
        rises = all(part.estimate.mean >= 0 for part in self.evidence)
        if not rises or not turned([step.sample for step in self.steps], self.matters):
            return None
        return min(range(len(self.steps)), key=lambda place: self.steps[place].estimate.mean)

    @property
    def matters(self) -> float | None:
        """The smallest difference that does; None where the claim names its margin itself."""
        margin = self.contrast.tolerant or any(part.constant for part in self.contrast.parts)
        return None if margin else self.quantity.matters


@dataclass(frozen=True)
class Verdict:
    """A claim as one study decides it.

    Args:
        case: the claim and its evidence.
        decision: what the seeds say.
        reason: which of its rows and runs only guess, and why the claim is open, or negligible.
        p: two-sided p-value; None where the claim was not run.
        corrected: p, corrected for the other claims that the study tests.
    """

    case: Case
    decision: Decision
    reason: str = ""
    p: float | None = None
    corrected: float | None = None

    @property
    def grounds(self) -> Sequence[Evidence]:
        """What it stands on: all parts of the claim, or the step in which a trend turns round."""
        case = self.case
        if self.decision is Decision.CONTRADICTED and case.turn is not None:
            return (case.steps[case.turn],)
        return case.evidence


def judge(claims: Claims, results: Mapping[str, Result], looks: Sequence[int] = ()) -> list[Verdict]:
    """Verdicts on all claims of a study, corrected for how many of them were run (Holm).

    Args:
        claims: as planned.
        results: by row; a claim about a row that is not there was not run.
        looks: of the study, which share what may be wrong; see `level`.
    """
    alpha = level(looks)
    cases = [_case(name, claim, results) for name, claim in claims.items()]
    run = [case for case in cases if case.evidence]
    if not run:
        return [Verdict(case, Decision.NOT_RUN, _missing(case, results)) for case in cases]
    compared = [_compared(case) for case in run]
    decisions = decide(compared, alpha)
    step = alpha / max(1, (holm([one.direction[0] for one in compared]) > alpha).sum())  # Holm's next one
    verdicts = {}
    for case, found in zip(run, decisions, strict=True):
        decision, p, reasons = Decision(str(found.word[0])), float(found.p[0]), [_idle(case, results)]
        match decision:
            case Decision.UNDECIDED:
                alone = f"sure by itself, but not as one of {len(run)} claims" if p <= alpha else ""
                reasons += [alone, _needed(case, step, looks)]
            case Decision.NEGLIGIBLE:
                reasons.append(_small(case.quantity))
            case Decision.CONTRADICTED:
                reasons.append(_turning(case))
        told = "; ".join(filter(None, reasons))
        verdicts[case.name] = Verdict(case, decision, told, p, float(found.corrected[0]))
    return [verdicts.get(case.name) or Verdict(case, Decision.NOT_RUN, _missing(case, results)) for case in cases]


def judge_available(params: Params, study: str) -> tuple[list[Verdict], dict[str, Result], list[str]]:
    """Verdicts of a study on the rows that have outputs.

    Returns:
        The verdicts, the results by row that they stand on, and what is wrong with outputs that cannot be read.
    """
    planned = PlannedStudy(name=study, study=params.in_full(study), rows=params.of_study(study))
    results, complaints = load_available(planned, paths.RUNS / study, paths.DIAGNOSIS / study)
    return judge(claims_of(params, study), results, planned.study.looks), results, complaints


def _compared(case: Case) -> Comparison:
    return compare([part.sample for part in case.evidence], [step.sample for step in case.steps], case.matters)


def _case(name: str, claim: PlannedClaim, results: Mapping[str, Result]) -> Case:
    contrast = parse(claim.test)
    found = quantity(contrast.metric)
    assert found is not None  # the plan has checked it
    there = {row: results[row] for row in contrast.rows if row in results}
    measured = {row: result.measure(found) for row, result in there.items()}
    values = {row: by_seed for row, by_seed in measured.items() if by_seed}
    evidence, steps = (), ()
    if len(values) == len(contrast.rows):
        margin = Sum(constant=found.matters if contrast.tolerant else 0.0)
        evidence = gather(found, [part.plus(margin) for part in contrast.parts], results)
        steps = gather(found, contrast.steps, results)
    leaking = frozenset(row for row, result in there.items() if result.leaking)
    failures = {row: [run.seed for run in result.failures] for row, result in there.items() if result.failures}
    return Case(name, claim, contrast, found, values, evidence, steps, leaking, failures)


def _missing(case: Case, results: Mapping[str, Result]) -> str:
    if absent := [row for row in case.contrast.rows if row not in results]:
        return f"no results of {listed(absent)}"
    if unmeasured := [row for row in case.contrast.rows if row not in case.values]:
        return f"{cell(case.contrast.metric)} was not measured in {listed(unmeasured)}"
    if not any(results[row].finished for row in case.contrast.rows):
        return "every run of its rows failed"
    return "its rows have no seed in common"


def _idle(case: Case, results: Mapping[str, Result]) -> str:
    """Which rows only guess: who compares with them learns that they do, and nothing of the layers."""
    if case.quantity.tells_failure:
        return ""
    return guessing([results[row] for row in case.contrast.rows], lambda result: f"`{result.label}`")


def _turning(case: Case) -> str:
    """Where a trend turns round, if it does."""
    if case.turn is None:
        return ""
    rows = [f"`{row}`" for row in case.contrast.steps[case.turn].weights][::-1]
    return f"it turns round between {' and '.join(rows)}"


def _small(found: Quantity) -> str:
    """Why a claim is negligible."""
    size = f"{found.scale * found.matters:g} {found.unit}".rstrip()
    size = f"a factor of {found.base**found.matters:.3g}" if found.base else size
    return f"true or not, the difference is surely smaller than {size}, which is what matters"


def _needed(case: Case, level: float, looks: Sequence[int]) -> str:
    """How many seeds would decide a claim, in words.

    Args:
        level: at which the t test will have to decide it.
        looks: numbers of seeds at which the study is judged.
    """
    common = min(len(part.differences) for part in case.evidence)
    if common == 1:
        return "one common seed shows no spread"
    if common < power.FEWEST:
        return f"{common} common seeds say too little of the spread to plan with"
    if turning := _turning(case):
        return f"{turning}, so no more seeds will support it, if the difference stays as it is"
    against = [part for part in case.evidence if part.estimate.mean < 0]
    # Which part speaks against the claim is picked afterwards, for which `compare` corrects.
    level = level / len(case.evidence) if against else level
    plans = [_plan(part, case.matters, level) for part in against or case.evidence]
    seeds = [plan - len(part.differences) for plan, part in zip(plans, against or case.evidence, strict=True) if plan]
    if len(seeds) < len(plans) and not (against and seeds):
        return f"too small a difference to be decided by {power.MOST:,} seeds, if it stays as it is"
    more = min(seeds) if against else max(seeds)
    look = next((look for look in looks if look >= common + more), None)
    planned = f" (the look at {look} has them)" if look else ""
    if looks and not look:
        planned = f" (more than its last look, at {looks[-1]})"
    return f"about {more} more seed{'s' * (more > 1)}{planned} would decide it, if the difference stays as it is"


def _plan(part: Evidence, matters: float | None, level: float) -> int | None:
    deviation = max(float(np.std(part.differences, ddof=1)), part.floor)
    return power.seeds_needed(len(part.differences), part.estimate.mean, deviation, matters, level)
