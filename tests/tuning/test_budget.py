"""The expected best of n trials, against closed forms and simulation."""

import itertools
import math
import random

import pytest

from pipeline.tuning.budget import ODDS, best_of, counted


@pytest.mark.parametrize("lowest", [True, False])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_expectation_and_range_are_those_of_all_draws(n: int, lowest: bool) -> None:
    """Broken: the formula would not be the expected best of n draws."""
    scores = [0.3, 0.1, 0.1, 0.7, 0.5]
    best = sorted((min if lowest else max)(draw) for draw in itertools.product(scores, repeat=n))
    found = best_of(scores, n, lowest)
    assert found.expected == pytest.approx(sum(best) / len(best), abs=1e-12)
    inside = sum(found.low <= value <= found.high for value in best) / len(best)
    below, above = (
        sum(test) / len(best) for test in zip(*[(v < found.low, v > found.high) for v in best], strict=True)
    )
    assert inside >= ODDS and max(below, above) <= (1 - ODDS) / 2 + 1e-12


def test_one_trial_is_the_mean_and_many_are_the_best() -> None:
    """Broken: the ends of the curve."""
    scores = [0.9, 0.2, 0.4]
    assert best_of(scores, 1, lowest=True).expected == pytest.approx(0.5, abs=1e-12)
    assert best_of(scores, 10_000, lowest=True).expected == pytest.approx(0.2, abs=1e-12)
    assert best_of(scores, 10_000, lowest=False).high == 0.9


def test_scores_that_are_uniform_have_the_known_maximum() -> None:
    """Broken: it would not estimate what a tuning with n trials finds. The maximum of n uniform numbers has mean
    n / (n + 1); from N of them the estimate is low by less than n / N (Tang et al. 2020)."""
    draws, n, total = random.Random(0), 5, 200
    found = [best_of([draws.random() for _ in range(total)], n, lowest=False).expected for _ in range(400)]
    mean = math.fsum(found) / len(found)
    error = 5 * (math.fsum((value - mean) ** 2 for value in found) / len(found)) ** 0.5 / len(found) ** 0.5
    assert n / (n + 1) - n / total - error < mean < n / (n + 1) + error


def test_a_pruned_trial_cannot_win() -> None:
    """Broken: a score that was reached halfway, and that the tuning did not choose, would be expected of it."""
    states = ["complete", "pruned", "complete", "failed"]
    assert counted([0.5, 0.1, 0.7, 2.3], states, lowest=True) == [0.5, 0.7, 0.7, 2.3]
    assert counted([0.5, 0.9, 0.7, 0.1], states, lowest=False) == [0.5, 0.5, 0.7, 0.1]


def test_no_scores_are_refused() -> None:
    """Broken: an empty tuning would look like a good one."""
    with pytest.raises(ValueError, match="no scores"):
        best_of([], 1, lowest=True)
