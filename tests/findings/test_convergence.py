"""Epochs to an accuracy, usable learning rates, and the report's sections on them and on the diagnosis."""

import re
from collections.abc import Sequence
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import pytest
from outputs import shown

from pipeline.errors import UserError
from pipeline.findings.convergence import learning_rates
from pipeline.findings.diagnosed import Diagnosed, read
from pipeline.findings.findings import Findings
from pipeline.findings.measured import Result, Run, with_rates
from pipeline.params.planned import PlannedStudy
from pipeline.params.quantities import QUANTITIES, epochs_to
from pipeline.params.rows import Row
from pipeline.params.studies import Study
from pipeline.reporting import convergence_sections, diagnosis_sections


def make_result(
    name: str, accuracies: Sequence[float | None], curves: Sequence[Sequence[float]] = (), **changes: Any
) -> Result:
    """A row whose runs end at these validation accuracies; None is a run that failed."""
    base: dict[str, Any] = {"study": "s", "dataset": "d", "backbone": "vgg2", "each": "conv bn act", "end": "pool"}
    base |= {"head": "dense act", "optimizer": {"name": "sgd", "lr": 0.1}, "epochs": 3, "batch": 8}
    row = Row.model_validate(base | {"seeds": list(range(len(accuracies)))} | changes)
    runs = [
        Run(
            seed, "diverged" if accuracy is None else None, {} if accuracy is None else {"final_val_accuracy": accuracy}
        )
        for seed, accuracy in enumerate(accuracies)
    ]
    return Result(
        name, row, Path(), {"classes": list("0123456789")}, runs, {"val_accuracy": [list(curve) for curve in curves]}
    )


def at(lr: float, accuracies: Sequence[float | None], **changes: Any) -> Result:
    """A row at a learning rate."""
    return make_result(f"r{lr:g}", accuracies, optimizer={"name": "sgd", "lr": lr}, **changes)


@pytest.mark.parametrize(
    ("curve", "expected"), [([0.1, 0.5, 0.4], 2), ([0.6], 1), ([0.1, 0.4], None), ([nan, 0.5], 2), ([], None)]
)
def test_the_first_epoch_that_reaches_a_target_counts(curve: list[float], expected: int | None) -> None:
    """Broken: epochs would be counted from 0, or a target that is met exactly be missed."""
    assert epochs_to(curve, 0.5) == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([at(0.1, [0.9, 0.9]), at(0.01, [0.5, 0.5]), at(1.0, [0.83, 0.84])], 1.0),
        ([at(0.1, [0.9, 0.9]), at(1.0, [0.81, 0.82])], 0.1),
        ([at(0.1, [0.11, 0.13]), at(1.0, [0.1, 0.1])], None),
        ([at(0.1, [0.9, 0.9]), at(1.0, [0.95, None])], 0.1),
        ([at(0.1, [0.5, 0.5]), at(1.0, [0.95, None])], 0.1),
        ([at(0.1, [None, None]), at(1.0, [None, None])], None),
    ],
)
def test_the_highest_usable_rate(rows: list[Result], expected: float | None) -> None:
    """Broken: a rate at which a seed failed, or that learns too little, would pass for usable."""
    (rates,) = learning_rates(with_rates(rows))
    assert rates.usable() == expected


def test_only_rows_that_differ_in_the_rate_alone_are_compared() -> None:
    """Broken: the rate of one arrangement would be judged by the accuracy of another."""
    rows = [at(0.1, [0.9]), at(1.0, [0.1], activation="sigmoid"), at(1.0, [0.8], seeds=[7]), at(0.5, [0.9], batch=16)]
    (rates,) = learning_rates(with_rates(rows))
    assert [result.name for result in rates.results.values()] == ["r0.1", "r1"]
    section = shown(convergence_sections.rates, with_rates(rows))
    assert "| `conv bn act · pool · dense act` | relu | 0.1: 90.00; 1: 80.00 |" in section


def test_the_usable_rate_of_each_seed() -> None:
    """Broken: a claim about higher rates would be judged at a rate that nobody could use."""
    rows = [at(0.01, [0.8, 0.9, 0.11]), at(0.1, [0.9, None, 0.12]), at(1.0, [0.3, 0.9, 0.1])]
    usable = QUANTITIES["usable_rate"]
    for row in with_rates(rows):
        assert row.measure(usable) == pytest.approx({0: -1.0, 1: 0.0, 2: -3.0})
        assert usable.resolution(row) == pytest.approx(1.0)
    assert with_rates(rows[:1])[0].measure(usable) == {}


def test_targets_are_counted_over_the_runs_that_reach_them() -> None:
    """Broken: a row that misses a target, or failed, would look fast."""
    curves = [[0.1, 0.6, 0.7], [0.5, 0.4, 0.7]]
    rows = [make_result("a", [0.7, 0.7, None], curves), make_result("dead", [None])]
    section = shown(convergence_sections.epochs, rows, targets=[0.5, 0.65, 0.9])
    assert "| `a` | 1.5 ± 6.4 (2 of 3) | 3.0 ± 0.0 (2 of 3) | – (0 of 3) |" in section
    assert "| `dead` | – (0 of 1) | – (0 of 1) | – (0 of 1) |" in section


LAYER = {"ratio": 0.5, "ratio_alone": 0.8, "q05": 0.4, "q95": 0.6}
NUMBERS = {f"test_{what}_{how}": 0.5 for what in ("accuracy", "loss") for how in ("before", "moving", "exact")}
NUMBERS |= {f"train_{what}_{how}": 0.5 for what in ("accuracy", "loss") for how in ("eval", "train")}


