"""What was measured for a weighted sum of rows, seed by seed: what verdicts and answers are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.findings import stats
from pipeline.findings.decisions import Sample
from pipeline.findings.measured import Result
from pipeline.findings.stats import Estimate, mean_interval
from pipeline.params.contrasts import Sum
from pipeline.params.quantities import Quantity


@dataclass(frozen=True)
class Evidence:
    """One sum of rows; a claim says that it is over zero.

    Args:
        differences: one per common seed, in the quantity's own unit; over zero speaks for the claim.
        floor: the least standard deviation that they can be taken to have, see `decisions.Sample`.
        unpaired: mean and interval if seeds are not taken as pairs; None where a row has a single run.
    """

    differences: tuple[float, ...]
    floor: float = 0.0
    unpaired: Estimate | None = None

    @property
    def estimate(self) -> Estimate:
        """Their mean and t interval."""
        return mean_interval(self.differences, floor=self.floor)

    @property
    def won(self) -> float:
        """Share of the seeds that speak for the claim, a tie counting half."""
        return stats.improvement(self.differences).value

    @property
    def sample(self) -> Sample:
        """What `decisions` compares."""
        return Sample([self.differences], self.floor)


def difference(quantity: Quantity, one: Result, other: Result) -> Estimate | None:
    """How much more one row has than another, paired by seed; None where no seed is common."""
    found = gather(quantity, [Sum({"one": 1.0, "other": -1.0})], {"one": one, "other": other})
    return found[0].estimate if found else None


def gather(quantity: Quantity, sums: Sequence[Sum], results: Mapping[str, Result]) -> tuple[Evidence, ...]:
    """Evidence for each sum; none at all where one of them has no common seed, or no row with a run that finished.

    Args:
        quantity: what is compared.
        sums: of rows.
        results: by row, all that the sums name.
    """
    found = []
    for part in sums:
        values = {row: results[row].measure(quantity) for row in part.weights}
        differences = tuple(total + part.constant for total in stats.contrast(values, part.weights).values())
        if not differences or not any(results[row].finished for row in part.weights):
            return ()
        resolutions = {row: quantity.resolution(results[row]) for row in part.weights}
        floor = stats.rounding_deviation(resolutions, part.weights)
        several = len(values) > 1 and all(len(by_seed) > 1 for by_seed in values.values())
        unpaired = stats.unpaired(values, part.weights) if several else None
        found.append(Evidence(differences, floor, unpaired and unpaired.plus(part.constant)))
    return tuple(found)
