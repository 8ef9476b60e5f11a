"""Verification: a planted change is found, another arithmetic is not taken for one, and the words for it."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from models import Normalize
from models.words.inverted_dropout import InvertedDropout
from pipeline import paths, verify
from pipeline.errors import UserError
from pipeline.findings import measured, seed_table
from pipeline.findings.agreement import Agreement, Level, agree
from pipeline.findings.measured import Run
from pipeline.findings.seed_table import Table
from pipeline.images import prepared
from pipeline.params.planned import PlannedStudy
from pipeline.params.reading import read_params
from pipeline.params.rows import Row
from pipeline.params.studies import Study
from pipeline.running import environment
from pipeline.training import results, run, streams

MakeRow = Callable[..., Row]
SEEDS = [0, 1, 2, 3]
Patch = pytest.MonkeyPatch


def trained(row: Row, data: Path, folder: Path) -> Table:
    """Trains a row and reads its numbers as a report does."""
    runs = {seed: folder / str(seed) for seed in row.seeds}
    for seed, place in runs.items():
        place.mkdir(parents=True)
        run.train(row, seed, data, place, lambda _: None)
    spec = {"data": "", "code": "", "row": row.model_dump(exclude={"published"})}
    results.write(spec, runs, data, folder / "out" / "row", folder / "draft")
    study = PlannedStudy(name=row.study, study=Study(title="S", question="?"), rows={"row": row})
    return seed_table.of(result for group in measured.load(study, folder / "out") for result in group)


@pytest.fixture(scope="module")
def small(make_row: MakeRow) -> Row:
    """A row with norms and dropout that trains in no time."""
    return make_row(epochs=3, seeds=SEEDS)


@pytest.fixture(scope="module")
def committed(small: Row, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Table:
    """What the reviewer is given."""
    return trained(small, data, tmp_path_factory.mktemp("committed"))


def compared(committed: Table, again: Table, same_bytes: bool = False) -> Agreement:
    (found,) = agree(committed, again, {"row": same_bytes})
    return found


def test_the_same_training_is_equal(committed: Table, small: Row, data: Path, tmp_path: Path) -> None:
    """Broken: a result that came back would not be recognized."""
    again = trained(small, data, tmp_path)
    assert again == committed
    assert compared(committed, again).level is Level.EQUAL
    assert compared(committed, again, same_bytes=True).level is Level.IDENTICAL


def test_another_arithmetic_is_consistent(
    committed: Table, small: Row, data: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    """Broken: a reviewer's other processor would count as a failure to reproduce. Here (x − m)·s is x·s − m·s."""
    monkeypatch.setattr(Normalize, "forward", lambda self, x: x.float() * self.scale - self.mean * self.scale)
    found = compared(committed, trained(small, data, tmp_path))
    assert found.level is Level.CONSISTENT, found.reason
    assert found.reason.startswith("differences are centred on zero; the first: ")


def test_a_number_that_was_changed_is_another_result(committed: Table) -> None:
    """Broken: accuracies that somebody has raised alike would pass for another processor's."""
    raised = {
        seed: replace(run, numbers=run.numbers | {"test_accuracy": run.numbers["test_accuracy"] + 0.05})
        for seed, run in committed["row"].items()
    }
    found = compared(committed, {"row": raised})
    assert found.level is Level.DIFFERENT
    assert found.reason.startswith("runs begin with the same digits and do not end so: test_accuracy of seed 0: ")


def test_what_is_no_rounding_is_not_equal(committed: Table) -> None:
    """Broken: a loss that is half a thousandth off would pass for the committed one."""
    other = {
        seed: replace(found, numbers=found.numbers | {"test_loss": found.numbers["test_loss"] * 1.0005})
        for seed, found in committed["row"].items()
    }
    assert compared(committed, {"row": other}).level is Level.DIFFERENT


def other_stream(patch: Patch) -> None:
    derive = streams.derive
    patch.setattr(streams, "derive", lambda seed, purpose, *index: derive(seed + 1000, purpose, *index))


def no_scale(patch: Patch) -> None:
    patch.setattr(InvertedDropout, "noisy", lambda self, x: x * torch.empty_like(x).bernoulli_(1 - self.p))


def masks_of_another_epoch(patch: Patch) -> None:
    derive = streams.derive

    def later(seed: int, purpose: str, *index: int) -> int:
        return derive(seed, purpose, *((index[0] + 1, *index[1:]) if purpose == "dropout" else index))

    patch.setattr(streams, "derive", later)


