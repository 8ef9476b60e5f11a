"""What the seeds allow to say: pure functions of numbers, so that every interval of a report can be checked alone."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
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

    def plus(self, constant: float) -> "Estimate":
        """That of the values + a constant."""
        return Estimate(self.mean + constant, self.half_width, self.n)


def mean_interval(values: Sequence[float], level: float = 0.95, floor: float = 0.0) -> Estimate:
    """Mean of independent values with Student's t interval (Student 1908, "The probable error of a mean").

    Args:
        values: N finite numbers of one unit, N ≥ 1.
        level: probability that the interval covers the mean, for values from a normal distribution.
        floor: the least standard deviation that they can be taken to have, as `rounding_deviation` gives it.

    Returns:
        The estimate; half_width is None for N = 1, and 0 where all values are equal and there is no floor.

    Raises:
        ValueError: no values.
    """
    n = len(values)
    if n == 0:
        raise ValueError("no values")
    mean = math.fsum(values) / n
    if n == 1:
        return Estimate(mean, None, n)
    deviation = max(math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)), floor)
    if deviation <= ROUNDING:
        return Estimate(mean, 0.0, n)
    return Estimate(mean, float(stdtrit(n - 1, (1 + level) / 2)) * deviation / math.sqrt(n), n)


@dataclass(frozen=True)
class Interval:
    """A statistic and the ends of its interval, which need not lie at one distance; None for a single value."""

    value: float
    low: float | None
    high: float | None


def improvement(differences: Sequence[float], level: float = 0.95) -> Interval:
    """P(A > B), the share of seeds in which A wins, a tie counting half, with its percentile bootstrap interval
    (Bouthillier et al. 2021, arXiv 2103.03098, section 3).

    A resample is n draws of a win, a tie or a loss, so its share has a distribution that can be written down: the
    interval is what infinitely many resamples would give, without a random number. Like every percentile bootstrap it
    is too narrow for few seeds, so it describes, and `decisions` decides.

    Args:
        differences: A − B by seed, one or more.
        level: nominal coverage.
    """
    values = np.asarray(differences, dtype=np.float64)
    n, wins, ties = values.size, int((values > ROUNDING).sum()), int((np.abs(values) <= ROUNDING).sum())
    share = (wins + ties / 2) / n
    if n == 1:
        return Interval(share, None, None)
    draw, shares = np.array([n - wins - ties, ties, wins]) / n, np.ones(1)
    for _ in range(n):
        shares = np.convolve(shares, draw)
    below = shares.cumsum()
    # The smallest share that is reached with that probability; sums of 2n products round in the 16th digit.
    low, high = (np.searchsorted(below, end - 1e-12) / (2 * n) for end in ((1 - level) / 2, (1 + level) / 2))
    return Interval(share, float(low), float(high))


Statistic = Callable[..., NDArray[np.float64]]
"""Takes S×N values and `axis`."""


def interquartile_mean(values: ArrayLike, axis: int = -1) -> NDArray[np.float64]:
    """Mean of the middle half: a lucky and a diverged run count little (Agarwal et al. 2021, arXiv 2108.13264).

    Of N values, the ⌊N/4⌋ lowest and highest are left out, as in the authors' package rliable.
    """
    from scipy.stats import trim_mean

    return np.asarray(trim_mean(values, 0.25, axis=axis))


def bootstrap(values: Sequence[float], statistic: Statistic = np.mean, level: float = 0.95) -> Interval:
    """A statistic with its percentile bootstrap interval (Efron 1979; 9,999 resamples, the same every time).

    It assumes no normal distribution. With few values it is too narrow: of normal values, intervals of level 0.95
    cover the mean in 0.75 of all cases with 3 values, 0.85 with 5, 0.91 with 10 and 0.94 with 29
    (tests/simulation.py). So it describes, and `decisions` decides.

    Args:
        values: N finite numbers of one unit, N ≥ 1.
        statistic: the mean, or `interquartile_mean`.
        level: nominal coverage.
    """
    from scipy.stats import bootstrap as resample

    value = float(statistic(np.asarray(values), axis=-1))
    if len(values) == 1:
        return Interval(value, None, None)
    if max(values) - min(values) <= ROUNDING:
        return Interval(value, value, value)
    generator = np.random.default_rng(0)
    found = resample(
        (values,), statistic, confidence_level=level, n_resamples=9_999, method="percentile", rng=generator
    )
    return Interval(value, *map(float, found.confidence_interval))


def contrast(values: Mapping[str, Mapping[int, float]], weights: Mapping[str, float]) -> dict[int, float]:
    """A weighted sum of rows within each seed, by seed.

    Runs of one seed share initial weights, order of images and crops, so what these do to all rows
    cancels out of a difference (Bouthillier et al. 2021, arXiv 2103.03098).

    Args:
        values: one value per seed of each row, in one unit.
        weights: of rows, at least one; only their seeds count, and only those that all of them have.
    """
    common = set.intersection(*(set(values[row]) for row in weights))
    return {seed: math.fsum(weight * values[row][seed] for row, weight in weights.items()) for seed in sorted(common)}


def unpaired(values: Mapping[str, Mapping[int, float]], weights: Mapping[str, float], level: float = 0.95) -> Estimate:
    """A weighted sum of rows with the interval that it has if seeds are not taken as pairs (Welch 1947).

    Args:
        values: two or more values by seed of each row, in one unit.
        weights: of rows, at least one.
        level: probability that the interval covers the sum, for normal values of independent rows.
    """
    rows = [(weight, np.array(list(values[row].values()))) for row, weight in weights.items()]
    mean = math.fsum(weight * float(found.mean()) for weight, found in rows)
    squares = [(weight**2 * float(found.var(ddof=1)) / found.size, found.size - 1) for weight, found in rows]
    square = math.fsum(part for part, _ in squares)
    n = min(found.size for _, found in rows)
    if square <= ROUNDING**2:
        return Estimate(mean, 0.0, n)
    freedom = square**2 / math.fsum(part**2 / df for part, df in squares)  # Satterthwaite 1946
    return Estimate(mean, float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(square), n)


def rounding_deviation(resolutions: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Standard deviation that rounding alone gives a weighted sum of rows.

    A number that is known to a step of h lies anywhere within it, with variance h²/12 (Sheppard 1898).

    Args:
        resolutions: the step of each row's values, in their unit; 0 for those that have none.
        weights: of rows.
    """
    return math.sqrt(math.fsum((weight * resolutions[row]) ** 2 / 12 for row, weight in weights.items()))


