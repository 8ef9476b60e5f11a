"""The rules that decide: against exact numbers, other implementations, and simulated studies of every kind."""

import warnings

import numpy as np
import pytest
import simulation
from scipy import stats as reference

from pipeline.findings.decisions import ALPHA, Decision, Sample, compare, decide, holm, p_over
from pipeline.findings.power import POWER, power, seeds_needed

with warnings.catch_warnings():  # of its imports
    warnings.simplefilter("ignore")
    from statsmodels.stats.multitest import multipletests
    from statsmodels.stats.weightstats import ttost_paired

STUDIES = 10_000
CHANCE = 3 * (ALPHA * (1 - ALPHA) / STUDIES) ** 0.5
"""Three standard errors of a share of ALPHA."""


@pytest.mark.parametrize("seeds", [5, 10, 29])
@pytest.mark.parametrize("kind", simulation.ALIKE)
def test_rows_that_are_alike_are_rarely_told_apart(kind: str, seeds: int) -> None:
    """Broken: more than 5 % of the verdicts on rows without a difference would call one of them better."""
    draw, floor = simulation.ALIKE[kind]
    found = simulation.rates(draw, seeds, STUDIES, floor)
    supported, contradicted = found[Decision.SUPPORTED], found[Decision.CONTRADICTED]
    assert supported + contradicted <= ALPHA + CHANCE
    assert max(supported, contradicted) <= ALPHA / 2 + CHANCE


@pytest.mark.parametrize("name", simulation.EFFECTS)
def test_enough_seeds_decide_everything(name: str) -> None:
    """Broken: some claims would stay open however many seeds there are, or small differences pass for large ones."""
    effect = simulation.EFFECTS[name]
    found = simulation.rates(simulation.shifted(effect), 1000, 500, matters=simulation.MATTERS)
    expected = Decision.NEGLIGIBLE if effect < simulation.MATTERS else Decision.SUPPORTED
    assert found[expected] > 0.95
    assert found[Decision.UNDECIDED] == 0


@pytest.mark.parametrize("seeds", [29, 100, 1000])
def test_no_worse_is_the_more_decidable_the_more_seeds(seeds: int) -> None:
    """Broken: a claim that allows a margin would get harder to decide with seeds, as where it takes a share of wins."""
    wins = [simulation.rates(simulation.shifted(simulation.MATTERS), n, 2000)[Decision.SUPPORTED] for n in (10, seeds)]
    assert wins[1] > wins[0] + 0.2
    assert simulation.rates(simulation.shifted(0.0), seeds, 2000)[Decision.SUPPORTED] <= ALPHA / 2 + 0.01


@pytest.mark.parametrize("seeds", [5, 100])
@pytest.mark.parametrize("effects", [[0.0] * 10, [0.5] * 10, [0.0, 0.0, -0.25, 0.5, 0.5, -0.5, 1.0, 3.0, 3.0, -3.0]])
def test_of_ten_claims_hardly_any_is_decided_wrongly(effects: list[float], seeds: int) -> None:
    """Broken: a study with many claims would decide some by chance; what is surely negligible would lend its share of
    errors to the others, which makes thirteen percent of them."""
    assert simulation.family_rate(effects, seeds, 2000) <= ALPHA + 0.01


def test_a_test_that_is_picked_afterwards_decides_too_often() -> None:
    """Broken: the reason to pair always would be none."""
    assert simulation.picking_rate(5, STUDIES) > ALPHA + 0.01


@pytest.mark.parametrize("seeds", [5, 10, 29, 100])
@pytest.mark.parametrize("effect", [0.0, 1.0, 3.0])
def test_power_is_what_the_formulas_say(seeds: int, effect: float) -> None:
    """Broken: a report would promise that so many seeds decide a claim, and they would not."""
    promised = power(seeds, effect / simulation.DEVIATION, simulation.MATTERS / simulation.DEVIATION)
    error = 3 * np.sqrt(0.25 / STUDIES)
    measured = simulation.decided(effect, seeds, STUDIES)
    assert measured >= promised - error
    if effect:
        assert measured == pytest.approx(promised, abs=error)


@pytest.mark.parametrize("effect", [0.0, 0.3, 1.0])
def test_the_seeds_that_a_plan_names_decide(effect: float) -> None:
    """Broken: the seeds still needed would be too few, or far too many."""
    seeds = seeds_needed(10, effect, 1.3, matters=0.5)
    assert seeds is not None
    shrunk = effect * (1 - 3 / (4 * 9 - 1))
    assert power(seeds, shrunk / 1.3, 0.5 / 1.3) >= POWER > power(seeds - 1, shrunk / 1.3, 0.5 / 1.3)
    assert simulation.decided(shrunk, seeds, 2000) >= POWER - 0.03


@pytest.mark.parametrize(
    ("mean", "deviation", "expected"), [(0.0, 1.0, None), (0.01, 1.0, None), (1.0, 0.0, 6), (-1.0, 0.0, 6)]
)
def test_plans_at_their_limits(mean: float, deviation: float, expected: int | None) -> None:
    """Broken: a difference on its margin would get a number of seeds, or one without spread an error."""
    assert seeds_needed(5, mean, deviation) == expected


