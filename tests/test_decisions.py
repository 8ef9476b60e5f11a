"""The rules that decide: against exact numbers, other implementations, and 10,000 simulated studies of each kind."""

import warnings
from math import comb

import numpy as np
import pytest
import simulation
from scipy import stats as reference

from pipeline.decisions import ALPHA, compare, holm, improvement, p_values
from pipeline.power import POWER, power, seeds_needed, wins_needed

with warnings.catch_warnings():  # of its imports
    warnings.simplefilter("ignore")
    from statsmodels.stats.contingency_tables import mcnemar
    from statsmodels.stats.multitest import multipletests

STUDIES = 10_000


@pytest.mark.parametrize("seeds", [5, 10, 29])
@pytest.mark.parametrize("kind", simulation.ALIKE)
def test_rows_that_are_alike_are_rarely_told_apart(kind: str, seeds: int) -> None:
    """Broken: more than 5 % of the verdicts on rows without a difference would call one of them better."""
    supported, contradicted = simulation.rates(simulation.ALIKE[kind], seeds, STUDIES)
    assert supported + contradicted <= ALPHA
    assert max(supported, contradicted) <= ALPHA / 2 + 0.003  # two standard errors of 10,000 studies


@pytest.mark.parametrize("seeds", [5, 10, 29])
def test_of_ten_claims_without_a_difference_none_is_decided(seeds: int) -> None:
    """Broken: a study with many claims would decide some by chance."""
    assert simulation.family_rate(10, seeds, STUDIES) <= ALPHA


@pytest.mark.parametrize("seeds", [3, 5, 10, 29])
@pytest.mark.parametrize("effect", [0.5, 0.8, 1.2, 2.0])
def test_power_is_what_the_formulas_say(seeds: int, effect: float) -> None:
    """Broken: a report would promise that so many seeds decide a claim, and they would not."""
    by_t, by_wins, both = simulation.powers(effect, seeds, STUDIES)
    error = 3 * np.sqrt(0.25 / STUDIES)
    wins = power(seeds, effect, alpha=1.0)
    assert by_t == pytest.approx(simulation.t_power(effect, seeds), abs=error)
    assert by_wins == pytest.approx(wins, abs=error)
    assert power(seeds, effect) == min(wins, simulation.t_power(effect, seeds))
    shortfall = 0.06 if seeds < 10 else 0.04
    assert power(seeds, effect) - shortfall - error <= both <= power(seeds, effect) + error


@pytest.mark.parametrize("effect", [0.8, 1.2, 2.0])
def test_the_seeds_that_a_plan_names_decide(effect: float) -> None:
    """Broken: the seeds still needed would be too few, or far too many."""
    seeds = seeds_needed(5, 1.0, 1 / effect)
    assert seeds is not None
    shrunk = effect * (1 - 3 / (4 * 4 - 1))
    assert power(seeds, shrunk) >= POWER > power(seeds - 1, shrunk)
    _, _, found = simulation.powers(shrunk, seeds, STUDIES)
    assert found >= POWER - 0.04


@pytest.mark.parametrize(
    ("mean", "deviation", "expected"), [(0.0, 1.0, None), (0.1, 1.0, None), (1.0, 0.0, 6), (-1.0, 0.0, 6)]
)
def test_plans_at_their_limits(mean: float, deviation: float, expected: int | None) -> None:
    """Broken: a difference too small to matter would get a number of seeds, or one without spread an error."""
    assert seeds_needed(5, mean, deviation) == expected


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 10, 29])
def test_fewest_wins_are_those_that_the_interval_lets_pass(n: int) -> None:
    """Broken: the power would be that of another rule than the one that decides."""
    wins = [[1.0] * won + [-1.0] * (n - won) for won in range(n + 1)]
    passing = [won for won, values in enumerate(wins) if improvement([values]).decided[0]]
    assert wins_needed(n) == passing[0]
    assert passing == list(range(passing[0], n + 1))


def test_improvement_is_the_limit_of_resampling() -> None:
    """Broken: the interval would not be that of the percentile bootstrap which the paper asks for."""
    values = np.array([3.0, 1.0, 0.0, -1.0, 2.0, 1.0, 0.5, -2.0, 0.0, 1.0])
    found = improvement([values])
    shares = np.sign(np.random.default_rng(0).choice(values, (200_000, len(values)))).mean(1) / 2 + 0.5
    low, high = np.percentile(shares, [2.5, 97.5], method="inverted_cdf")
    assert (found.share[0], found.low[0], found.high[0]) == (0.7, low, high)


def test_p_values_are_those_of_the_textbook() -> None:
    """Broken: the t test itself would be wrong."""
    values = np.random.default_rng(0).normal(0.3, 1, (20, 7))
    over, below = p_values(values)
    for sample, p, q in zip(values, over, below, strict=True):
        assert p == pytest.approx(reference.ttest_1samp(sample, 0, alternative="greater")[1])
        assert q == pytest.approx(reference.ttest_1samp(sample, 0, alternative="less")[1])


def test_differences_of_one_size_get_the_sign_test() -> None:
    """Broken: equal differences would look infinitely sure, and two-valued results be tested as normal ones."""
    over, below = p_values([[0.1, 0.1, 0.1, 0.1, 0.1], [0.0] * 5, [1.0, 1.0, 0.0, -1.0, 1.0]])
    assert over.tolist() == pytest.approx([2**-5, 1.0, sum(comb(4, k) for k in (3, 4)) / 16])
    assert below.tolist() == pytest.approx([1.0, 1.0, sum(comb(4, k) for k in (1, 2, 3, 4)) / 16])
    assert 2 * over[2] == pytest.approx(mcnemar([[0, 3], [1, 0]], exact=True).pvalue)  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("p", [[0.01], [0.04, 0.01, 0.03], [0.02, 0.02, 0.5, 1.0, 0.0], [0.9, 0.8, 0.012, 0.3, 0.2]])
def test_holm_agrees_with_statsmodels(p: list[float]) -> None:
    """Broken: the correction for many claims would be another one."""
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert holm([p, p[::-1]])[1].tolist() == pytest.approx(holm(p)[::-1])


def test_several_comparisons_hold_only_together() -> None:
    """Broken: `each` would be supported where one of its comparisons is not, or contradicted by none of them."""
    clear, unclear, reverse = [1.0, 1.1, 0.9, 1.2, 1.0, 1.1], [1.0, -1.0, 0.5, -0.7, 0.1, 0.2], [-2.0, -2.1, -2.2] * 2
    for parts, expected in (([clear, clear], 1), ([clear, unclear], 0), ([clear, reverse, unclear], -1)):
        found = compare([[part] for part in parts])
        assert found.decided(found.p).tolist() == [expected]
    lone = compare([[reverse]])
    assert compare([[clear], [reverse], [unclear]]).p == pytest.approx(3 * lone.p)
