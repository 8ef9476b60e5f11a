"""How fast rows learn, and which learning rates they bear: pure functions of what was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.findings.measured import Result
from pipeline.params.quantities import LEARNS, USABLE


@dataclass(frozen=True)
class Rates:
    """Rows that differ in nothing but the learning rate.

    Args:
        results: by learning rate, in rising order, two or more.
    """

    results: Mapping[float, Result]

    def accuracy(self, rate: float) -> float | None:
        """Mean validation accuracy of the kept weights; a run that failed counts as a guess."""
        estimate = self.results[rate].estimate("final_val_accuracy")
        return estimate.mean if estimate else None

    def usable(self) -> float | None:
        """The highest rate at which every seed finished and whose accuracy lies at least `USABLE` of the way from
        guessing to the best; None if there is none, or the best learns nothing."""
        chance = next(iter(self.results.values())).chance
        learned = {rate: (self.accuracy(rate) or chance) - chance for rate in self.results}
        best = max(learned.values())
        if best < LEARNS * (1 - chance):
            return None
        fit = [rate for rate, amount in learned.items() if amount >= USABLE * best]
        return max((rate for rate in fit if not self.results[rate].failures), default=None)


def learning_rates(results: Sequence[Result]) -> list[Rates]:
    """The arrangements that were trained at several learning rates, in the order of their first row."""
    first = {next(iter(result.rates.values())).name: result.rates for result in results if result.rates}
    return [Rates(rates) for rates in first.values()]