CODE = {
    "another seed stream": other_stream,
    "dropout without its scale": no_scale,
    "other masks": masks_of_another_epoch,
}
ROWS: dict[str, dict[str, Any]] = {
    "another learning rate": {"optimizer": {"name": "adam", "lr": 0.012}},
    "another momentum of the norm": {"norm": {"momentum": 0.2}},
    "another drop rate": {"dropout": 0.25},
    "another layout in memory, hence other masks": {"trainer": {"accelerator": "cpu", "channels_last": False}},
}


@pytest.mark.parametrize("change", CODE)
def test_a_change_of_code_is_found(
    change: str, committed: Table, small: Row, data: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    """Broken: a result that other code has made would pass."""
    CODE[change](monkeypatch)
    found = compared(committed, trained(small, data, tmp_path))
    assert found.level is Level.DIFFERENT, found.reason


@pytest.mark.parametrize("change", ROWS)
def test_a_change_of_a_row_is_found(
    change: str, committed: Table, make_row: MakeRow, data: Path, tmp_path: Path
) -> None:
    """Broken: a result of another row would pass."""
    found = compared(committed, trained(make_row(epochs=3, seeds=SEEDS, **ROWS[change]), data, tmp_path))
    assert found.level is Level.DIFFERENT, found.reason


def test_shifted_labels_are_found(committed: Table, small: Row, data: Path, tmp_path: Path) -> None:
    """Broken: a result on other data would pass, even where no accuracy can tell, since all classes are renamed."""
    shutil.copytree(data, tmp_path / "data")
    for path in (tmp_path / "data").iterdir():
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        tensors = load_file(path)
        save_file(tensors | {"labels": (tensors["labels"] + 1) % 3}, path, metadata)
    assert torch.equal(prepared.pool(tmp_path / "data")[1], (prepared.pool(data)[1] + 1) % 3)
    found = compared(committed, trained(small, tmp_path / "data", tmp_path / "runs"))
    assert found.level is Level.DIFFERENT
    assert found.reason.startswith("runs begin otherwise: first_train_loss is ")


def edited(table: Table, **numbers: float) -> Table:
    """The table with other numbers at its first seed."""
    first = table["row"][SEEDS[0]]
    return {"row": table["row"] | {SEEDS[0]: Run(SEEDS[0], None, first.numbers | numbers)}}


def test_a_table_that_was_edited_is_found(committed: Table) -> None:
    """Broken: somebody could commit better numbers than the outputs hold."""
    found = compared(edited(committed, test_accuracy=0.999), committed, same_bytes=True)
    assert found.level is Level.DIFFERENT
    assert found.reason.startswith(
        "the outputs have the same bytes, but not these numbers: test_accuracy of seed 0: 0.999"
    )


def test_other_runs_are_named(committed: Table) -> None:
    """Broken: results with fewer seeds, failed runs or another network would be compared as if they were the same."""
    failed = {"row": committed["row"] | {2: Run(2, "training loss not finite in epoch 2", {})}}
    fewer = {"row": {seed: run for seed, run in committed["row"].items() if seed < 2}}
    unmeasured = {"row": {seed: replace(run, numbers={}) for seed, run in committed["row"].items()}}
    for other, reason in (
        (failed, "seed 2 finished, now training loss not finite in epoch 2"),
        (fewer, "seeds 0, 1, 2, 3, now 0, 1"),
        (unmeasured, "other numbers were measured: best_epoch, "),
        (edited(committed, parameters=1.0), "another number of parameters"),
        ({}, "only in the committed results"),
    ):
        found = compared(committed, other)
        assert found.level is Level.DIFFERENT
        assert found.reason.startswith(reason)
    few = compared(fewer, edited(fewer, test_loss=9.0))
    assert few.reason == "numbers differ, and 2 finished seeds are too few to say by how much they may"


def test_verification_needs_a_committed_table(monkeypatch: Patch) -> None:
    """Broken: a study that nobody has committed would train for hours before that is said."""
    message = "reports/no-such-study/results.csv: not in HEAD; run '.venv/bin/dvc repro report@no-such-study'"
    monkeypatch.setattr("sys.argv", ["verify", "no-such-study"])
    with pytest.raises(SystemExit, match=message):
        verify.main()


def test_a_part_of_a_study_that_has_looks_can_be_planned(tmp_path: Path) -> None:
    """Broken: one seed of a study that is judged at three could not be checked."""
    params = read_params()
    row = next(name for name, row in params.rows.items() if params.studies[row.study].looks)
    assert verify.narrow(tmp_path, {row: {7: Run(7, None, {})}}) == [f"train@{row}"]
    assert read_params(tmp_path / "params.yaml").rows[row].seeds == [7]


def test_a_part_of_a_study_is_told_by_rows_and_seeds() -> None:
    """Broken: a reviewer would train a whole study to check one number, or another row than the one they named."""
    runs = {seed: Run(seed, None, {}) for seed in SEEDS}
    table: Table = {"order-a": runs, "order-b": runs}
    assert verify.part(table, "order", None, None) == table
    assert verify.part(table, "order", "b order-a", None) == {"order-b": runs, "order-a": runs}
    assert verify.part(table, "order", "a", "2 0") == {"order-a": {2: runs[2], 0: runs[0]}}
    for rows, seeds, message in (
        ("c", None, "--rows: no row 'c' in the results of order; known: a b order-a order-b"),
        (None, "7", "--seeds: no seed '7' in the results of order-a"),
        (None, "x", "--seeds: no seed 'x' in the results of order-a"),
        (" ", None, "--rows: names none; without it, all are trained again"),
        (None, "", "--seeds: names none; without it, all are trained again"),
    ):
        with pytest.raises(UserError, match=message):
            verify.part(table, "order", rows, seeds)


LOCK = """
# a comment
numpy==2.4.6 ; python_full_version < '3' \\
    --hash=sha256:00
numpy==2.5.0 ; python_full_version >= '3' \\
    --hash=sha256:00
torch==2.15.0 \\
    --hash=sha256:00
    # via disharmony
"""


def test_versions_are_held_against_the_lock() -> None:
    """Broken: a reviewer would not see that another torch computes, or would see pins of another Python."""
    pinned = environment.locked(LOCK)
    assert pinned == {"numpy": "2.5.0", "torch": "2.15.0"}
    assert list(environment.versions({"torch": "2.15.0", "numpy": "2.4.6", "optuna": "5.0"}, pinned)) == [
        "Not as in requirements.lock: numpy 2.4.6 (locked: 2.5.0), optuna 5.0 (not locked)",
        "As in requirements.lock: torch 2.15.0",
    ]
    assert "torch" in environment.installed()


def test_changed_inputs_are_named() -> None:
    """Broken: a reviewer would look for a machine's roundings where the code was another."""
    before = {"plan": {"deps": [{"path": "a.py", "md5": "1"}, {"path": "b.py", "md5": "1"}]}}
    after = {"plan": {"deps": [{"path": "a.py", "md5": "2"}, {"path": "b.py", "md5": "1"}]}, "train@x": {}}
    assert verify.changed_inputs(["plan", "train@x"], before, after) == ["a.py"]
    assert not verify.same_outputs("train@x", before, after)


@pytest.mark.parametrize("level", [Level.CONSISTENT, Level.DIFFERENT])
def test_what_differs_fails_and_is_kept(level: Level, tmp_path: Path, monkeypatch: Patch) -> None:
    """Broken: a script would take a result that did not come back for one that did."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "STORE", tmp_path / "store")
    monkeypatch.setattr("sys.argv", ["verify", "s"])
    monkeypatch.setattr(verify, "git", lambda *_, **__: "abc\n")
    monkeypatch.setattr(verify, "committed", lambda *_: "row,seed,status,reason,y\na,0,finished,,1\n")
    monkeypatch.setattr(verify, "clone", lambda target: target.mkdir(parents=True))
    monkeypatch.setattr(verify, "retrain", lambda *_: None)
    monkeypatch.setattr(verify, "compare", lambda *_: [Agreement("a", level, "x")])
    with pytest.raises(SystemExit) as ended:
        verify.main()
    assert bool(ended.value.code) == (level is Level.DIFFERENT) == bool(list((tmp_path / ".verify").iterdir()))


def test_a_verification_uses_nobodys_stores(tmp_path: Path, monkeypatch: Patch) -> None:
    """Broken: a reviewer's own server would be filled with the clone's runs, or its DVC settings used."""
    seen: dict[str, str] = {}

    def note(command: list[str], env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[str]:
        seen.update(env)
        return subprocess.CompletedProcess(command, 0)

    for name in ("DVC_STAGE", "MLFLOW_TRACKING_URI", "OPTUNA_STORAGE"):
        monkeypatch.setenv(name, "mine")
    monkeypatch.setattr(verify.subprocess, "run", note)
    verify.retrain(tmp_path, ["report@s"])
    assert seen and not [name for name in seen if name.startswith(("DVC_", "MLFLOW_", "OPTUNA_"))]
