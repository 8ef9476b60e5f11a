"""When seeds decide a comparison: pure functions of paired differences, so that simulation can check their error rates.

A comparison A > B is decided where two rules agree, at ALPHA both sides together:

- the paired t test (Student 1908) of the differences, which is exact for normal differences of any number;
- the two thresholds of Bouthillier et al. 2021 (arXiv 2103.03098, section 3): the percentile bootstrap interval of
  P(A > B) lies over ½, and reaches over MEANINGFUL.

Neither is enough alone. With few seeds a percentile bootstrap is too narrow: five wins of five pass the two
thresholds, which happens to 3 % of equal rows on each side, and three of three to 12 %. The t test by itself calls a
difference better that is sure but too small to matter. `python tests/simulation.py` measures the rates of both
together; tests/test_decisions.py holds them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtrc, stdtr

from pipeline.stats import ROUNDING

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]

ALPHA = 0.05
"""Share of comparisons without a difference that may be decided, for either side."""

MEANINGFUL = 0.75
"""A difference matters if A may win in more than this share of the seeds (Bouthillier et al. 2021)."""


@dataclass(frozen=True)
class Improvement:
    """P(A > B), the share of seeds in which A wins, a tie counting half, and its bootstrap interval. Arrays of S."""

    share: Numbers
    low: Numbers
    high: Numbers

    @property
    def decided(self) -> Flags:
        """Whether A is better by the two thresholds."""
        return (self.low > 0.5) & (self.high > MEANINGFUL)


def improvement(differences: ArrayLike) -> Improvement:
    """P(A > B) with its percentile bootstrap interval of level 1 − ALPHA.

    A resample is n draws of a win, a tie or a loss, so its share has a distribution that can be written
    down: the interval is what infinitely many resamples would give, without a random number.

    Args:
        differences: A − B, S×n: n seeds of each of S comparisons.
    """
    values = np.asarray(differences, dtype=np.float64)
    n = values.shape[-1]
    wins, ties = (values > ROUNDING).sum(-1), (np.abs(values) <= ROUNDING).sum(-1)
    counts, which = np.unique(np.stack([wins, ties], -1), axis=0, return_inverse=True)
    ends = np.array([_resampled(int(won), int(tied), n) for won, tied in counts])[which.reshape(-1)]
    return Improvement((wins + ties / 2) / n, ends[:, 0], ends[:, 1])


@cache
def _resampled(wins: int, ties: int, n: int) -> tuple[float, float]:
    """Ends of the percentile interval of the mean of n draws from `wins` ones, `ties` halves, and zeros."""
    draw, shares = np.array([n - wins - ties, ties, wins]) / n, np.ones(1)
    for _ in range(n):
        shares = np.convolve(shares, draw)
    below = shares.cumsum()
    # The smallest share that is reached with that probability; sums of 2n products round in the 16th digit.
    low, high = (np.searchsorted(below, share - 1e-12) / (2 * n) for share in (ALPHA / 2, 1 - ALPHA / 2))
    return float(low), float(high)


def p_values(differences: ArrayLike) -> tuple[Numbers, Numbers]:
    """One-sided p-values of the paired t test, for a mean over zero and for a mean below zero.

    Where all differences that are not zero have one size, as those of `failed`, their spread says nothing, and
    the exact sign test (McNemar 1947 for two-valued results) stands in.

    Args:
        differences: S×n.
    """
    values = np.asarray(differences, dtype=np.float64)
    n, sizes = values.shape[-1], np.abs(values)
    one_size = sizes.max(-1) - np.where(sizes > ROUNDING, sizes, np.inf).min(-1) <= ROUNDING
    wins, losses = (values > ROUNDING).sum(-1), (values < -ROUNDING).sum(-1)
    error = np.where(one_size, 1.0, values.std(-1, ddof=1) if n > 1 else 1.0) / np.sqrt(n)
    t = values.mean(-1) / error
    over = np.where(one_size, bdtrc(wins - 1.0, wins + losses, 0.5), stdtr(n - 1, -t))
    below = np.where(one_size, bdtrc(losses - 1.0, wins + losses, 0.5), stdtr(n - 1, t))
    return over, below


def holm(p: ArrayLike) -> Numbers:
    """p-values corrected for being one of several (Holm 1979, "A simple sequentially rejective multiple test").

    Args:
        p: one two-sided p-value per comparison of a family, …×M.

    Returns:
        As many values; to call those at most ALPHA decided is wrong about any of them in at most ALPHA of all families.
    """
    values = np.asarray(p, dtype=np.float64)
    order = values.argsort(-1, kind="stable")
    steps = np.arange(values.shape[-1], 0, -1) * np.take_along_axis(values, order, -1)
    corrected = np.empty_like(values)
    np.put_along_axis(corrected, order, np.minimum(1.0, np.maximum.accumulate(steps, -1)), -1)
    return corrected


@dataclass(frozen=True)
class Comparison:
    """What seeds say to the claim that one or several means are all over zero, before any correction. Arrays of S.

    Args:
        p: two-sided p-value.
        side: 1 where it speaks for the claim, −1 where against it.
        matters: whether that side is better by the two thresholds.
    """

    p: Numbers
    side: NDArray[np.int64]
    matters: Flags

    def decided(self, corrected: ArrayLike) -> NDArray[np.int64]:
        """1 where the claim is supported, −1 where it is contradicted, 0 where it is open.

        Args:
            corrected: p as `holm` gives it; p itself for a comparison that stands alone.
        """
        return np.where((np.asarray(corrected) <= ALPHA) & self.matters, self.side, 0)


def compare(parts: Sequence[ArrayLike]) -> Comparison:
    """Compares with zero the means of one or several rows of differences.

    The claim is that all means are over zero. It holds as surely as the least sure of them does (intersection-union
    test, Berger 1982), and fails where one of them is below zero, whose p-value is multiplied by their number
    (Bonferroni).

    Args:
        parts: differences, each S×n; n may be another for each.
    """
    sides = [p_values(part) for part in parts]
    over, below = np.stack([side[0] for side in sides]), np.stack([side[1] for side in sides])
    for_all, against = over.max(0), np.minimum(1.0, len(parts) * below.min(0))
    speaks_for = for_all <= against
    better = np.all([improvement(part).decided for part in parts], axis=0)
    worse = np.stack([improvement(np.negative(part)).decided for part in parts])
    worst = np.take_along_axis(worse, below.argmin(0)[None], 0)[0]
    p = np.minimum(1.0, 2 * np.minimum(for_all, against))
    return Comparison(p, np.where(speaks_for, 1, -1), np.where(speaks_for, better, worst))
