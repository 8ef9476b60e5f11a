"""How many seeds a comparison needs: the power of the two rules of `decisions`, for normal differences."""

import math
from functools import cache

import numpy as np
from scipy.special import bdtr, bdtrc, nctdtr, ndtr, stdtrit

from pipeline.decisions import ALPHA, MEANINGFUL
from pipeline.stats import ROUNDING

POWER = 0.8
"""Chance of deciding that a number of seeds should give."""

FEWEST = 3
"""Of two differences the corrected effect is 0, whatever they are."""

MOST = 500
"""More seeds than this are nobody's plan."""


def power(n: int, effect: float, alpha: float = ALPHA) -> float:
    """Chance that n seeds decide A > B: the smaller of the powers of the two rules, of which each is exact.

    Both look at the same seeds, so that one rarely passes where the other, weaker one fails: the power of both
    together lies below this by at most 0.06, and from 10 seeds on by at most 0.04 (tests/simulation.py).

    Args:
        n: seeds, 2 or more.
        effect: true mean of the differences over their standard deviation, positive.
        alpha: level of the t test, both sides together; less than ALPHA for one comparison of several.
    """
    critical = stdtrit(n - 1, 1 - alpha / 2)
    by_t = 1 - float(nctdtr(n - 1, effect * math.sqrt(n), critical))
    return min(by_t, float(bdtrc(wins_needed(n) - 1, n, ndtr(effect))))


@cache
def wins_needed(n: int) -> int:
    """The fewest wins without ties that pass the two thresholds; n + 1 where none do."""
    wins = np.arange(n + 1)
    over_half = bdtr(n // 2, n, wins / n) < ALPHA / 2
    over_meaningful = bdtr(math.floor(MEANINGFUL * n), n, wins / n) < 1 - ALPHA / 2
    return int(np.argmax(over_half & over_meaningful)) if over_half[-1] else n + 1


def seeds_needed(n: int, mean: float, deviation: float, alpha: float = ALPHA) -> int | None:
    """How many seeds would decide, with chance POWER, a comparison that its first n seeds left open.

    The effect is estimated from few seeds, so it is corrected for its bias (Hedges 1981, J = 1 − 3/(4·df − 1)), and
    the answer is a rough one.

    Args:
        n: seeds so far, FEWEST or more.
        mean, deviation: of their differences.
        alpha: as in `power`.

    Returns:
        All seeds together, or None where MOST do not decide it. That is the case of every difference so small that A
        wins in much less than MEANINGFUL of the seeds: the more of them, the surer that it does not matter.
    """
    if abs(mean) <= ROUNDING:
        return None
    if deviation <= ROUNDING:  # differences of one size, for which the sign test stands in: 2 · ½ⁿ ≤ alpha
        return max(n + 1, math.ceil(math.log2(2 / alpha)))
    effect = abs(mean) / deviation * (1 - 3 / (4 * (n - 1) - 1))
    return next((more for more in range(n + 1, MOST + 1) if power(more, effect, alpha) >= POWER), None)
