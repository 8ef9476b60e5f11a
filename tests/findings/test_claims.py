"""Claims: what seeds support, contradict or leave open, what diverged runs count, and how a report shows it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from outputs import shown

from pipeline import claims, paths
from pipeline.errors import UserError
from pipeline.findings import comparisons, seed_table
from pipeline.findings.diagnosed import Diagnosed
from pipeline.findings.measured import Result, Run, _with_diagnosis
from pipeline.findings.stats import mean_interval
from pipeline.findings.verdicts import Decision, Verdict, judge
from pipeline.params.planned import PlannedClaim
from pipeline.params.quantities import QUANTITIES, quantity
from pipeline.params.reading import read_params
from pipeline.params.rows import Row
from pipeline.reporting import claims_section, comparison_sections, index, reading_sections
from pipeline.reporting.interval_plot import COLOURS, WIDTH, Line, interval_plot
from pipeline.storage import write_json

MakeRow = Callable[..., Row]
Measure = Callable[..., dict[str, Result]]

HIGH, LOW = (0.90, 0.91, 0.92, 0.91, 0.93, 0.92), (0.80, 0.82, 0.81, 0.83, 0.82, 0.81)
MIXED = (0.95, 0.85, 0.91, 0.89, 0.94, 0.90)


SPEC = {"classes": ["a", "b", "c", "d"], "images": {"train": 1000, "validation": 200, "test": 400}}


@pytest.fixture
def measure(make_row: MakeRow) -> Measure:
    """Gives results with these test accuracies by seed; None is a run that diverged."""

    def made(rows: Mapping[str, Sequence[float | None]], **changes: Any) -> dict[str, Result]:
        results = {}
        for name, accuracies in rows.items():
            row = make_row(seeds=list(range(len(accuracies))), **changes)
            numbers = {"epochs": 4.0, "best_epoch": 3.0, "gap_accuracy": 0.1}
            runs = [
                Run(seed, "diverged", {}) if value is None else Run(seed, None, numbers | {"test_accuracy": value})
                for seed, value in enumerate(accuracies)
            ]
            finished = [value for value in accuracies if value is not None]
            curves = {
                "train_loss": [[2.0, 1.0, 0.5, 0.4]] * len(finished),
                "val_loss": [[2.0, 1.0, 0.5, 0.7]] * len(finished),
                "val_accuracy": [[0.2, value - 0.1, value, value] for value in finished],
            }
            results[name] = Result(name, row, Path(name), SPEC, runs, curves)
        return results

    return made


def verdict(test: str, results: dict[str, Result], others: int = 0) -> Verdict:
    """The verdict on a claim, among others about rows that are alike."""
    planned = {"it": test} | {
        f"other-{number}": f"epochs: {'high' if number else 'low'} > 4" for number in range(others)
    }
    found = judge(
        {name: PlannedClaim(says="So.", source="S", tested="So.", test=text) for name, text in planned.items()}, results
    )
    assert [one.case.name for one in found] == list(planned)
    return found[0]


DECISIONS = {
    "accuracy: high > low": Decision.SUPPORTED,
    "accuracy: high < low": Decision.CONTRADICTED,
    "accuracy: high > mixed": Decision.UNDECIDED,
    "accuracy: high > low + 0.2": Decision.CONTRADICTED,
    "accuracy: low > high - 0.2": Decision.SUPPORTED,
    "accuracy: high >= low": Decision.SUPPORTED,
    "accuracy: low >= high": Decision.CONTRADICTED,
    "accuracy: near >= high": Decision.SUPPORTED,
    "accuracy: near > high": Decision.NEGLIGIBLE,
    "accuracy: high > near": Decision.NEGLIGIBLE,
    "accuracy: near < each(high, highest)": Decision.NEGLIGIBLE,
    "accuracy: high > near + 0.02": Decision.CONTRADICTED,
    "accuracy: mean(high, mixed) > low": Decision.SUPPORTED,
    "accuracy: (high - low) > (low - high)": Decision.SUPPORTED,
    "accuracy: low < each(high, mixed)": Decision.SUPPORTED,
    "accuracy: high > each(low, mixed)": Decision.UNDECIDED,
    "accuracy: mixed > each(low, high)": Decision.UNDECIDED,
    "accuracy: high > each(low, lower, highest)": Decision.CONTRADICTED,
    "accuracy: lower < low < high < highest": Decision.SUPPORTED,
    "accuracy: highest < high < low < lower": Decision.CONTRADICTED,
    "accuracy: low < lower < high": Decision.CONTRADICTED,
    "accuracy: high > none": Decision.NOT_RUN,
    "loss: high > low": Decision.NOT_RUN,
}


@pytest.mark.parametrize("test", DECISIONS)
def test_a_verdict_is_what_the_seeds_show(test: str, measure: Measure) -> None:
    """Broken: a claim would be called true, false or open against its own numbers."""
    rows = {"high": HIGH, "low": LOW, "mixed": MIXED}
    rows |= {"near": [value - 0.001 - 0.0005 * (seed % 2) for seed, value in enumerate(HIGH)]}
    rows |= {"lower": [value - 0.1 for value in LOW], "highest": (0.98, 0.97, 0.99, 0.96, 0.98, 0.99)}
    found = verdict(test, measure(rows))
    assert found.decision == DECISIONS[test]
    sure = found.decision in (Decision.SUPPORTED, Decision.CONTRADICTED)
    assert bool(found.reason) == (not sure or found.case.turn is not None)


def test_a_trend_that_turns_round_says_where(measure: Measure) -> None:
    """Broken: a trend would be called contradicted beside a rise, with every seed in its favour."""
    rows = {"low": LOW, "high": HIGH, "less": [value - 0.03 for value in HIGH]}
    found = verdict("accuracy: low < high < less", measure(rows))
    told = "it turns round between `high` and `less`"
    assert (found.decision, found.reason) == (Decision.CONTRADICTED, told)
    assert claims_section.in_favour(found).startswith("−3.00 points (")
    evidence = shown(claims_section.evidence, verdicts=[found])
    assert "0 % of 6 seeds are in its favour" in evidence and "It turns round between `high` and `less`." in evidence

    slightly = [value - by for value, by in zip(HIGH, (0.02, 0.01, 0.03, 0.02, 0.015, 0.025), strict=True)]
    found = verdict("accuracy: low < high < less", measure(rows | {"less": slightly}), others=60)
    assert found.decision is Decision.UNDECIDED
    assert f"; {told}, so no more seeds will support it" in found.reason


@pytest.mark.parametrize(
    ("test", "high", "reason"),
    [
        ("accuracy: high > low", (0.85, 0.82, 0.86), r"^about \d+ more seeds would decide it, if"),
        ("accuracy: high > low + 1e-4", (0.81, 0.81, 0.81), "too small a difference to be decided by 1,000 seeds"),
        ("accuracy: high > low", (0.85,), "one common seed shows no spread"),
        ("accuracy: high > low", (0.85, 0.90), "2 common seeds say too little of the spread to plan with"),
        ("accuracy: high > none", HIGH, "no results of none"),
        ("loss: high > low", HIGH, "loss was not measured in high, low"),
    ],
)
def test_an_open_claim_says_why(test: str, high: Sequence[float], reason: str, measure: Measure) -> None:
    """Broken: a reader would not know what an open claim still needs."""
    found = verdict(test, measure({"high": high, "low": LOW, "lower": [value - 0.01 for value in LOW]}))
    assert re.search(reason, found.reason)


def test_a_difference_that_is_sure_and_small_is_negligible(measure: Measure) -> None:
    """Broken: with many seeds, a difference that is too small to matter would be called better, or stay open."""
    ups = [0.9 + 0.002 * (seed % 5 < 3) for seed in range(200)]
    found = verdict("accuracy: high > low", measure({"high": ups, "low": [0.9] * 200}))
    assert found.corrected is not None and found.corrected < 0.05
    assert found.decision is Decision.NEGLIGIBLE
    assert found.reason == "true or not, the difference is surely smaller than 0.5 points, which is what matters"


def test_epochs_that_are_almost_equal_are_almost_as_sure(measure: Measure) -> None:
    """Broken: five seeds that all need 3 epochs less would decide nothing, and one more or less would decide all."""
    results = measure({"slow": [0.9] * 5, "fast": [0.9] * 5})
    numbers = {"slow": [9.0] * 5, "fast": [6.0] * 5, "almost": [6.0] * 4 + [5.0]}

    def judged(row: str) -> Verdict:
        for name, epochs in (("slow", numbers["slow"]), ("fast", numbers[row])):
            for run, count in zip(results[name].runs, epochs, strict=True):
                run.numbers["best_epoch"] = count
        return verdict("best_epoch: fast < slow", results)

    equal, almost = judged("fast"), judged("almost")
    assert equal.decision is almost.decision is Decision.SUPPORTED
    assert equal.p is not None and almost.p is not None and 1e-5 < equal.p < 1e-2


def test_rows_whose_runs_all_failed_say_nothing(measure: Measure) -> None:
    """Broken: two guesses would be called equally good."""
    found = verdict("accuracy: a >= b", measure({"a": [None] * 6, "b": [None] * 6}))
    assert (found.decision, found.reason) == (Decision.NOT_RUN, "every run of its rows failed")


def test_a_verdict_over_guesses_says_so(measure: Measure) -> None:
    """Broken: "dropout loses to batch normalization" would stand on a network that never began to learn."""
    found = verdict("accuracy: high > low", measure({"high": HIGH, "low": (0.25,) * 6}))
    assert (found.decision, found.reason) == (Decision.SUPPORTED, "`low` only guesses")
    assert claims_section.why(found).endswith("; `low` only guesses.")


def test_the_name_of_a_class_is_text(measure: Measure) -> None:
    """Broken: a class of somebody's images could write HTML into a report."""
    found = verdict("class_accuracy_<b>: high > low", measure({"high": HIGH, "low": LOW}))
    assert claims_section.why(found) == "class_accuracy_&lt;b&gt; was not measured in high, low."


