"""The report says what the outputs hold: nothing more, nothing else, and the same bytes each time."""

import csv
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import paths, report
from pipeline.config import Row, Study
from pipeline.errors import UserError
from pipeline.plan import PlannedStudy

CLASSES = ["cat", "dog|wolf"]
METRICS = [f"{split}_{name}" for split in ("train", "val") for name in ("accuracy", "loss", "auc")]


def make_row(**changes: Any) -> Row:
    """A row with defaults, and changes."""
    values: dict[str, Any] = {
        "study": "s",
        "dataset": "digits",
        "backbone": {"widths": [4], "convs": [1], "dense": [8]},
        "each": "conv act",
        "end": "pool",
        "head": "dense act",
        "optimizer": {"name": "adam", "lr": 0.001},
        "epochs": 3,
        "batch": 32,
        "seeds": [0, 1, 2],
    }
    return Row.model_validate(values | changes)


def make_study(rows: dict[str, Row]) -> PlannedStudy:
    """A planned study of these rows."""
    return PlannedStudy(name="s", study=Study(title="Some study", question="Which one?"), rows=rows)


def write_table(path: Path, lines: list[dict[str, Any]]) -> None:
    """A CSV file as the stage `train` writes it."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for line in lines for key in line)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def write_outputs(folder: Path, row: Row, accuracies: Sequence[float | None]) -> None:
    """A row's outputs; an accuracy of None is a run that failed."""
    folder.mkdir(parents=True)
    seeds, curves = [], []
    for seed, accuracy in zip(row.seeds, accuracies, strict=True):
        line: dict[str, Any] = {"seed": seed, "status": "failed", "reason": "training loss not finite in epoch 2"}
        line |= {"epochs": 3, "best_epoch": 2, "parameters": 12345}
        numbers = [f"final_{metric}" for metric in METRICS]
        numbers += ["gap_accuracy", "gap_loss", "test_accuracy", "test_loss", "test_auc", "test_auc_macro", "test_ece"]
        line |= dict.fromkeys([*(f"class_accuracy_{name}" for name in CLASSES), *numbers])
        if accuracy is not None:
            line |= dict.fromkeys(numbers, 0.125) | {"status": "finished", "reason": None, "test_accuracy": accuracy}
            line |= {f"class_accuracy_{CLASSES[0]}": 0.75}
        seeds.append(line)
        for epoch in range(1, 4):
            numbers = dict.fromkeys(METRICS, 1 - 0.5**epoch * (1 + 0.1 * seed))
            curves.append({"seed": seed, "epoch": epoch, "lr": 0.001} | numbers)
    write_table(folder / "seeds.csv", seeds)
    write_table(folder / "curves.csv", curves)
    spec = {"data": "d" * 32, "code": "c" * 32, "row": row.model_dump(mode="json", exclude={"published"})}
    spec |= {"classes": CLASSES, "images": {"train": 1000, "validation": 60, "test": 360}, "source": "digits (test)"}
    (folder / "spec.json").write_text(json.dumps(spec))
    (folder / "metrics.json").write_text("{}")


Measure = Callable[..., list[list[report.Result]]]


@pytest.fixture
def measure(tmp_path: Path) -> Measure:
    """Gives the ranked results of rows with these accuracies by seed."""

    def ranked(rows: dict[str, tuple[Row, Sequence[float | None]]]) -> list[list[report.Result]]:
        for name, (row, accuracies) in rows.items():
            write_outputs(tmp_path / "runs" / name, row, accuracies)
        return report.load(make_study({name: row for name, (row, _) in rows.items()}), tmp_path / "runs")

    return ranked
