"""How many seeds a comparison needs: the power of the rules of `decisions`, for normal differences."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import nctdtr, stdtrit

from pipeline.findings.decisions import ALPHA, Numbers
from pipeline.findings.stats import ROUNDING

POWER = 0.8
"""Chance of deciding that a number of seeds should give."""

FEWEST = 3
"""Of two differences the corrected effect is 0, whatever they are."""

MOST = 1000
"""More seeds than this are nobody's plan."""


def power(n: ArrayLike, effect: float, matters: float | None = None, alpha: float = ALPHA) -> Numbers:
    """Chance that n seeds decide a comparison.

    It is that of the likelier verdict, a direction (noncentral t) or negligible (two one-sided tests, Phillips 1990),
    and so a little less than that of either.

    Args:
        n: seeds, 2 or more.
        effect: true mean of the differences over their standard deviation.
        matters: the smallest difference that does, in the same unit; None for a claim that names its margin itself.
        alpha: level, both sides together; less than ALPHA for one comparison of several.
    """
    seeds = np.asarray(n, dtype=np.float64)
    critical, root = stdtrit(seeds - 1, 1 - alpha / 2), np.sqrt(seeds)
    chance = 1 - nctdtr(seeds - 1, abs(effect) * root, critical)
    if matters is not None and abs(effect) < matters:
        outside = (nctdtr(seeds - 1, (matters + side * effect) * root, critical) for side in (-1, 1))
        chance = np.maximum(chance, 1 - sum(outside))
    return chance


def seeds_needed(
    n: int, mean: float, deviation: float, matters: float | None = None, alpha: float = ALPHA
) -> int | None:
    """How many seeds would decide, with chance POWER, a comparison that its first n seeds left open.

    The effect is estimated from few seeds, so it is corrected for its bias (Hedges 1981, J = 1 − 3/(4·df − 1)), and
    the answer is a rough one.

    Args:
        n: seeds so far, FEWEST or more.
        mean, deviation: of their differences.
        matters: the smallest difference that does, in their unit, or None, as in `power`.
        alpha: as in `power`.

    Returns:
        All seeds together, or None where MOST do not decide it.
    """
    if deviation <= ROUNDING:  # equal differences, for which the sign test stands in: 2 · ½ⁿ ≤ alpha
        return max(n + 1, math.ceil(math.log2(2 / alpha)))
    shrunk = (1 - 3 / (4 * (n - 1) - 1)) / deviation
    more = np.arange(n + 1, MOST + 1)
    enough = power(more, mean * shrunk, None if matters is None else matters / deviation, alpha) >= POWER
    return int(more[enough.argmax()]) if enough.any() else None