def test_who_only_guesses(measure: Measure) -> None:
    """Broken: of a row that learns a little, or of one that learns nothing, the opposite would be said."""
    found = measure({"guesses": (0.32,), "learns": (0.33,)})
    assert [found[row].idle for row in found] == [True, False]


def test_a_margin_is_told(measure: Measure) -> None:
    """Broken: a claim would show another difference than the answer of the same study, with nobody to say why."""
    results = measure({"high": HIGH, "low": LOW})
    shown = {test: claims_section.in_favour(verdict(test, results)) for test in DECISIONS if "none" not in test[15:]}
    assert shown["accuracy: high > low"] == "+10.00 points (+8.67 to +11.33)"
    assert shown["accuracy: high >= low"] == "+10.50 points (+9.17 to +11.83), counted from −0.50"
    assert claims_section.in_favour(verdict("accuracy: low >= high - 0.2", results)).endswith("counted from −20.50")
    assert shown["accuracy: high > low + 0.2"] == "−10.00 points (−11.33 to −8.67), counted from +20.00"


def test_the_unpaired_interval_stands_beside(measure: Measure) -> None:
    """Broken: a reader could not tell what pairing by seed brings: rows that rise together, or the one against the
    other."""
    together = verdict("accuracy: high > low", measure({"high": HIGH, "low": [value - 0.1 for value in HIGH]}))
    (part,) = together.case.evidence
    assert part.unpaired is not None and part.unpaired.half_width is not None and part.estimate.half_width is not None
    assert part.unpaired.mean == pytest.approx(0.1)
    assert part.unpaired.half_width > 5 * part.estimate.half_width
    (part,) = verdict("accuracy: high > low + 0.02", measure({"high": HIGH, "low": LOW})).case.evidence
    assert part.unpaired is not None and part.unpaired.mean == pytest.approx(part.estimate.mean)
    assert "Unpaired it would be +10.00 points (" in shown(claims_section.evidence, verdicts=[together])


