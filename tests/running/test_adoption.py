"""Runs of older code stand for today's only when they come out the same again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helping import InTurn

from pipeline import paths
from pipeline.params.rows import Row
from pipeline.running import adoption, rows, store
from pipeline.running.logbook import LoggedRun
from pipeline.storage import read_json, write_json
from pipeline.training import run


@pytest.fixture
def wanted(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_row: Callable[..., Row]
) -> list[LoggedRun]:
    """The runs of two rows of today's code."""
    monkeypatch.setattr(paths, "STORE", tmp_path / "store")
    monkeypatch.setattr(paths, "prepared", lambda dataset: data)
    rates = {"a": 0.01, "b": 0.02}
    planned = {
        name: make_row(epochs=1, seeds=[0, 1], optimizer={"name": "adam", "lr": lr}) for name, lr in rates.items()
    }
    return [one for name, row in planned.items() for one in rows.describe(name, row, "data", "new")]


def store_old(wanted: list[LoggedRun], data: Path, code: str = "old", **changes: Any) -> None:
    """Trains them with code of another digest; `changes` of the row stand for a constant that it has otherwise."""
    for one in wanted:
        spec = store.run_spec(one.row, one.seed, one.data, code)
        folder = store.run_folder(store.run_key(spec))
        run.train(one.row.model_copy(update=changes), one.seed, data, folder, lambda content: None)
        write_json(folder / store.SPEC, spec)


def test_a_refactoring_is_adopted(wanted: list[LoggedRun], data: Path) -> None:
    """Broken: code that moves would cost every trained network, or runs were adopted that nobody checked."""
    store_old(wanted, data)
    found, engine = adoption.candidates(wanted), InTurn()
    assert [one.run for one in found] == wanted
    assert adoption.differences(adoption.samples(found), engine) == []
    assert [(task.row, task.seed) for task in engine.done] == [(wanted[0].row, 0)]  # both rows say and train the same
    (wanted[1].folder / "result.json").write_text("{")  # a damaged one is none
    adoption.adopt(found)
    assert all(store.result(one.folder)["status"] == "finished" for one in wanted)
    assert adoption.candidates(wanted) == []
    for one in wanted:
        spec = read_json(one.folder / store.SPEC)
        assert spec["code"] == "new" and store.run_key(spec) == one.key  # else nobody could collect it
    for one in found:
        assert all((one.folder / name).read_bytes() == (one.run.folder / name).read_bytes() for name in adoption.FILES)


def test_a_changed_constant_is_refused(wanted: list[LoggedRun], data: Path) -> None:
    """Broken: results of other code would pass for today's."""
    store_old(wanted, data, label_smoothing=0.1)
    (problem, *others) = adoption.differences(adoption.candidates(wanted), InTurn())
    assert len(others) == 3
    assert problem.startswith("a seed 0: result.json, curves.csv, logits.safetensors, weights.safetensors differ; test")
    assert "logits apart by up to 0." in problem


def test_runs_that_differ_in_more_than_their_code_are_no_candidates(wanted: list[LoggedRun], data: Path) -> None:
    """Broken: a run of another row, seed or data set would be trained again, or adopted."""
    store_old([wanted[0]], data)
    assert [one.run.name for one in adoption.candidates(wanted)] == ["a"]
    other = LoggedRun("s", "a", wanted[0].row, 0, "key", "other data", "new")
    assert adoption.candidates([other]) == []


def test_each_old_code_is_checked(wanted: list[LoggedRun], data: Path) -> None:
    """Broken: a run of code that gives the same numbers would vouch for those of code that does not."""
    for number, one in enumerate(wanted):
        store_old([one], data, code=f"old {number % 2}")
    chosen = adoption.samples(adoption.candidates(wanted))
    assert [one.run for one in chosen] == wanted[:2]


CHANGES: dict[str, dict[str, Any]] = {
    "label smoothing": {"label_smoothing": 0.1},
    "batch": {"batch": 16},
    "rate": {"dropout": 0.0},
    "order": {"each": "conv act bn"},
    "nesterov": {"optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.9, "nesterov": True}},
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_may_take_another_way_through_the_code_is_trained_again(
    change: str, make_row: Callable[..., Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a run would vouch for others whose code it never ran."""
    monkeypatch.setattr(paths, "STORE", tmp_path)
    sgd = {"name": "sgd", "lr": 0.01, "momentum": 0.9}
    base = {"optimizer": sgd} if change == "nesterov" else {}
    first, second = make_row(**base), make_row(**base | CHANGES[change])
    kinds = [(first, "data"), (second, "data"), (first, "other data")]
    found = []
    for one in [one for row, images in kinds for one in rows.describe("a", row, images, "new")]:
        folder = store.run_folder(f"{one.key}-old")
        write_json(folder / store.SPEC, store.run_spec(one.row, one.seed, one.data, "old"))
        found.append(adoption.Candidate(one, folder))
    assert adoption.samples(found) == found
