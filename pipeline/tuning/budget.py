"""What a tuning would have found with fewer trials: pure functions of the scores of its trials."""

from collections.abc import Sequence
from dataclasses import dataclass

ODDS = 0.95
"""Probability that the best of so many trials lies in the range given for it."""


@dataclass(frozen=True)
class Best:
    """The best of n trials.

    Args:
        expected: its mean.
        low, high: it lies between them with a probability of at least `ODDS`, and beyond each with at most half the
            rest.
    """

    expected: float
    low: float
    high: float


def counted(scores: Sequence[float], states: Sequence[str], lowest: bool) -> list[float]:
    """Scores as they count towards the best: a pruned trial cannot win, whatever it had reached, and so counts as the
    worst of the complete ones.

    Args:
        scores: of N trials, one of them complete.
        states: of each, `complete`, `pruned` or `failed`.
        lowest: whether a low score is a good one.
    """
    worst = (max if lowest else min)(score for score, state in zip(scores, states, strict=True) if state == "complete")
    return [worst if state == "pruned" else score for score, state in zip(scores, states, strict=True)]


def best_of(scores: Sequence[float], n: int, lowest: bool) -> Best:
    """The best of n trials that are drawn, with replacement, from those that were made.

    Dodge et al. 2019 (arXiv 1909.03004, section 3.1): with F the empirical distribution of the scores, the best of n
    is at most v with probability F(v)ⁿ. It takes trials for exchangeable, which those of a sampler that learns are
    not, and it underrates what n trials find, the more so the nearer n is to their number (Tang et al. 2020, arXiv
    2004.13705).

    Args:
        scores: of N trials, in one unit.
        n: trials that are drawn, 1 or more.
        lowest: whether a low score is a good one.

    Raises:
        ValueError: no scores, or none drawn.
    """
    if not scores or n < 1:
        raise ValueError("no scores")
    ranked = sorted(scores, reverse=not lowest)  # best first
    total = len(ranked)
    reached = [1 - ((total - rank) / total) ** n for rank in range(total + 1)]  # by the best `rank` of them
    expected = sum((after - before) * score for before, after, score in zip(reached, reached[1:], ranked, strict=False))
    ends = [
        next(score for after, score in zip(reached[1:], ranked, strict=True) if after >= share)
        for share in ((1 - ODDS) / 2, (1 + ODDS) / 2)
    ]
    return Best(expected, min(ends), max(ends))