def test_more_claims_need_more_evidence(measure: Measure) -> None:
    """Broken: a study that tests many claims would support some by chance."""
    results = measure({"high": [0.90, 0.86, 0.89, 0.91, 0.88], "low": [0.83, 0.83, 0.81, 0.82, 0.86]})
    alone, among = verdict("accuracy: high > low", results), verdict("accuracy: high > low", results, others=9)
    assert alone.decision is Decision.SUPPORTED
    assert among.decision is Decision.UNDECIDED
    assert among.p == alone.p and among.corrected == pytest.approx(10 * (alone.p or 0))
    assert among.reason.startswith("sure by itself, but not as one of 10 claims; about ")


@pytest.mark.parametrize(
    ("looks", "told"),
    [([5, 40], " (the look at 40 has them) would"), ([5, 6], " (more than its last look, at 6) would")],
)
def test_missing_seeds_are_those_of_a_look(looks: list[int], told: str, measure: Measure) -> None:
    """Broken: a study would ask for three more seeds, which none of its looks brings."""
    results = measure({"high": [0.90, 0.86, 0.89, 0.91, 0.84], "low": [0.86, 0.86, 0.81, 0.82, 0.86]})
    claim = PlannedClaim(says="So.", source="S", tested="So.", test="accuracy: high > low")
    (found,) = judge({"it": claim}, results, looks)
    assert found.decision is Decision.UNDECIDED
    assert told in found.reason