def paired_difference(a: Mapping[int, float], b: Mapping[int, float], level: float = 0.95) -> Estimate | None:
    """Mean of a − b over the seeds that both have, with the t interval of the paired differences.

    Args:
        a, b: one value per seed, in one unit.
        level: probability that the interval covers the mean difference.

    Returns:
        The estimate, or None where no seed is common.
    """
    differences = contrast({"a": a, "b": b}, {"a": 1.0, "b": -1.0})
    return mean_interval(list(differences.values()), level) if differences else None


TWO_WAY = {
    "first": {"neither": -0.5, "first": 0.5, "second": -0.5, "both": 0.5},
    "second": {"neither": -0.5, "first": -0.5, "second": 0.5, "both": 0.5},
    "interaction": {"neither": 1.0, "first": -1.0, "second": -1.0, "both": 1.0},
}
"""Effects of a 2×2 design as weights of its cells. The interaction is what the first factor adds where the second is
present, less what it adds where the second is absent."""


def two_way(cells: Mapping[str, Mapping[int, float]]) -> dict[str, Estimate] | None:
    """Main effects and interaction of two factors that are each absent or present, paired by seed.

    Each effect is a contrast with one degree of freedom, so its t interval says what a repeated-measures analysis
    of variance does, F = t² (Fisher 1935, "The design of experiments", chapter 6).

    Args:
        cells: one value per seed for `neither`, `first`, `second` and `both`.

    Returns:
        Estimates by the keys of TWO_WAY, or None where no seed is common.
    """
    effects = {name: list(contrast(cells, weights).values()) for name, weights in TWO_WAY.items()}
    return {name: mean_interval(values) for name, values in effects.items()} if effects["interaction"] else None
