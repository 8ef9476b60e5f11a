"""What the report says of tunings: nothing but what trials.csv and the rows' outputs hold."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from outputs import CLASSES, make_row, make_study, prepare, shown, write_outputs

from pipeline import paths, report
from pipeline.errors import UserError
from pipeline.findings import measured
from pipeline.findings.measured import Result
from pipeline.params import chosen
from pipeline.params.rows import Row, TunedRow
from pipeline.reporting import tuning_pairs, tuning_sections
from pipeline.tuning import tuned
from pipeline.tuning.importance import importances

SPACE = {
    "optimizer.lr": {"low": 1e-4, "high": 0.1, "log": True},
    "batch": {"choices": [16, 32]},
    "dropout": {"low": 0.0, "high": 0.5},
}
SENTENCES = {"bn": "conv bn act", "plain": "conv act"}


def make_tuned(each: str, **changes: Any) -> TunedRow:
    tuning = {"trials": 8, "epochs": 2, "seeds": [99], "space": SPACE} | changes
    return TunedRow.model_validate(make_row(each=each, seeds=[0, 1, 2]).model_dump() | {"tuning": tuning})


def make_trials(row: TunedRow) -> list[tuned.Trial]:
    """Trials whose score grows with the distance of the rate from 10⁻²·⁶; one is pruned, one failed."""
    found = []
    for place in range(row.tuning.trials):
        rate = 10.0 ** (-1 - 0.4 * place)
        values = {"optimizer.lr": rate, "batch": (16, 32)[place % 2]}
        found.append(tuned.Trial(place, "complete", 0.25 + abs(place - 4), 2, 64, None, values))
    found[1] = tuned.Trial(1, "pruned", 0.2, 1, 32, None, found[1].values)
    found[0] = tuned.Trial(0, "failed", None, 1, 32, "training loss not finite in epoch 1", found[0].values)
    return found


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Result]:
    """Two rows untuned and tuned, whose order tuning turns round."""
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    prepare(paths.DATA / "digits", 64, CLASSES)
    rows: dict[str, Row] = {}
    for name, accuracies in {"bn": (0.5, 0.75), "plain": (0.625, 0.6875)}.items():
        rows |= {name: make_row(each=SENTENCES[name]), f"{name}-tuned": make_tuned(SENTENCES[name])}
        write(tmp_path, name, rows[name], accuracies[0])
        write(tmp_path, f"{name}-tuned", rows[f"{name}-tuned"], accuracies[1])
    groups = measured.load(make_study(rows), tmp_path / "runs")
    return {result.name: result for group in groups for result in group}


def write(folder: Path, name: str, row: Row, accuracy: float) -> None:
    spread: Sequence[float] = [accuracy - 0.01, accuracy, accuracy + 0.01]
    if isinstance(row, TunedRow):
        tuned.write(name, row, make_trials(row), folder / name)
        row = chosen.read_row(name, row, folder / name)
    write_outputs(folder / "runs" / name, row, spread)
    if (folder / name).exists():
        (folder / name).rename(folder / "runs" / name / "tuning")


def test_the_best_complete_trial_wins(tmp_path: Path) -> None:
    """Broken: a row would train with the values of a trial that was pruned, failed or worse."""
    row = make_tuned("conv act")
    best = tuned.write("t", row, make_trials(row), tmp_path)
    assert (best.place, best.score) == (4, 0.25)
    assert chosen.read_row("t", row, tmp_path).optimizer.lr == pytest.approx(10**-2.6)
    again = tuned.read("t", row, tmp_path)
    assert again.trials == make_trials(row) and again.best == best and again.left_out == ["dropout"]
    highest = make_tuned("conv act", objective="val_accuracy")
    assert tuned.write("t", highest, make_trials(highest), tmp_path).place == 7
    ties = [tuned.Trial(place, "complete", 0.5, 1, 1, None, {"optimizer.lr": 0.1, "batch": 16}) for place in range(8)]
    assert tuned.write("t", row, ties, tmp_path).place == 0
    with pytest.raises(UserError, match=r"tuned\.t: none of 1 trials is complete; the first: training loss"):
        tuned.write("t", row, make_trials(row)[:1], tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "damaged"),
        ("{}", "of another tuning; run '.venv/bin/dvc repro tune@t'"),
        (None, "missing; run '.venv/bin/dvc repro tune@t'"),
    ],
)
def test_outputs_that_do_not_fit_are_named(content: str | None, words: str, tmp_path: Path) -> None:
    """Broken: a row would train with the values of an older tuning, or with none."""
    row = make_tuned("conv act")
    tuned.write("t", row, make_trials(row), tmp_path)
    path = tmp_path / tuned.BEST
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(UserError, match=words):
        chosen.read_row("t", row, tmp_path)


def test_tuned_rows_stand_beside_the_same_rows_untuned(results: dict[str, Result]) -> None:
    """Broken: rows would be compared that differ in more than their tuning, or the turn of their order be missed."""
    found = tuning_pairs.pairs(list(results.values()))
    assert {(pair.untuned.name, pair.tuned.name) for pair in found} == {("bn", "bn-tuned"), ("plain", "plain-tuned")}
    said = tuning_pairs.order(found)
    assert "it is `plain` > `bn` untuned and `bn-tuned` > `plain-tuned` tuned" in said
    assert "+12.50 ± 1.58 untuned, −6.25 ± 1.58 points tuned, and the seeds bear out both" in said
    assert tuning_pairs.order(found[:1] + found[:1]).startswith("Not that of the means: ")


def test_every_section_says_what_the_trials_hold(results: dict[str, Result]) -> None:
    """Broken: counts, values or costs of the report would be others than those of trials.csv."""
    text = shown(tuning_sections.tuning, [results[name] for name in ("bn", "bn-tuned", "plain-tuned")])
    assert "8 trials of at most 2 epochs and one seed each, scored by `val_loss`, sampler tpe, pruner none" in text
    assert "| `bn-tuned` | `optimizer.lr` 0.002512, `batch` 16 | – | `dropout` | 6, 1, 1 | 4 | 0.2500 |" in text
    assert "`bn-tuned` trial 0: training loss not finite in epoch 1" in text
    # 6 trials of 2 epochs and 2 of one; 3 runs of 3 epochs on 62 batches of 16, or 31 of 32, of 1,000 images.
    assert "| `bn-tuned` | 75.00 ± 2.48 | 14 | 9 | 448 | 8,928 | 9,376 |" in text
    assert "| `bn` | 50.00 ± 2.48 | 0 | 9 | 0 | 8,928 | 8,928 |" in text
    assert shown(tuning_sections.tuning, [results["bn"]]) == ""


def test_importances_find_what_matters() -> None:
    """Broken: the parameter that decides the score would not stand first, or the shares change from day to day."""
    row = make_tuned("conv act", trials=40)
    values = [{"optimizer.lr": 10.0 ** (-1 - place % 20 / 7), "batch": (16, 32)[place // 20]} for place in range(40)]
    trials = [tuned.Trial(place, "complete", place % 20 + 0.1, 1, 1, None, values[place]) for place in range(40)]
    found = importances(tuned.Tuned(row, make_row(), trials, trials[0], []))
    assert list(found) == ["optimizer.lr", "batch"] and sum(found.values()) == pytest.approx(1)
    assert found["optimizer.lr"] > 0.95
    assert found == importances(tuned.Tuned(row, make_row(), trials, trials[0], []))
    assert importances(tuned.Tuned(row, make_row(), trials[:7], trials[0], [])) == {}


def test_the_figures_show_every_trial(results: dict[str, Result]) -> None:
    """Broken: a figure would leave out trials, or fail on what a space may hold."""
    from pipeline.reporting import charts, tuning_charts

    searches = tuning_sections.searches(list(results.values()))
    with charts.style():
        figure = tuning_charts.trials_figure(searches)
        panels = [axes for axes in figure.axes if axes.get_visible()]
        assert len(panels) == 2 * 3
        for axes in panels:
            drawn = [line for line in axes.lines if line.get_linestyle() == "None"]
            assert sum(len(line.get_xydata()) for line in drawn) == 8  # pyright: ignore[reportArgumentType]
        assert len(tuning_charts.budget_figure(searches).axes) == 2


def test_the_report_of_tuned_rows_is_the_same_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: sections or figures of tunings would be missing from a report, or change without a reason."""
    for name in ("DATA", "REPORTS", "STORE"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    prepare(paths.DATA / "digits", 64, CLASSES)
    rows: dict[str, Row] = {"bn": make_row(each=SENTENCES["bn"]), "bn-tuned": make_tuned(SENTENCES["bn"])}
    for name, row in rows.items():
        write(tmp_path, name, row, 0.5)
    study, made = make_study(rows), []
    for _ in range(2):
        report.write(study, measured.load(study, tmp_path / "runs"), paths.REPORTS)
        made.append({path: path.read_bytes() for path in paths.REPORTS.rglob("*") if path.is_file()})
    assert made[0] == made[1]
    assert "### What was searched" in (paths.REPORTS / "s.md").read_text()
    assert {"budget.svg", "tuning.svg"} <= {path.name for path in made[0]}
