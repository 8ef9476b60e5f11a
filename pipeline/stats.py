"""What the seeds allow to say: pure functions of numbers, so that every interval of a report can be checked alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.special import stdtrit  # the quantile of scipy.stats.t, whose import takes seconds

ROUNDING = 1e-12
"""Fractions that lie closer together than this are equal; their differences carry rounding errors."""


@dataclass(frozen=True)
class Estimate:
    """A mean and its confidence interval.

    Args:
        mean: in the unit of the values.
        half_width: of the interval, which is mean ± half_width; None for a single value, which has no interval.
        n: number of values.
    """

    mean: float
    half_width: float | None
    n: int

    @property
    def low(self) -> float | None:
        """Lower end of the interval."""
        return None if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float | None:
        """Upper end of the interval."""
        return None if self.half_width is None else self.mean + self.half_width


def mean_interval(values: Sequence[float], level: float = 0.95) -> Estimate:
    """Mean of independent values with Student's t interval (Student 1908, "The probable error of a mean").

    Args:
        values: N finite numbers of one unit, N ≥ 1.
        level: probability that the interval covers the mean, for values from a normal distribution.

    Returns:
        The estimate; half_width is None for N = 1 and 0 where all values are equal.

    Raises:
        ValueError: no values.
    """
    n = len(values)
    if n == 0:
        raise ValueError("no values")
    mean = math.fsum(values) / n
    if n == 1:
        return Estimate(mean, None, n)
    if max(values) - min(values) <= ROUNDING:
        return Estimate(mean, 0.0, n)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return Estimate(mean, float(stdtrit(n - 1, (1 + level) / 2)) * deviation / math.sqrt(n), n)


def paired_difference(a: Mapping[int, float], b: Mapping[int, float], level: float = 0.95) -> Estimate | None:
    """Mean of a − b over the seeds that both have, with the t interval of the paired differences.

    Runs of one seed share initial weights, order of images and crops, so what these do to both
    cancels out of the difference (Bouthillier et al. 2021, arXiv 2103.03098).

    Args:
        a, b: one value per seed, in one unit.
        level: probability that the interval covers the mean difference.

    Returns:
        The estimate, or None where no seed is common.
    """
    common = sorted(a.keys() & b.keys())
    return mean_interval([a[seed] - b[seed] for seed in common], level) if common else None


def probability_of_improvement(a: Mapping[int, float], b: Mapping[int, float]) -> float | None:
    """How often a is better than b: P(A > B) + P(A = B) / 2 over the seeds that both have.

    Bouthillier et al. 2021, arXiv 2103.03098, section 4.1, with ties shared as in Agarwal et al. 2021.

    Args:
        a, b: one value per seed, larger is better.

    Returns:
        A fraction, or None where no seed is common.
    """
    common = a.keys() & b.keys()
    wins = sum((a[seed] > b[seed]) + 0.5 * (a[seed] == b[seed]) for seed in common)
    return wins / len(common) if common else None