def test_a_claim_against_several_rows_needs_more_seeds_to_fall(measure: Measure) -> None:
    """Broken: the seeds still needed would forget that the worst of several comparisons was picked afterwards."""
    low = {"low": [0.88, 0.87, 0.87, 0.89, 0.84], "other": LOW[:5]}
    results = measure({"high": [0.86, 0.83, 0.86, 0.86, 0.82]} | low)

    def more(test: str) -> int:
        (number,) = re.findall(r"about (\d+) more seeds", verdict(test, results, others=9).reason)
        return int(number)

    assert more("accuracy: high > each(low, other)") > more("accuracy: high > low")


def test_a_run_that_diverged_counts(measure: Measure) -> None:
    """Broken: a row would profit from its runs that diverge."""
    result = measure({"a": [0.9, None, 0.8]})["a"]
    assert result.measure(QUANTITIES["accuracy"]) == {0: 0.9, 1: 0.25, 2: 0.8}
    assert result.measure(QUANTITIES["failed"]) == {0: 0.0, 1: 1.0, 2: 0.0}
    assert result.measure(QUANTITIES["best_epoch"]) == {0: 3.0, 2: 3.0}
    target = quantity("epochs_to_0.85")
    assert target is not None
    assert result.measure(target) == {0: 3.0, 1: 5.0, 2: 5.0}
    assert result.measure(QUANTITIES["unsteadiness"]) == pytest.approx({0: 0.2, 2: 0.2})
    assert result.measure(QUANTITIES["shift"]) == {}
    assert QUANTITIES["failed"].matters == 0.05
    known = replace(result, curves=result.curves | {"val_loss": [[2.0, 1.0, 0.7, 0.5]] * 2})
    assert known.measure(QUANTITIES["unsteadiness"]) == pytest.approx({0: 0.2, 2: 0.2})  # down as much as up
    for run in result.runs:
        run.numbers.update({} if run.failure else {"test_auc": 0.9})
    assert result.measure(QUANTITIES["auc"]) == {0: 0.9, 1: 0.5, 2: 0.9}


def test_the_accuracy_of_a_class_comes_in_steps_of_its_images(measure: Measure) -> None:
    """Broken: differences of an image or two of a small class would be taken for sure."""
    found = quantity("class_accuracy_a")
    assert found is not None and found.resolution(measure({"a": [0.9]})["a"]) == pytest.approx(4 / 400)


def test_a_diagnosis_of_other_runs_is_refused(measure: Measure) -> None:
    """Broken: numbers of runs that were trained afresh would stand beside the shift of their predecessors."""
    with pytest.raises(UserError, match="of other runs"):
        _with_diagnosis("s", measure({"a": [0.9]})["a"], {"a": Diagnosed({7: {}}, {7: []})})


@pytest.mark.parametrize("name", ["epochs_to_1.5", "epochs_to_", "test_accuracy", ""])
def test_an_unknown_quantity_is_none(name: str) -> None:
    """Broken: a misspelt metric would pass the plan and stop a report."""
    assert quantity(name) is None