def test_p_values_are_those_of_the_textbook() -> None:
    """Broken: the t test itself would be wrong."""
    values = np.random.default_rng(0).normal(0.3, 1, (20, 7))
    for sample, p, q in zip(values, Sample(values).over(0.1), Sample(values).below(0.1), strict=True):
        assert p == pytest.approx(reference.ttest_1samp(sample, 0.1, alternative="greater")[1])
        assert q == pytest.approx(reference.ttest_1samp(sample, 0.1, alternative="less")[1])


def test_negligible_is_what_two_one_sided_tests_say() -> None:
    """Broken: a difference would be called negligible by a test that nobody knows: against statsmodels'."""
    values = np.random.default_rng(0).normal(0.1, 0.5, 12)
    found = compare([Sample([values])], matters=0.6).negligible
    assert found is not None
    assert found[0] == pytest.approx(2 * ttost_paired(values, np.zeros(12), -0.6, 0.6)[0])


def test_equal_differences_are_about_as_sure_as_almost_equal_ones() -> None:
    """Broken: 3, 3, 3, 3, 3 would be undecided and 3, 3, 3, 3, 4 supported, or the first be infinitely sure."""
    floor = np.sqrt(2 / 12)
    equal, almost = compare([Sample([[3.0] * 5], floor)]), compare([Sample([[3.0] * 4 + [4.0]], floor)])
    assert equal.direction[0] > 0
    assert [one.word[0] for one in (*decide([equal]), *decide([almost]))] == [Decision.SUPPORTED] * 2
    assert 0.1 < np.log(equal.direction[0]) / np.log(almost.direction[0]) < 10


def test_a_row_that_always_fails_beside_one_that_never_does() -> None:
    """Broken: five failures against none would not count as Fisher's exact test counts them, within a factor of two."""
    found = compare([Sample([[1.0] * 5], np.sqrt(2 / 12))]).direction[0]
    exact = float(reference.fisher_exact([[5, 0], [0, 5]]).pvalue)  # pyright: ignore[reportAttributeAccessIssue]
    assert exact / 2 < found < 2 * exact


def test_equal_differences_without_steps_get_the_sign_test() -> None:
    """Broken: equal differences, or a single one, would look infinitely sure."""
    assert p_over([[0.1] * 5, [0.0] * 5, [-0.1] * 5]).tolist() == pytest.approx([2**-5, 1.0, 1.0])
    assert p_over([[0.1]], floor=1.0).tolist() == [0.5]


@pytest.mark.parametrize("p", [[0.01], [0.04, 0.01, 0.03], [0.02, 0.02, 0.5, 1.0, 0.0], [0.9, 0.8, 0.012, 0.3, 0.2]])
def test_holm_agrees_with_statsmodels(p: list[float]) -> None:
    """Broken: the correction for many claims would be another one."""
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert holm([p, p[::-1]])[1].tolist() == pytest.approx(holm(p)[::-1])


def words(*found: Decision) -> list[str]:
    return [str(word) for word in found]


def test_several_comparisons_hold_only_together() -> None:
    """Broken: `each` would be supported where one of its comparisons is not, or contradicted by none of them."""
    clear, unclear, reverse = [1.0, 1.1, 0.9, 1.2, 1.0, 1.1], [1.0, -1.0, 0.5, -0.7, 0.1, 0.2], [-2.0, -2.1, -2.2] * 2
    for parts, expected in (
        ([clear, clear], Decision.SUPPORTED),
        ([clear, unclear], Decision.UNDECIDED),
        ([clear, reverse, unclear], Decision.CONTRADICTED),
        ([clear, [0.0, 0.01, -0.01, 0.0, 0.01, 0.0]], Decision.NEGLIGIBLE),
    ):
        assert decide([compare([Sample([part]) for part in parts], matters=0.1)])[0].word.tolist() == words(expected)
    lone = compare([Sample([reverse])])
    assert compare([Sample([part]) for part in (clear, reverse, unclear)]).direction == pytest.approx(
        3 * lone.direction
    )


def test_a_trend_that_surely_turns_round_is_none() -> None:
    """Broken: a rise from first to last would hide a fall between them, however sure, or noise would undo a trend."""
    rise, noise, fall = [3.0, 3.1, 2.9, 3.0, 3.2], [0.5, -0.6, 0.1, -0.4, 0.2], [-1.0, -1.1, -0.9, -1.0, -1.2]
    for step, expected in ((noise, Decision.SUPPORTED), (fall, Decision.CONTRADICTED)):
        assert decide([compare([Sample([rise])], [Sample([step])], matters=0.2)])[0].word.tolist() == words(expected)
    flat, up = [0.0, 0.01, -0.01, 0.0, 0.01], [-number for number in fall]
    turned = compare([Sample([flat])], [Sample([up]), Sample([fall])], matters=0.2)
    assert decide([turned])[0].word.tolist() == words(Decision.CONTRADICTED)


def test_small_and_sure_is_negligible() -> None:
    """Broken: a difference too small to matter would be called better for being sure."""
    found = decide([compare([Sample([[0.1, 0.11, 0.09, 0.1, 0.12]])], matters=0.5)])
    assert found[0].word.tolist() == words(Decision.NEGLIGIBLE)
