"""What a tuning leaves behind: best.json and trials.csv, written by `tune`, read by training and report.

best.json    the values that won, the row with them, and what the tuning was, cost and left out
trials.csv   one line per place: state, score, cost and values
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UserError
from pipeline.params import space
from pipeline.params.chosen import BEST, read_best
from pipeline.params.rows import Row, TunedRow
from pipeline.params.tuning import Parameter, Value
from pipeline.storage import write_csv, write_json

TRIALS = "trials.csv"
ABOUT = ("trial", "state", "score", "epochs", "images", "reason")
"""Columns of trials.csv before the values, whose columns are the keys of the space."""


@dataclass(frozen=True)
class Trial:
    """One line of trials.csv.

    Args:
        place: from 0 on.
        state: complete, pruned, or failed, for a run that diverged.
        score: of a pruned trial what it had reached; None of a failed one.
        epochs, images: that it trained.
        reason: of a failure.
        values: by key.
    """

    place: int
    state: str
    score: float | None
    epochs: int
    images: int
    reason: str | None
    values: Mapping[str, Value]


def write(name: str, row: TunedRow, trials: Sequence[Trial], folder: Path) -> Trial:
    """Writes the outputs of a tuning.

    Returns:
        The trial that won: of the best score among the complete ones the first.

    Raises:
        UserError: no trial is complete.
    """
    complete = [trial for trial in trials if trial.state == "complete" and trial.score is not None]
    if not complete:
        raise UserError(f"tuned.{name}: none of {len(trials)} trials is complete; the first: {trials[0].reason}")
    sign = 1 if row.tuning.objective == "val_loss" else -1
    best = min(complete, key=lambda trial: (sign * (trial.score or 0), trial.place))
    present, absent = space.split(row, row.tuning.space)
    content = {
        "values": dict(best.values),
        "row": space.apply(row, best.values).model_dump(exclude={"published"}),
        "score": best.score,
        "trial": best.place,
        "states": {state: sum(trial.state == state for trial in trials) for state in ("complete", "pruned", "failed")},
        "left_out": absent,
        "epochs": sum(trial.epochs for trial in trials),
        "images": sum(trial.images for trial in trials),
        "tuning": row.tuning.model_dump(),
    }
    lines = [{key: value for key, value in vars(trial).items() if key not in ("place", "values")} for trial in trials]
    lines = [{"trial": trial.place} | line | dict(trial.values) for trial, line in zip(trials, lines, strict=True)]
    write_csv(folder / TRIALS, [*ABOUT, *present], lines)
    write_json(folder / BEST, content)
    return best


@dataclass(frozen=True)
class Tuned:
    """How the values of a row were chosen.

    Args:
        planned: the row before, with its tuning.
        row: the row with the values that won.
        trials: in the order of their places.
        best: the trial that won.
        left_out: keys of the space that the row lacks.
    """

    planned: TunedRow
    row: Row
    trials: list[Trial]
    best: Trial
    left_out: list[str]


def read(name: str, row: TunedRow, folder: Path) -> Tuned:
    """All that a tuning left behind.

    Raises:
        UserError: best.json is missing, damaged or of another tuning.
        KeyError, ValueError: damaged.
        FileNotFoundError: no trials.csv.
    """
    best, trials = read_best(name, row, folder), _read_trials(row, folder / TRIALS)
    return Tuned(row, space.apply(row, best["values"]), trials, trials[best["trial"]], best["left_out"])


def _read_trials(row: TunedRow, path: Path) -> list[Trial]:
    present, _ = space.split(row, row.tuning.space)
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file, strict=True))
    trials = []
    for line in lines:
        values = {path: _value(parameter, line[path]) for path, parameter in present.items()}
        score = float(line["score"]) if line["score"] else None
        counts = (int(line["epochs"]), int(line["images"]))
        trials.append(Trial(int(line["trial"]), line["state"], score, *counts, line["reason"] or None, values))
    if [trial.place for trial in trials] != list(range(row.tuning.trials)):
        raise ValueError("not one line per trial")
    return trials


def _value(parameter: Parameter, text: str) -> Value:
    if parameter.choices is not None:
        return {str(choice): choice for choice in parameter.choices}[text]
    return int(text) if text.removeprefix("-").isdecimal() else float(text)
