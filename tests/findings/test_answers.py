"""A study's answer: what the seeds show of its own question, in three sentences, and what a failed run decides."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.findings import answers
from pipeline.findings.measured import Groups, Result, Run, standing
from pipeline.findings.stats import Estimate
from pipeline.params.quantities import quantity
from pipeline.params.rows import Row
from pipeline.params.studies import Answer, Study

MakeRow = Callable[..., Row]
Measure = Callable[..., Groups]
SPEC = {"classes": ["a", "b", "c", "d"], "images": {"train": 1000, "validation": 200, "test": 400}}

PARTS: dict[str, dict[str, Any]] = {
    "plain": {"each": "conv act", "end": "pool", "head": "dense act"},
    "bn": {"each": "conv bn act", "end": "pool", "head": "dense bn act"},
    "dropout": {"each": "conv act", "end": "pool drop", "head": "dense act"},
    "both": {"each": "conv bn act", "end": "pool drop", "head": "dense bn act"},
}


@pytest.fixture
def measure(make_row: MakeRow) -> Measure:
    """Gives ranked rows with these test accuracies by seed; None is a run that failed."""

    def made(rows: Mapping[str, Sequence[float | None]], leaking: Sequence[str] = ()) -> Groups:
        results = []
        for name, accuracies in rows.items():
            changes = PARTS.get(name, {}) | ({"select_on": "test"} if name in leaking else {})
            row = make_row(seeds=list(range(len(accuracies))), **changes)
            runs = [
                Run(seed, "diverged", {}) if value is None else Run(seed, None, {"epochs": 4.0, "test_accuracy": value})
                for seed, value in enumerate(accuracies)
            ]
            results.append(Result(name, row, Path(name), SPEC, runs, {}))
        return [sorted(results, key=standing)]

    return made


def study(*told: Answer) -> Study:
    return Study(title="T", question="Q?", answers=list(told))


HIGH, LOW = (0.90, 0.91, 0.92, 0.91, 0.93), (0.80, 0.82, 0.81, 0.83, 0.82)


def test_an_answer_says_what_its_study_asks(measure: Measure) -> None:
    """Broken: a study on what something costs would be answered by which row leads its runner-up."""
    told = Answer(says="It costs {cost}, or {little}.", of={"cost": "accuracy: a - b", "little": "accuracy: a - c"})
    groups = measure({"a": HIGH, "b": LOW, "c": [value - 0.0001 * seed for seed, value in enumerate(HIGH)]})
    text = answers.answer(study(told), groups)
    assert text.startswith(
        "It costs 9.8 ± 1.6 points, or 0.02 ± 0.13 points (too little to matter). `a` has the highest"
    )


def test_what_each_adds_and_both_together(measure: Measure) -> None:
    """Broken: where rows with neither, either and both are there, the answer would not say what they add."""
    rows = {"plain": LOW, "bn": (0.81, 0.85, 0.83, 0.82, 0.84), "dropout": HIGH, "both": (0.94, 0.95, 0.95, 0.94, 0.96)}
    text = answers.answer(study(), measure(rows))
    assert text == (
        "Batch normalization alone adds 1.4 ± 1.9 points (not sure) to the test accuracy of `plain`, dropout alone"
        " 9.8 ± 1.6 points, and both together 13.2 ± 1.6 points. `both` has the highest mean test accuracy,"
        " 94.80 ± 1.04 %, surely higher than that of all 3 other rows."
    )


def test_a_failed_run_that_decides_is_told(measure: Measure) -> None:
    """Broken: an effect of guesses would pass for one of images, or a row that learns nothing for a rival."""
    told = Answer(says="It brings {gain}.", of={"gain": "accuracy: a - b"})
    text = answers.answer(study(told), measure({"a": HIGH, "b": (0.9, None, 0.9, None, 0.9), "c": (0.25,) * 5}))
    assert text.startswith("It brings 27 ± 44 points (not sure) (2 of 5 runs of `b` failed, counted as guesses). `a`")
    assert "`c`" not in text
    text = answers.answer(
        study(Answer(says="{x}.", of={"x": "accuracy: a - c"})), measure({"a": HIGH, "c": (0.25,) * 5})
    )
    assert "(`c` only guesses)" in text
    assert "points (not sure) (2 of 5 runs of `b` only guess)." in answers.answer(
        study(told), measure({"a": HIGH, "b": (0.9, 0.25, 0.9, 0.25, 0.9), "c": (0.25,) * 5})
    )
    idle = answers.answer(study(told), measure({"a": (0.25,) * 5, "b": (0.25, 0.25, 0.26, 0.25, 0.25)}))
    assert idle.startswith("It brings −0.20 ± 0.56 points (a guess beside a guess) (`a`, `b` only guess).")
    lost = answers.answer(study(told), measure({"a": (0.25, 0.25, 0.25, 0.26, 0.25), "b": (None,) * 5}))
    assert lost.startswith("It brings 0.20 ± 0.56 points (a guess beside a guess) (5 of 5 runs of `b` failed, counted")
    often = Answer(says="{share} fail.", of={"share": "failed: b - a"})
    text = answers.answer(study(often), measure({"a": HIGH, "b": (0.9, None, 0.9, None, 0.9)}))
    assert text.startswith("40 ± 68 points (not sure) fail. `a`")


def test_a_ratio_is_told_as_a_factor() -> None:
    """Broken: a learner would have to take a logarithm back."""
    shift = quantity("shift")
    assert shift is not None
    assert answers.measure(Estimate(np.log(2), np.log(1.5), 5), shift) == "2.00 times (1.33 to 3.00)"
    accuracy = quantity("accuracy")
    assert accuracy is not None
    assert answers.measure(Estimate(0.2897, 0.2502, 5), accuracy) == "29 ± 25 points"
    assert answers.measure(Estimate(0.2897, None, 1), accuracy) == "28.97 points"


@pytest.mark.parametrize(
    ("rows", "leaking", "expected"),
    [
        (
            {"a": HIGH, "b": LOW},
            (),
            "`a` has the highest mean test accuracy, 91.40 ± 1.42 %, surely higher than that of",
        ),
        ({"a": HIGH, "b": HIGH[::-1]}, (), "; `b` may be as good."),
        ({"a": HIGH, "b": (None,) * 5}, (), ", surely higher than that of the other row."),
        ({"a": HIGH}, (), "; no other row can be compared with it."),
        ({"a": (0.9,), "b": (0.8,)}, (), "90.00 %; `b` may be as good."),
        ({"a": (None,), "b": (None,)}, (), "No run finished, so there is no answer."),
        ({"a": HIGH, "b": LOW}, ("a",), "Among the rows selected on validation images, `b` has"),
        (
            {"a": HIGH},
            ("a",),
            "By accuracies that are optimistic, since all rows were selected on test images, `a` has",
        ),
    ],
)
def test_the_ranking_is_told_as_a_set(
    rows: dict[str, Sequence[float | None]], leaking: Sequence[str], expected: str, measure: Measure
) -> None:
    """Broken: the best row would be called better than one that the seeds do not tell from it, or fail to be."""
    assert expected in answers.answer(study(), measure(rows, leaking))


def test_looks_at_a_study_make_its_answer_more_careful(measure: Measure) -> None:
    """Broken: a study that adds seeds until something is sure would be sure of it by chance."""
    groups = measure({"a": (0.90, 0.92, 0.93, 0.91, 0.94), "b": (0.89, 0.91, 0.91, 0.91, 0.92)})
    told = study(Answer(says="It adds {gain}.", of={"gain": "accuracy: a - b"}))
    often = told.model_copy(update={"looks": [5, 10, 20, 29]})
    assert "points. `a` has" in answers.answer(told, groups) and "; `b` may be" not in answers.answer(told, groups)
    assert "(not sure). `a` has" in answers.answer(often, groups) and "; `b` may be" in answers.answer(often, groups)


def test_who_asks_which_row_to_take_is_told(measure: Measure) -> None:
    """Broken: `make new` would end with a row that the seeds do not speak for, or leave out those as good."""
    taken = "a, which recognizes 91.40 ± 1.42 % of the test images"
    (group,) = measure({"a": HIGH, "b": LOW})
    assert answers.advice(study(), group) == f"{taken}; every other row is surely worse."
    near = [value - 0.01 * (seed % 2) for seed, value in enumerate(HIGH)]
    (group,) = measure({"a": HIGH, "b": LOW, "c": near})
    assert answers.advice(study(), group) == f"{taken}, and these are as good, as far as 5 seeds can tell: c."
    (group,) = measure({"a": [None, None], "b": [None, None]})
    assert answers.advice(study(), group) == "no run finished, so nothing can be said."


def test_the_best_row_is_rarely_excluded(measure: Measure) -> None:
    """Broken: the set of rows that may be the best would leave the best out in more than 5 % of studies."""
    generator, missed, kept = np.random.default_rng(0), 0, 0
    for _ in range(200):
        draws = generator.normal(0.8, 0.01, (6, 5)) + 0.02 * np.array([[1], [1], [0], [0], [0], [-3]])
        (group,) = measure({f"r{row}": values.tolist() for row, values in enumerate(draws)})
        found = {result.name for result in answers.may_be_best(group)}
        missed += "r0" not in found
        kept += "r5" in found
    assert missed <= 0.05 * 200
    assert kept < 0.3 * 200