def test_the_section_shows_each_claim(measure: Measure) -> None:
    """Broken: a verdict, its numbers or its picture would be missing from the report."""
    tests = {
        "one": "accuracy: high > low",
        "two": "accuracy: high < each(mixed, low)",
        "three": "accuracy: high > none",
    }
    planned = {
        name: PlannedClaim(says=f"{name} | x.", source="A|B", tested="T.", test=test) for name, test in tests.items()
    }
    verdicts = judge(planned, measure({"high": HIGH, "low": LOW, "mixed": MIXED}))
    text = shown(claims_section.claims, verdicts=verdicts)
    assert "\n3 claims made elsewhere, tested here: 1 supported, 1 contradicted, 1 not run. " in text
    assert r"1. **✓ supported**: one \| x. +10.00 points (+8.67 to +11.33)." in text
    assert r"3. **– not run**: three \| x. no results of none." in text
    text = shown(claims_section.evidence, verdicts=verdicts)
    assert "| 1 | ![supported: +10.00 points" in text
    assert "Test accuracy, points: `high` 91.50 ± 1.10, `low` 81.50 ± 1.10. 100 % of 6 seeds are in its favour" in text
    assert "No results of none." in text
    assert "`one`, supported. A\\|B. Tested: T. `accuracy: high > low`." in text
    at = shown(reading_sections.reading, verdicts=verdicts, looks=[5, 10]).splitlines()[-1]
    assert at == "They are judged at 5, 10 seeds, each time at 2.5 % and not 5 %, unless a note says otherwise."
    assert re.findall(r"s/(claim-\w+\.svg)", text) == ["claim-one.svg", "claim-two.svg"]
    assert claims_section.draw(verdicts[0]).startswith("<svg")
    assert shown(claims_section.claims) == shown(claims_section.evidence) == ""


SEEDS = {
    "one seed": [[0.5]],
    "no difference": [[0.0, 0.0]],
    "wide interval": [[-0.1, 3.0]],
    "several": [[1.0, 2.0, 1.5], [-1e-5, 2e-5, 1e-5], [-300.0, -200.0, -250.0]],
}


@pytest.mark.parametrize("case", SEEDS)
@pytest.mark.parametrize("decision", COLOURS)
def test_a_picture_shows_every_seed(case: str, decision: str) -> None:
    """Broken: a picture would be no SVG, leave seeds out or draw outside of itself."""
    lines = [Line(values, mean_interval(values)) for values in SEEDS[case]]
    text = interval_plot(lines, decision, "points", "a < b & c")
    root = ElementTree.fromstring(text)
    assert root.get("aria-label") == "a < b & c"
    circles = [float(circle.get("cx", "nan")) for circle in root.iter("{http://www.w3.org/2000/svg}circle")]
    assert len(circles) == sum(map(len, SEEDS[case]))
    assert all(0 < x < WIDTH for x in circles)
    labels = [label.text for label in root.iter("{http://www.w3.org/2000/svg}text")]
    assert (
        any(label in ("0", "0 points") for label in labels) and labels[-1] is not None and labels[-1].endswith("points")
    )
    assert "nan" not in text


