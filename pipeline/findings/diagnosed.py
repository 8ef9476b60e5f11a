"""What the stage `diagnose` has found for a study, read for its report."""

import csv
from dataclasses import dataclass
from pathlib import Path

from pipeline import paths
from pipeline.errors import UserError
from pipeline.storage import read_csv

Layer = dict[str, float]
"""The numbers of one line of layers.csv."""


@dataclass(frozen=True)
class Diagnosed:
    """The measures of one row.

    Args:
        numbers: of each run that finished, by seed: a line of runs.csv, empty cells left out.
        layers: of each run that finished, by seed: lines of layers.csv in network order.
    """

    numbers: dict[int, dict[str, float]]
    layers: dict[int, list[Layer]]

    def values(self, column: str) -> dict[int, float]:
        """A column of runs.csv by seed, of the runs that have it."""
        return {seed: numbers[column] for seed, numbers in self.numbers.items() if column in numbers}

    def shifts(self, ratio: str, predicted_only: bool = False) -> dict[int, float]:
        """Mean over layers of max(ratio, 1/ratio), by seed.

        Args:
            ratio: a column of layers.csv.
            predicted_only: takes the layers for which a formula gives a prediction, and no others.
        """
        taken = {
            seed: [layer[ratio] for layer in layers if ratio in layer and ("predicted" in layer or not predicted_only)]
            for seed, layers in self.layers.items()
        }
        return {
            seed: sum(max(value, 1 / value) for value in ratios) / len(ratios)
            for seed, ratios in taken.items()
            if ratios and all(value > 0 for value in ratios)
        }

    def by_layer(self, column: str) -> list[list[float]]:
        """A column of layers.csv, a line per run with a value per layer; nan where a layer has none."""
        return [[layer.get(column, float("nan")) for layer in layers] for layers in self.layers.values() if layers]


def read(study: str, folder: Path) -> dict[str, Diagnosed]:
    """The measures of each row.

    Args:
        study: its name.
        folder: as `diagnose` writes it.

    Raises:
        UserError: a table is missing or damaged.
    """
    rows: dict[str, Diagnosed] = {}
    try:
        for line in read_csv(folder / "runs.csv"):
            row = rows.setdefault(line["row"], Diagnosed({}, {}))
            if line["status"] == "finished":
                seed = int(line["seed"])
                row.numbers[seed], row.layers[seed] = _numbers(line, {"row", "seed", "status", "reason"}), []
        for line in read_csv(folder / "layers.csv"):
            rows[line["row"]].layers[int(line["seed"])].append(_numbers(line, {"row", "seed", "layer", "case"}))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{paths.shown(folder)}: not whole; run '.venv/bin/dvc repro report@{study}'") from None
    except (csv.Error, KeyError, TypeError, ValueError):
        hint = f"run '.venv/bin/dvc checkout --force diagnose@{study}'"
        raise UserError(f"{paths.shown(folder)}: damaged; {hint}") from None
    return rows


def _numbers(line: dict[str, str], words: set[str]) -> dict[str, float]:
    return {key: float(value) for key, value in line.items() if key not in words and value}
