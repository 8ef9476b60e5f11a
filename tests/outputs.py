"""Outputs as the stage `train` writes them, without training: exact numbers to look up, or simulated ones."""

import csv
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from pipeline import paths
from pipeline.findings.findings import Findings
from pipeline.findings.gallery import Gallery
from pipeline.findings.measured import Result
from pipeline.findings.verdicts import Verdict
from pipeline.images import prepared
from pipeline.params.planned import PlannedStudy
from pipeline.params.rows import Row
from pipeline.params.studies import Study
from pipeline.reporting.section import Section

CLASSES = ["cat", "dog|wolf"]
METRICS = [f"{split}_{name}" for split in ("train", "val") for name in ("accuracy", "loss", "auc")]
TESTS = ["test_accuracy", "test_loss", "test_auc", "test_auc_keras", "test_auc_macro", "test_ece"]
NUMBERS = [*(f"final_{metric}" for metric in METRICS), "gap_accuracy", "gap_loss", *TESTS]


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
    return PlannedStudy(name="s", study=Study(title="Some study", question="Which one?", targets=[]), rows=rows)


def shown(
    make: Callable[[Findings], Iterator[Section]],
    results: Sequence[Result] = (),
    verdicts: Sequence[Verdict] = (),
    galleries: Sequence[Gallery] = (),
    targets: Sequence[float] = (),
    looks: Sequence[int] = (),
) -> str:
    """What a function of the report says in Markdown of these rows, best first, of one data set."""
    rows = {result.name: result.row for result in results}
    about = Study(title="T", question="?", targets=list(targets), looks=list(looks))
    study = PlannedStudy(name="s", study=about, rows=rows)
    found = Findings(study, [list(results)] if results else [], galleries, verdicts)
    return "\n\n".join(section.markdown() for section in make(found))


def write_table(path: Path, lines: list[dict[str, Any]]) -> None:
    """A CSV file as the stage `train` writes it."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for line in lines for key in line)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def prepare(folder: Path, images: int, classes: Sequence[str]) -> None:
    """A prepared data set of so many test images, and a few others."""
    pixels = torch.arange((images + 4) * 16).remainder(256).to(torch.uint8).view(-1, 1, 4, 4)
    labels = torch.arange(images + 4) % len(classes)
    prepared.write(folder, (pixels[:4], labels[:4]), (pixels[4:], labels[4:]), list(classes), train=2, select=2)


def write_outputs(folder: Path, row: Row, accuracies: Sequence[float | None]) -> None:
    """A row's outputs with the same numbers in every run but for the accuracy; None is a run that failed. Here as in
    `simulate` the row's data set is prepared under `paths.DATA`."""
    seeds: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    labels, classes = _tested(row)
    logits: dict[str, NDArray[Any]] = {"labels": labels}
    for seed, accuracy in zip(row.seeds, accuracies, strict=True):
        line: dict[str, Any] = {"seed": seed, "status": "failed", "reason": "training loss not finite in epoch 2"}
        line |= {"epochs": 3, "best_epoch": 2, "parameters": 12345}
        line |= dict.fromkeys([*(f"class_accuracy_{name}" for name in classes), *NUMBERS])
        if accuracy is not None:
            line |= dict.fromkeys(NUMBERS, 0.125) | {"status": "finished", "reason": None, "test_accuracy": accuracy}
            line |= {f"class_accuracy_{classes[0]}": 0.75}
            logits[f"seed-{seed}"] = _logits(labels, accuracy, len(classes), np.random.default_rng(seed))
        seeds.append(line)
        for epoch in range(1, 4):
            numbers = dict.fromkeys(METRICS, 1 - 0.5**epoch * (1 + 0.1 * seed))
            curves.append({"seed": seed, "epoch": epoch, "lr": 0.001} | numbers)
    _write(folder, row, classes, seeds, curves, logits)


