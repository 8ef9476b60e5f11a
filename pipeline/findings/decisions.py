"""When seeds decide a comparison: pure functions of paired differences, so that simulation can check their error rates.

One interval decides, Student's t interval (Student 1908) of the mean difference, at the level that the correction
for several comparisons leaves (Holm 1979):

- all of it over zero: the claim is supported; all of it below zero: contradicted;
- all of it nearer to zero than what matters: negligible, whether or not it contains zero (two one-sided tests,
  Schuirmann 1987), so that more seeds decide also what hardly differs;
- else undecided.

A claim that names a margin itself, such as "no worse than", is judged by where its interval lies to that margin alone.
Differences are paired by seed whatever they look like: to pick the better of a paired and an unpaired test after a
look decides too often. `python tests/simulation.py` measures the rates of all this; tests/findings/test_decisions.py
holds them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr

from pipeline.findings.stats import ROUNDING

Numbers = NDArray[np.float64]

ALPHA = 0.05
"""Share of comparisons that may be decided wrongly."""


def level(looks: Sequence[int]) -> float:
    """The share of wrong verdicts that each look at a study may have, so that all together have no more than ALPHA.

    Each look spends as much, whatever was seen at those before (Bonferroni), so the rule needs no assumption; to look
    after every seed at the whole level instead decides four times too often.

    Args:
        looks: numbers of seeds at which the study is judged, fixed beforehand; none for a single look.
    """
    return ALPHA / max(1, len(looks))


class Decision(StrEnum):
    """What a verdict says."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    NEGLIGIBLE = "negligible"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Sample:
    """Differences of one sum of rows.

    Args:
        values: S×n: n seeds of each of S comparisons.
        floor: the least standard deviation that they can be taken to have, in their unit. Whole epochs, or images out
            of 360, may agree by rounding alone: without a floor 3, 3, 3, 3, 3 would be infinitely sure, or, were it
            left out, 3, 3, 3, 3, 4 far surer than five times 3. See `stats.rounding_deviation`.
    """

    values: ArrayLike
    floor: float = 0.0

    def over(self, bound: float = 0.0) -> Numbers:
        """One-sided p-values for a mean over `bound`, S."""
        return p_over(self.values, bound, self.floor)

    def below(self, bound: float = 0.0) -> Numbers:
        """One-sided p-values for a mean below `bound`, S."""
        return p_over(np.negative(self.values), -bound, self.floor)


def p_over(values: ArrayLike, bound: float = 0.0, floor: float = 0.0) -> Numbers:
    """One-sided p-values of the t test for a mean over `bound`.

    Where values are all equal and no floor is known, their spread says nothing, and the sign test stands in.

    Args:
        values: S×n.
        bound, floor: as in `Sample`.

    Returns:
        S.
    """
    above = np.asarray(values, dtype=np.float64) - bound
    n, mean = above.shape[-1], above.mean(-1)
    error = np.maximum(above.std(-1, ddof=1) if n > 1 else 0.0, floor) / np.sqrt(n)
    spread = (error > ROUNDING) & (n > 1)
    by_t = stdtr(max(n - 1, 1), -mean / np.where(spread, error, 1.0))
    return np.where(spread, by_t, np.where(mean > ROUNDING, 0.5**n, 1.0))


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
    """What seeds say to a claim, before any correction for other claims. Arrays of S.

    Args:
        direction: two-sided p-value for its being true, or false, whichever is likelier.
        side: 1 where it speaks for the claim, −1 where against it.
        negligible: two-sided p-value for its being true or false by less than what matters; None if nobody asks.
    """

    direction: Numbers
    side: NDArray[np.int64]
    negligible: Numbers | None


def compare(parts: Sequence[Sample], steps: Sequence[Sample] = (), matters: float | None = None) -> Comparison:
    """Compares with zero the means of one or several rows of differences.

    The claim is that all means are over zero. It holds as surely as the least sure of them does (intersection-union
    test, Berger 1982), and fails where one of them is below zero, whose p-value is multiplied by their number
    (Bonferroni).

    Args:
        parts: n may be another for each.
        steps: of a trend, whose rise is the only part. One that surely turns round by more than what matters keeps the
            trend from being supported, and contradicts it.
        matters: the smallest difference that does; None for a claim that names its margin itself.
    """
    for_all = np.max([part.over() for part in parts], axis=0)
    against = _any([*(part.below() for part in parts), *_turns(steps, matters)])
    for_all = np.where(turned(steps, matters), 1.0, for_all)
    negligible = None
    if matters is not None:
        low = [part.over(-matters) for part in (*parts, *steps)]
        ends = (np.max(low, axis=0), _any([part.below(matters) for part in parts]))
        negligible = np.minimum(1.0, 2 * np.maximum(*ends))
    direction = np.minimum(1.0, 2 * np.minimum(for_all, against))
    return Comparison(direction, np.where(for_all <= against, 1, -1), negligible)


def turned(steps: Sequence[Sample], matters: float | None) -> NDArray[np.bool_]:
    """Whether a trend surely turns round in any of its steps, S; `steps` and `matters` are those of `compare`."""
    return _any(_turns(steps, matters)) <= ALPHA / 2 if steps else np.array(False)


def _turns(steps: Sequence[Sample], matters: float | None) -> list[Numbers]:
    """One-sided p-values for each step's going the other way by more than what matters."""
    return [step.below(-(matters or 0.0)) for step in steps]


def _any(p: Sequence[Numbers]) -> Numbers:
    """p-values for at least one of several, picked afterwards."""
    return np.minimum(1.0, len(p) * np.min(p, axis=0))


@dataclass(frozen=True)
class Found:
    """The verdicts on one comparison of a family. Arrays of S.

    Args:
        word: a `Decision`.
        p: p-value of what is said, before the correction; where nothing is, that of the likelier direction.
        corrected: the same for being one of the family.
    """

    word: NDArray[np.str_]
    p: Numbers
    corrected: Numbers


def decide(family: Sequence[Comparison], alpha: float = ALPHA) -> list[Found]:
    """Verdicts on all comparisons of a family.

    Directions and negligible differences are corrected by themselves: in at most alpha of all families any direction
    is wrong, and in at most alpha / 2 any difference that matters is called negligible.
    """
    asked = [one.negligible for one in family if one.negligible is not None]
    least, directions = iter(_holm(asked)), _holm([one.direction for one in family])
    return [
        _found(one, direction, alpha, one.negligible if one.negligible is None else next(least))
        for one, direction in zip(family, directions, strict=True)
    ]


def _found(one: Comparison, direction: Numbers, alpha: float, least: Numbers | None) -> Found:
    """The verdicts on a comparison, given the corrected p-values of its direction and of its being negligible."""
    side = np.where(one.side > 0, str(Decision.SUPPORTED), str(Decision.CONTRADICTED))
    word = np.where(direction <= alpha, side, str(Decision.UNDECIDED))
    if least is None or one.negligible is None:
        return Found(word, one.direction, direction)
    small = least <= alpha
    word = np.where(small, str(Decision.NEGLIGIBLE), word)
    return Found(word, np.where(small, one.negligible, one.direction), np.where(small, least, direction))


def _holm(p: Sequence[Numbers]) -> Numbers:
    return np.moveaxis(holm(np.stack(p, -1)), -1, 0) if p else np.empty((0, 0))
