"""What was measured for a study: the outputs of the rows that the plan lists, checked against it."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError

from pipeline import paths
from pipeline.errors import UserError
from pipeline.findings import diagnosed, predictions
from pipeline.findings.diagnosed import Diagnosed
from pipeline.findings.predictions import Predictions
from pipeline.findings.stats import Estimate, mean_interval
from pipeline.images import prepared
from pipeline.params.planned import PlannedStudy, train_stage
from pipeline.params.quantities import LEARNS, Quantity, of_column
from pipeline.params.rows import Row, TunedRow
from pipeline.storage import read_csv
from pipeline.tuning import tuned

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """One line of seeds.csv: the numbers that it holds, and why the run failed, None if it finished."""

    seed: int
    failure: str | None
    numbers: dict[str, float]


@dataclass(frozen=True)
class Result:
    """What was measured for a row.

    Args:
        name, row: as planned.
        folder: of its outputs.
        spec: content of spec.json.
        runs: in the order of seeds.
        curves: column of curves.csv to a line of values per run that finished.
        predictions: of the runs that finished; None if there is none.
        diagnosis: what the stage `diagnose` found; None where it was not asked for.
        tuning: how the values of the row were chosen; None where params.yaml gives them.
        rates: the rows that differ in nothing but the learning rate, by it, in rising order; empty if there is but one.
        prefix: of its name, which all rows of the study share.
    """

    name: str
    row: Row
    folder: Path
    spec: dict[str, Any]
    runs: list[Run]
    curves: dict[str, list[list[float]]]
    predictions: Predictions | None = None
    diagnosis: Diagnosed | None = None
    tuning: tuned.Tuned | None = None
    rates: Mapping[float, "Result"] = field(default_factory=dict)
    prefix: str = ""

    @property
    def label(self) -> str:
        """The name without what all names of the study share."""
        return self.name.removeprefix(self.prefix)

    def values(self, column: str) -> dict[int, float]:
        """A column of seeds.csv by seed, of the runs that finished and have it."""
        return {run.seed: run.numbers[column] for run in self.runs if run.failure is None and column in run.numbers}

    @cached_property
    def accuracy(self) -> Estimate:
        """Of the test images; a run that failed counts as a guess."""
        found = self.estimate("test_accuracy")
        assert found is not None  # every run finished, or failed
        return found

    @property
    def chance(self) -> float:
        """The accuracy of a guess."""
        return 1 / len(self.spec["classes"])

    @property
    def learns(self) -> bool:
        """Whether the row gets anywhere from guessing to no error, on average over its seeds."""
        return self._learns(self.accuracy.mean)

    @property
    def idle(self) -> bool:
        """Whether the row only guesses, although runs of it finished."""
        return bool(self.finished) and not self.learns

    @property
    def stuck(self) -> list[int]:
        """Seeds of the runs that finished and only guess."""
        return [seed for seed, accuracy in self.values("test_accuracy").items() if not self._learns(accuracy)]

    def _learns(self, accuracy: float) -> bool:
        return accuracy - self.chance >= LEARNS * (1 - self.chance)

    def estimate(self, column: str) -> Estimate | None:
        """Mean and interval of a column, with what runs count that failed; None if there is nothing to count."""
        known = of_column(column)
        values = self.measure(known) if known else self.values(column)
        return mean_interval(list(values.values())) if values else None

    def measure(self, quantity: Quantity) -> dict[int, float]:
        """A quantity by seed, in the order of seeds, with what runs count that failed."""
        values = quantity.values(self)
        if quantity.of_failed and (values or not self.finished):
            values = values | {run.seed: quantity.of_failed(self) for run in self.failures}
        return {run.seed: values[run.seed] for run in self.runs if run.seed in values}

    @property
    def finished(self) -> list[int]:
        """Seeds of the runs that finished."""
        return [run.seed for run in self.runs if run.failure is None]

    @property
    def stage(self) -> str:
        """What DVC calls the stage that trained the row."""
        return train_stage(self.name, bool(self.tuning))

    @property
    def failures(self) -> list[Run]:
        """The runs that failed."""
        return [run for run in self.runs if run.failure is not None]

    @property
    def leaking(self) -> bool:
        """Whether test images chose what was tested on them."""
        return self.row.select_on == "test"


Groups = list[list[Result]]
"""Ranked rows, one list per data set: accuracies on different images do not compare."""


def load(study: PlannedStudy, runs: Path, diagnosis: Path | None = None) -> Groups:
    """The planned rows' results, ranked, best first.

    Args:
        study: as planned.
        runs: the folder with a folder of outputs per row.
        diagnosis: the folder of the study's diagnosis; None leaves that out.

    Raises:
        UserError: outputs are missing, damaged or of another version of the row.
    """
    groups: dict[str, list[Result]] = {}
    for name, row in study.rows.items():
        groups.setdefault(row.dataset, []).append(load_row(study, name, row, runs / name))
    if diagnosis:
        found = diagnosed.read(study.name, diagnosis)
        groups = {
            key: [_with_diagnosis(study.name, result, found) for result in group] for key, group in groups.items()
        }
    return [sorted(with_rates(group), key=standing) for group in groups.values()]


def load_available(study: PlannedStudy, runs: Path, diagnosis: Path) -> tuple[dict[str, Result], list[str]]:
    """What there is of a study, which need not be all of it, nor diagnosed.

    Returns:
        Results by row, and what is wrong with outputs that are there and cannot be read.
    """
    results, complaints = {}, []
    for name, row in study.rows.items():
        try:
            if (runs / name).exists():
                results[name] = load_row(study, name, row, runs / name)
        except UserError as error:
            complaints.append(str(error))
    try:
        found = diagnosed.read(study.name, diagnosis) if diagnosis.exists() else {}
        results |= {name: _with_diagnosis(study.name, results[name], found) for name in found if name in results}
    except UserError as error:
        complaints.append(str(error))
    return {result.name: result for result in with_rates(list(results.values()))}, complaints


def _with_diagnosis(study: str, result: Result, found: dict[str, Diagnosed]) -> Result:
    finished = {run.seed for run in result.runs if run.failure is None}
    if result.name not in found or found[result.name].numbers.keys() != finished:
        raise UserError(f"diagnosis of {result.name}: of other runs; run '.venv/bin/dvc repro report@{study}'")
    return replace(result, diagnosis=found[result.name])


def with_rates(results: Sequence[Result]) -> list[Result]:
    """The results, each with those that differ from it in nothing but the learning rate; tuned rows are left out, whose
    rate others lost to."""
    groups: dict[str, dict[float, Result]] = {}
    for result in results:
        groups.setdefault(_but_for_the_rate(result), {})[result.row.optimizer.lr] = result
    found = {key: dict(sorted(group.items())) for key, group in groups.items() if len(group) > 1}
    return [replace(result, rates=found.get(_but_for_the_rate(result), {})) for result in results]


def _but_for_the_rate(result: Result) -> str:
    row = result.row.model_dump(exclude={"seeds": True, "published": True, "optimizer": {"lr"}})
    return result.name if result.tuning else repr(row)


def standing(result: Result) -> float:
    """What results are sorted by."""
    return -result.accuracy.mean


def load_row(study: PlannedStudy, name: str, row: Row, folder: Path) -> Result:
    """A row's results from the folder of its outputs.

    Raises:
        UserError: outputs are missing, damaged or of another version of the row.
    """

    def parse(file: str, reader: Callable[[Path], T]) -> T:
        path = folder / file
        try:
            return reader(path)
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"{paths.shown(path)}: missing; run '.venv/bin/dvc repro report@{study.name}'") from None
        except (csv.Error, KeyError, SafetensorError, TypeError, ValueError):
            stage = "train-tuned" if isinstance(row, TunedRow) else "train"
            hint = f"run '.venv/bin/dvc checkout --force {stage}@{name}'"
            raise UserError(f"{paths.shown(path)}: damaged; {hint}") from None

    tuning = None
    if isinstance(row, TunedRow):
        to_tune = row
        tuning = parse("tuning", lambda path: tuned.read(name, to_tune, path))
        row = tuning.row
    spec = parse("spec.json", _read_spec)
    runs = parse("seeds.csv", _read_runs)
    epochs = {run.seed: run.numbers["epochs"] for run in runs if run.failure is None}
    curves = parse("curves.csv", lambda path: _read_curves(path, epochs))
    predicted = parse("logits.safetensors", lambda path: predictions.read(path, epochs))
    planned = row.model_dump(mode="json", exclude={"published"})
    if spec["row"] != planned or [run.seed for run in runs] != row.seeds:
        hint = f"run '.venv/bin/dvc repro report@{study.name}'"
        raise UserError(f"{paths.shown(folder)}: of an older version of the row; {hint}")
    return Result(name, row, folder, spec, runs, curves, predicted, tuning=tuning, prefix=study.prefix)


def _read_spec(path: Path) -> dict[str, Any]:
    spec = json.loads(path.read_bytes())
    images = {part: spec["images"][part] for part in prepared.COUNTS}
    return {key: spec[key] for key in ("data", "code", "row", "classes")} | {"images": images}


def _read_runs(path: Path) -> list[Run]:
    runs = []
    for line in read_csv(path):
        words = {key: line.pop(key) for key in ("seed", "status", "reason")}
        numbers = {key: float(value) for key, value in line.items() if value}
        failure = words["reason"] if words["status"] == "failed" else None
        if failure is None and not {"epochs", "test_accuracy"} <= numbers.keys():
            raise ValueError("a finished run without its numbers")
        runs.append(Run(int(words["seed"]), failure, numbers))
    return runs


def _read_curves(path: Path, epochs: dict[int, float]) -> dict[str, list[list[float]]]:
    by_seed: dict[int, list[dict[str, str]]] = {seed: [] for seed in epochs}
    for line in read_csv(path):
        by_seed.get(int(line["seed"]), []).append(line)
    if any(len(by_seed[seed]) != count for seed, count in epochs.items()):
        raise ValueError("not one line per epoch")
    columns = ["lr", *(f"{split}_{name}" for split in ("train", "val") for name in ("accuracy", "loss", "auc"))]
    return {
        column: [[float(line[column] or "nan") for line in lines] for lines in by_seed.values()] for column in columns
    }
