"""Intervals: against numbers worked out by other means, and where there is nothing to estimate."""

import math
import warnings

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from pipeline.findings.stats import (
    Interval,
    Statistic,
    bootstrap,
    improvement,
    interquartile_mean,
    mean_interval,
    paired_difference,
    rounding_deviation,
    two_way,
    unpaired,
)

with warnings.catch_warnings():  # of its imports
    warnings.simplefilter("ignore")
    from statsmodels.stats.anova import AnovaRM

values = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40).filter(lambda found: max(found) - min(found) > 1e-6)


def test_mean_interval_is_students() -> None:
    """Else every ± in a report is wrong: 1, 2, 3 has standard error 1/√3, and t(0.975, 2) is 4.302653."""
    estimate = mean_interval([1.0, 2.0, 3.0])
    assert (estimate.mean, estimate.n) == (2.0, 3)
    assert estimate.half_width == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)


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


def test_interquartile_mean_leaves_out_the_outer_quarters() -> None:
    """Else one diverged run decides a robust mean."""
    assert interquartile_mean([0.1, 0.9, 0.8, 1.0, 0.7]) == pytest.approx(0.8)
    assert interquartile_mean([[1.0, 2.0, 30.0], [4.0, 4.0, 4.0]]).tolist() == pytest.approx([11.0, 4.0])


@pytest.mark.parametrize("statistic", [np.mean, interquartile_mean])
def test_bootstrap_intervals_are_percentiles_of_resamples(statistic: Statistic) -> None:
    """Else an interval without a normal distribution is none, or another one at every report."""
    values = np.random.default_rng(0).normal(size=20).tolist()
    found = bootstrap(values, statistic)
    resampled = statistic(np.random.default_rng(1).choice(values, (50_000, len(values))), axis=-1)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(resampled, [2.5, 97.5])), abs=0.03)
    assert bootstrap(values, statistic) == found


def test_bootstrap_where_there_is_nothing_to_resample() -> None:
    """Else one seed, or equal ones, stop a report with a warning of scipy's."""
    assert bootstrap([0.5]) == Interval(0.5, None, None)
    assert bootstrap([0.5, 0.5]) == Interval(0.5, 0.5, 0.5)


def test_two_way_table_is_the_analysis_of_variance() -> None:
    """Else main effects and interaction have the wrong sign, size or error: against statsmodels' AnovaRM."""
    draws = np.random.default_rng(0).normal(size=(4, 6)) + np.array([[0.0], [1.0], [0.5], [2.5]])
    names = ("neither", "first", "second", "both")
    cells = {name: dict(enumerate(values.tolist())) for name, values in zip(names, draws, strict=True)}
    effects = two_way(cells)
    assert effects is not None
    lines = [
        {"seed": seed, "first": name in ("first", "both"), "second": name in ("second", "both"), "value": value}
        for name in names
        for seed, value in cells[name].items()
    ]
    expected = AnovaRM(pandas.DataFrame(lines), "value", "seed", ["first", "second"]).fit().anova_table["F Value"]
    quantile = reference.t.ppf(0.975, 5)
    squares = [(effect.mean / (effect.half_width or 1) * quantile) ** 2 for effect in effects.values()]
    assert squares == pytest.approx(expected.tolist())
    means = draws.mean(1)
    assert effects["first"].mean == pytest.approx((means[1] - means[0] + means[3] - means[2]) / 2)
    assert effects["interaction"].mean == pytest.approx(means[3] - means[2] - (means[1] - means[0]))


def test_two_way_table_needs_a_common_seed() -> None:
    """Else unrelated runs make a table."""
    assert two_way({"neither": {0: 1.0}, "first": {0: 1.0}, "second": {1: 1.0}, "both": {0: 1.0}}) is None


def test_improvement_is_the_limit_of_resampling() -> None:
    """Else the interval is not that of the percentile bootstrap which the paper asks for."""
    values = np.array([3.0, 1.0, 0.0, -1.0, 2.0, 1.0, 0.5, -2.0, 0.0, 1.0])
    shares = np.sign(np.random.default_rng(0).choice(values, (200_000, len(values)))).mean(1) / 2 + 0.5
    low, high = np.percentile(shares, [2.5, 97.5], method="inverted_cdf")
    assert improvement(values.tolist()) == Interval(0.7, low, high)
    assert improvement([-1.0]) == Interval(0.0, None, None)


def test_without_pairs_an_interval_is_welchs() -> None:
    """Else what stands beside a paired interval is another test than the one that is named."""
    draws = np.random.default_rng(0).normal([0.0, 1.0], [1.0, 3.0], (7, 2))
    rows = {"a": dict(enumerate(draws[:, 0].tolist())), "b": dict(enumerate(draws[:5, 1].tolist()))}
    found = unpaired(rows, {"a": 1.0, "b": -1.0})
    expected = reference.ttest_ind(draws[:, 0], draws[:5, 1], equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_rounding_has_a_deviation() -> None:
    """Else values in steps are taken for exact ones: against a simulation of numbers that are rounded."""
    draws = np.random.default_rng(0).uniform(-50, 50, (2, 100_000))
    rounding = draws - np.round(draws)
    expected = float((0.5 * rounding[0] - rounding[1]).std())
    assert rounding_deviation({"a": 1.0, "b": 1.0}, {"a": 0.5, "b": -1.0}) == pytest.approx(expected, rel=0.01)
    floored = mean_interval([3.0] * 5, floor=0.5)
    assert floored.half_width == pytest.approx(2.776445 * 0.5 / math.sqrt(5))
