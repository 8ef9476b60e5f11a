"""Intervals: against numbers worked out by other means, and where there is nothing to estimate."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference

from pipeline.stats import mean_interval, paired_difference, probability_of_improvement

values = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40).filter(lambda found: max(found) - min(found) > 1e-6)


def test_mean_interval_is_students() -> None:
    """Else every ± in a report is wrong: 1, 2, 3 has standard error 1/√3, and t(0.975, 2) is 4.302653."""
    estimate = mean_interval([1.0, 2.0, 3.0])
    assert (estimate.mean, estimate.n) == (2.0, 3)
    assert estimate.half_width == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)


@settings(deadline=None)
@given(values, st.sampled_from([0.9, 0.95, 0.99]))
def test_mean_interval_agrees_with_scipy(numbers: list[float], level: float) -> None:
    """Else the interval departs from the textbook's for some count, size or level."""
    estimate = mean_interval(numbers, level)
    mean, error = math.fsum(numbers) / len(numbers), reference.sem(numbers)
    low, high = reference.t.interval(level, len(numbers) - 1, loc=mean, scale=error)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), rel=1e-6, abs=1e-9)


def test_single_value_has_no_interval() -> None:
    """Else one seed would look as sure as many, or divide by zero."""
    estimate = mean_interval([0.75])
    assert (estimate.mean, estimate.half_width, estimate.low, estimate.high) == (0.75, None, None, None)


@pytest.mark.parametrize("numbers", [[0.1] * 3, [0.95 - 0.94, 0.93 - 0.92, 0.01]])
def test_equal_values_have_zero_width(numbers: list[float]) -> None:
    """Else rounding errors would pass for a spread, and a tiny interval for certainty."""
    estimate = mean_interval(numbers)
    assert estimate.half_width == 0
    assert estimate.low == estimate.high == estimate.mean


def test_no_values_is_an_error() -> None:
    """Else a row without results would get a mean from nothing."""
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])


def test_paired_difference_is_over_common_seeds() -> None:
    """Else a seed that only one row has, or the order of seeds, would shift the difference."""
    difference = paired_difference({2: 0.9, 0: 0.5, 1: 0.7, 7: 0.0}, {0: 0.4, 1: 0.5, 2: 0.6, 8: 1.0})
    assert difference is not None
    assert difference.n == 3
    assert difference.mean == pytest.approx(0.2)
    assert difference.half_width == pytest.approx(mean_interval([0.1, 0.2, 0.3]).half_width)


def test_paired_difference_without_common_seeds() -> None:
    """Else unrelated runs would be compared as pairs."""
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


def test_probability_of_improvement_counts_common_seeds_and_halves_ties() -> None:
    """Else a row beats itself, or wins by seeds that the other never ran."""
    assert probability_of_improvement({0: 0.9, 1: 0.5, 2: 0.7, 3: 1.0}, {0: 0.8, 1: 0.6, 2: 0.7, 9: 0.0}) == 0.5
    assert probability_of_improvement({0: 0.9, 1: 0.9}, {0: 0.8, 1: 0.9}) == 0.75
    assert probability_of_improvement({0: 0.9}, {1: 0.8}) is None
