"""Verification: a planted change is found, another arithmetic is not taken for one, and the words for it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from models import dropout
from pipeline import measured, prepared, results, run, seed_table, streams
from pipeline.agreement import Agreement, Level, agree
from pipeline.config import Row, Study
from pipeline.plan import PlannedStudy
from pipeline.seed_table import Table

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


def test_another_arithmetic_is_consistent(committed: Table, small: Row, data: Path, tmp_path: Path) -> None:
    """Broken: a reviewer's other processor would count as a failure to reproduce. Here another layout of the tensors
    takes other kernels, which round otherwise."""
    other = small.model_copy(update={"trainer": small.trainer.model_copy(update={"channels_last": False})})
    found = compared(committed, trained(other, data, tmp_path))
    assert found.level is Level.CONSISTENT, found.reason
    assert found.reason.startswith("differences are centred on zero; the first: ")


def other_stream(patch: Patch) -> None:
    derive = streams.derive
    patch.setattr(streams, "derive", lambda seed, purpose, *index: derive(seed + 1000, purpose, *index))


def no_scale(patch: Patch) -> None:
    patch.setattr(dropout.InvertedDropout, "noisy", lambda self, x: x * torch.empty_like(x).bernoulli_(1 - self.p))


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
    "another learning rate": {"optimizer": {"name": "adam", "lr": 0.011}},
    "another momentum of the norm": {"norm": {"momentum": 0.11}},
    "another drop rate": {"dropout": 0.25},
    "weight decay": {"optimizer": {"name": "adam", "lr": 0.01, "weight_decay": 0.01}},
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
    _images, labels = prepared.read(tmp_path / "data", prepared.TRAIN)
    assert torch.equal(labels, (prepared.read(data, prepared.TRAIN)[1] + 1) % 3)
    found = compared(committed, trained(small, tmp_path / "data", tmp_path / "runs"))
    assert found.level is Level.DIFFERENT
    assert "other random numbers or data" in found.reason