def simulate(folder: Path, row: Row, accuracy: float) -> None:
    """A row's outputs as training could have left them: runs around an accuracy, with curves that rise to it.

    Args:
        folder: of the row.
        row: as planned; its last seed fails where the learning rate is over 0.1.
        accuracy: mean over the seeds, over 1 / classes.
    """
    labels, names = _tested(row)
    seeds: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    logits: dict[str, NDArray[Any]] = {"labels": labels}
    for seed in row.seeds:
        draws = np.random.default_rng([seed, int(1e6 * accuracy)])
        line: dict[str, Any] = {"seed": seed, "status": "finished", "reason": None, "epochs": row.epochs}
        line |= {"best_epoch": int(draws.integers(1, row.epochs + 1)), "parameters": 12345}
        reached = float(np.clip(accuracy + draws.normal(0, 0.005), 0, 1))
        ends = {"accuracy": reached, "loss": 2 * (1 - reached), "auc": 1 - (1 - reached) / 5}
        found = [f"class_accuracy_{name}" for name in names]
        line |= dict.fromkeys([*found, *NUMBERS], reached) | {f"test_{name}": value for name, value in ends.items()}
        if row.optimizer.lr > 0.1 and seed == row.seeds[-1]:
            line |= dict.fromkeys([*found, *NUMBERS])
            line |= {"status": "failed", "reason": "training loss not finite in epoch 2"}
        else:
            logits[f"seed-{seed}"] = _logits(labels, reached, len(names), draws)
        seeds.append(line)
        rising = 1 - np.exp(-5 * np.arange(1, row.epochs + 1) / row.epochs)
        for epoch, share in enumerate(rising, 1):
            values = {name: share * end + (1 - share) * (2.3 if name == "loss" else 0.1) for name, end in ends.items()}
            noisy = {
                f"{split}_{name}": value + draws.normal(0, 0.01)
                for split in ("train", "val")
                for name, value in values.items()
            }
            curves.append({"seed": seed, "epoch": epoch, "lr": row.optimizer.lr} | noisy)
    _write(folder, row, names, seeds, curves, logits)


def write_diagnosis(folder: Path, rows: dict[str, Row], failed: Collection[tuple[str, int]] = ()) -> None:
    """What the stage `diagnose` leaves of rows with two norms, one behind dropout, in which some runs failed."""
    runs: list[dict[str, Any]] = [{"row": name, "seed": seed} for name, row in rows.items() for seed in row.seeds]
    for run in runs:
        run["status"] = "failed" if (run["row"], run["seed"]) in failed else "finished"
    layers = [
        {"row": run["row"], "seed": run["seed"], "layer": layer, "case": case}
        | {"ratio": ratio, "ratio_alone": ratio, "q05": 0.8 * ratio, "q95": 1.2 * ratio, "predicted": predicted}
        for run in runs
        if run["status"] == "finished"
        for layer, case, ratio, predicted in (("block1_bn1", None, 1.0, None), ("head1_bn", "a", 0.7, 0.75))
    ]
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / "runs.csv", runs)
    write_table(folder / "layers.csv", layers)


def _tested(row: Row) -> tuple[NDArray[np.int64], list[str]]:
    """Labels of the test images, and the names of the classes."""
    data = paths.prepared(row.dataset)
    return np.ascontiguousarray(prepared.test_arrays(data)[1]), prepared.info(data).classes


def _logits(labels: NDArray[Any], accuracy: float, classes: int, draws: np.random.Generator) -> NDArray[np.float32]:
    """Logits of which so many, to the nearest image, are right."""
    right = draws.permutation(len(labels)) < round(accuracy * len(labels))
    chosen = np.where(right, labels, (labels + draws.integers(1, classes, len(labels))) % classes)
    logits = draws.normal(0, 1, (len(labels), classes))
    logits[np.arange(len(labels)), chosen] = logits.max(1) + draws.exponential(2, len(labels))
    return logits.astype(np.float32)


def _write(
    folder: Path,
    row: Row,
    classes: list[str],
    seeds: list[dict[str, Any]],
    curves: list[dict[str, Any]],
    logits: dict[str, NDArray[Any]],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / "seeds.csv", seeds)
    write_table(folder / "curves.csv", curves)
    save_file(logits, folder / "logits.safetensors")
    images = {"pool": 2000, "train": 1000, "validation": 60, "test": len(logits["labels"])}
    digest = prepared.digest(paths.prepared(row.dataset))
    spec = {"data": digest, "code": "c" * 32, "row": row.model_dump(mode="json", exclude={"published"})}
    spec |= {"classes": classes, "images": images}
    (folder / "spec.json").write_text(json.dumps(spec))
    (folder / "metrics.json").write_text("{}")