def diagnosed(result: Result, layers: list[dict[str, float]], **numbers: float) -> Result:
    """The row with the same measures for each run that finished."""
    seeds = [run.seed for run in result.runs if run.failure is None]
    each = Diagnosed(dict.fromkeys(seeds, NUMBERS | numbers), dict.fromkeys(seeds, layers))
    return replace(result, diagnosis=each)


def test_the_shift_stands_beside_formula_and_publication() -> None:
    """Broken: ratios under 1 would be averaged with those over 1, or layers without a formula with those with one."""
    predicted = LAYER | {"ratio": 2.0, "ratio_alone": 1.0, "predicted": 0.8, "predicted_by_input": 0.625}
    row = make_result("a", [0.9, 0.9], published={"shift": [1.37, 1.49]})
    text = shown(diagnosis_sections.shift, [diagnosed(row, [LAYER | {"ratio": 0.25}, predicted])])
    shifts, formulas = (line.split(" | ") for line in text.splitlines() if line.startswith("| `a`"))
    assert [cell.split(" (")[0] for cell in shifts[1:]] == ["3.000", "1.125", "1.37–1.49 |"]
    assert [cell.split(" (")[0] for cell in formulas[1:]] == ["1 of 2", "2.000", "1.000", "1.250", "1.600"]


def test_shifts_are_averaged_as_ratios() -> None:
    """Broken: one run whose shift exploded would be the mean of all, with an interval below 1."""
    shown = diagnosis_sections._geometric({0: 2.0, 1: 8.0, 2: 4.0}, 2)
    assert shown == "4.00 (0.71 to 22.38)"  # ln 4 ± 4.303 ln 2 / √3
    assert diagnosis_sections._geometric({0: 2.0}, 2) == "2.00"


def test_what_better_statistics_take_from_the_loss() -> None:
    """Broken: the share of the loss that the shift explains would have a wrong sign or base."""
    row = make_result("a", [0.9, 0.9])
    better = {"test_loss_before": 0.8, "test_loss_exact": 0.6, "test_accuracy_before": 0.9, "test_accuracy_exact": 0.95}
    text = shown(diagnosis_sections.statistics, [diagnosed(row, [LAYER], **better)])
    cells = next(line for line in text.splitlines() if "`a`" in line).split(" | ")
    assert cells[1].startswith("10.00") and cells[4].startswith("−5.00")
    assert cells[8].startswith("+0.2000") and cells[9] == "25.0 |"


def test_sections_without_content_are_left_out() -> None:
    """Broken: a study without batch norm would show empty tables."""
    plain = {key: 0.5 for key in NUMBERS if key.startswith("train") or "before" in key}
    row = make_result("a", [0.9])
    without_norms = replace(row, diagnosis=Diagnosed({0: plain}, {0: []}))
    makers = (diagnosis_sections.shift, diagnosis_sections.statistics, diagnosis_sections.modes)
    makers += (diagnosis_sections.company, convergence_sections.epochs, convergence_sections.rates)
    titles = [text.split("\n")[0] for text in (shown(make, [without_norms]) for make in makers) if text]
    assert titles == ["## Training mode against test mode"]
    assert not any(shown(make, [row]) for make in makers)


def test_the_figure_shows_every_row_with_batch_norm() -> None:
    """Broken: a figure would fail, or warn, on rows whose runs failed, or give other bytes each time."""
    rows = [
        diagnosed(make_result("a", [0.9, 0.9]), [LAYER, LAYER | {"predicted": 0.5}]),
        diagnosed(make_result("b", [0.9]), [LAYER | {"ratio": 1.0}] * 5),
        diagnosed(make_result("dead", [None]), [LAYER]),
        make_result("not diagnosed", [0.9]),
    ]
    study = PlannedStudy(
        name="s", study=Study(title="T", question="?"), rows={result.name: result.row for result in reversed(rows)}
    )
    (first, formula), (second, _) = (list(diagnosis_sections.shift(Findings(study, [rows], [], []))) for _ in range(2))
    named = [re.findall(r"^\| `([^`]+)` \|", part.markdown(), re.MULTILINE) for part in (first, formula)]
    assert named == [["b", "a"], ["a"]]
    assert [picture.svg for picture in first.pictures] == [picture.svg for picture in second.pictures] != []


def test_damaged_tables_are_one_line(tmp_path: Path) -> None:
    """Broken: a diagnosis that is missing or cut off would be a traceback, or a report with holes."""
    with pytest.raises(UserError, match=r"not whole; run '\.venv/bin/dvc repro report@s'"):
        read("s", tmp_path)
    (tmp_path / "runs.csv").write_text("row,seed,status,reason,company_sd\na,0,finished,,0.5\na,1,failed,why,\n")
    (tmp_path / "layers.csv").write_text("row,seed,layer,case,ratio\na,0,bn,,0.5\n")
    (row,) = read("s", tmp_path).values()
    assert row == Diagnosed({0: {"company_sd": 0.5}}, {0: [{"ratio": 0.5}]})
    for line in ("x,0,bn,,0.5", "a,1,bn,,0.5", "a,0,bn,,x", "a"):
        (tmp_path / "layers.csv").write_text(f"row,seed,layer,case,ratio\n{line}\n")
        with pytest.raises(UserError, match=r"damaged; run '\.venv/bin/dvc checkout --force diagnose@s'"):
            read("s", tmp_path)