def test_the_index_counts_what_was_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: claims would be missing from the index, or one damaged row would hide all others."""
    for name in ("RUNS", "DIAGNOSIS", "REPORTS"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    (tmp_path / "runs" / "quickstart" / "bn").mkdir(parents=True)
    monkeypatch.setattr("sys.argv", ["claims"])
    claims.main()
    printed = capsys.readouterr()
    params = read_params()
    tests = sum(len(claim.by_study()) for claim in params.claims.values())
    assert len(params.claims) >= 15
    assert printed.out.splitlines()[-1] == f"{len(params.claims)} claims, {tests} tests: {tests} not run"
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("not counted: ") and "quickstart/bn/spec.json: missing" in printed.err


def test_the_index_falls_back_on_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: in a fresh clone every claim would be "not run", beside reports that decide it."""
    for name in ("RUNS", "DIAGNOSIS", "REPORTS"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    summary = {"name": "quickstart", "demonstration": True}
    told = {"decision": "contradicted", "why": "−1.5 points (−2.0 to −1.0); low only guesses."}
    told |= {"name": "bn-replaces-dropout", "test": "accuracy: bn >= both"}
    edited = told | {"name": "both-worse-than-either"}
    write_json(tmp_path / "reports" / "quickstart" / "summary.json", summary | {"claims": [told, edited]})
    monkeypatch.setattr("sys.argv", ["claims"])
    claims.main()
    first, *others, last = capsys.readouterr().out.splitlines()
    assert first.startswith("✗ contradicted quickstart")
    assert first.endswith("bn-replaces-dropout (−2.0 to −1.0); low only guesses.")
    assert not any("contradicted quickstart" in line for line in others)
    assert last == "As committed in reports/, not run on this machine: quickstart"


def test_the_index_begins_with_what_was_run(measure: Measure) -> None:
    """Broken: what was found would be hidden among claims that nobody ran, or cut off at the end of a line."""
    run = verdict("accuracy: high > low", measure({"high": HIGH, "low": LOW}))
    not_run = verdict("accuracy: high > none", measure({"high": HIGH}))
    first, second = claims.index({"a-study": [index.claim(not_run)], "b": [index.claim(run)]})
    assert first == "✓ supported    b       +10.00 points it (+8.67 to +11.33)."
    assert second == "– not run      a-study               it; no results of none."


PLAIN = {"each": "conv act", "end": "pool", "head": "dense act"}
ARRANGEMENTS = {
    "plain": PLAIN | {"dropout": 0.5},
    "bn": {"each": "conv bn act", "end": "pool", "head": "dense bn act"},
    "dropout": {"each": "conv act", "end": "pool drop", "head": "dense act"},
    "both": {"each": "conv bn act", "end": "pool drop", "head": "dense bn act"},
    "both-slow": {"each": "conv bn act", "end": "pool drop", "head": "dense bn act", "epochs": 9},
    "before": {"each": "conv drop bn act", "end": "pool", "head": "dense bn act"},
}


@pytest.mark.parametrize("spelled", [False, True], ids=["each and end", "block"])
def test_rows_that_make_a_table_are_found(spelled: bool, measure: Measure) -> None:
    """Broken: effects of batch normalization and dropout would be taken from rows that differ in something else."""
    shares = dict(
        zip(ARRANGEMENTS, ([0.5, 0.51], [0.6, 0.61], [0.7, 0.71], [0.75, 0.74], [0.1, 0.1], [0.2, 0.2]), strict=True)
    )
    rows = {
        name: row | ({"block": f"{row['each']} {row['end']}", "each": "", "end": ""} if spelled else {})
        for name, row in ARRANGEMENTS.items()
    }
    results = [measure({name: shares[name]}, **row)[name] for name, row in rows.items()]
    (found,) = comparisons.quadruples(results)
    assert {cell: result.name for cell, result in found.items()} == {
        "neither": "plain", "first": "bn", "second": "dropout", "both": "both",
    }  # fmt: skip
    ranked = sorted(results, key=lambda result: -shares[result.name][0])
    text = shown(comparison_sections.two_way_table, ranked)
    (line,) = re.findall(r"^\| `plain`, `bn`, `dropout`, `both` \| (\S+) .* \| (\S+) .* \| (\S+) .* \|$", text, re.M)
    assert line == ("+7.00", "+17.00", "−6.00")
    text = shown(comparison_sections.robust, ranked)
    assert "| `both` | 74.50 (74.00 to 75.00) | 74.50 (74.00 to 75.00) | – |" in text
    assert "| `bn` | 60.50 (60.00 to 61.00) | 60.50 (60.00 to 61.00) | 0.00 (0.00 to 0.00) |" in text


def test_the_table_of_seeds_keeps_every_digit(measure: Measure) -> None:
    """Broken: a clone could not tell equal numbers from almost equal ones."""
    table = seed_table.of(measure({"b": [0.1 + 0.2, None], "a": [1 / 3]}).values())
    text = seed_table.write(table)
    assert seed_table.read(text, "x") == table
    assert list(table) == ["b", "a"]
    assert table["b"][0].numbers == {
        "epochs": 4.0, "best_epoch": 3.0, "gap_accuracy": 0.1, "test_accuracy": 0.1 + 0.2,
        "first_train_loss": 2.0, "first_val_loss": 2.0,
    }  # fmt: skip
    assert text.splitlines()[2] == "b,1,failed,diverged,,,,,,"


@pytest.mark.parametrize("text", ["x", "row,seed\na,1\n", "row,seed,status,reason,y\na,one,finished,,1\n"])
def test_a_damaged_table_is_one_line(text: str) -> None:
    """Broken: a table that somebody edited would give a traceback."""
    if text == "x":
        assert seed_table.read(text, "results.csv") == {}
        return
    with pytest.raises(UserError, match=r"^results\.csv: damaged$"):
        seed_table.read(text, "results.csv")
