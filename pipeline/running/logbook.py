"""What is to be logged, and how far it is: the notes of the run store that tracking works off."""

import contextlib
import functools
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline import paths
from pipeline.params.rows import Row, TunedRow
from pipeline.params.tuning import Value
from pipeline.running import store
from pipeline.storage import read_notes, write_json
from pipeline.text import redact


@dataclass(frozen=True)
class LoggedRun:
    """A run as the tracking store shall know it.

    Args:
        study, name: of the row.
        row: what is trained.
        seed: of the run.
        key: of the run in the store.
        data, code: digests.
    """

    study: str
    name: str
    row: Row
    seed: int
    key: str
    data: str
    code: str

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.name} seed {self.seed}"

    @property
    def folder(self) -> Path:
        """The run's folder in the run store."""
        return store.run_folder(self.key)

    @property
    def prepared(self) -> Path:
        """The images that it is trained on."""
        return paths.prepared(self.row.dataset)

    @property
    def logged(self) -> bool:
        """Whether the present tracking store holds all of it."""
        entry = read_notes(self.folder / "logged.json").get(_entry(self.study, self.name))
        return entry is not None and entry["state"] == "logged"

    def mark(self, state: str) -> None:
        """Notes in the run store how far this run is logged to the present tracking store: pending or logged."""
        path = self.folder / "logged.json"
        entries = read_notes(path)
        about = vars(self) | {"row": self.row.model_dump()}
        entries[_entry(self.study, self.name)] = {"state": state, "about": about}
        write_json(path, entries)


@dataclass(frozen=True)
class LoggedTrial:
    """A finished trial of a tuning as the tracking store shall know it.

    Args:
        study, name: of the row.
        row: before its tuning.
        tuning: key of the tuning.
        place: of the trial.
        values: that were tried, by key.
        folder: name of the trial's folder in the run store, where its result is.
    """

    study: str
    name: str
    row: TunedRow
    tuning: str
    place: int
    values: dict[str, Value]
    folder: str

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.name} trial {self.place}"

    @property
    def path(self) -> Path:
        """The trial's folder."""
        return store.run_folder(self.folder, "trials")

    def mark(self, state: str) -> None:
        """Notes in the run store how far this trial is logged to the present tracking store: pending or logged."""
        path = self.path / "logged.json"
        about = vars(self) | {"row": self.row.model_dump()}
        write_json(path, read_notes(path) | {tracking_place(): {"state": state, "about": about}})


def unlogged_trials(tuning: str | None = None) -> list[LoggedTrial]:
    """The finished trials that were to be logged to the present tracking store and are not.

    Args:
        tuning: key of the tuning that this process is at; those of others that a process is at are left out.
    """
    found = []
    is_tuning = functools.cache(store.is_tuning)
    for path in sorted((paths.STORE / "trials").glob("*/logged.json")):
        entry = read_notes(path).get(tracking_place())
        if entry and entry["state"] == "pending" and (path.parent / "result.json").exists():
            about = entry["about"]
            if about["tuning"] == tuning or not is_tuning(about["study"], about["name"]):
                with contextlib.suppress(TypeError, KeyError, ValidationError):  # of another version, see `_run`
                    found.append(LoggedTrial(**(about | {"row": TunedRow.model_validate(about["row"])})))
    return found


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or an SQLite file in the project, where one with a relative path lies too."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{paths.MLFLOW / 'mlflow.db'}"
    start = "sqlite:///"
    return f"{start}{paths.HOME / uri.removeprefix(start)}" if uri.startswith(start) else uri


def tracking_place() -> str:
    """The present tracking store as notes name it: without a password, whose digest tells stores apart."""
    uri = tracking_uri()
    shown = redact(uri)
    return uri if shown == uri else f"{shown}#{hashlib.sha256(uri.encode()).hexdigest()[:8]}"


def unlogged(finished: list[LoggedRun]) -> list[LoggedRun]:
    """The runs of `finished` that the present tracking store does not hold, and all of other rows whose
    logging was begun and not completed, but for rows that a process is training, and logging, right now."""
    runs = {(run.study, run.name, run.key): run for run in finished}
    is_training = functools.cache(store.is_training)
    for path in sorted((paths.STORE / "runs").glob("*/logged.json")):
        for where, entry in read_notes(path).items():
            about = entry["about"]
            identity = (about["study"], about["name"], about["key"])
            if not where.startswith(f"{tracking_place()} "):
                continue
            if entry["state"] == "logged":
                runs.pop(identity, None)
            elif identity not in runs and not is_training(*identity[:2]) and (path.parent / "result.json").exists():
                noted = _run(about)
                runs |= {identity: noted} if noted else {}
    return list(runs.values())


def forget() -> None:
    """Notes that the present tracking store has nothing of what it was given."""
    place = tracking_place()
    for path in (*(paths.STORE / "runs").glob("*/logged.json"), *(paths.STORE / "trials").glob("*/logged.json")):
        entries = read_notes(path)
        mine = [where for where in entries if where == place or where.startswith(f"{place} ")]
        write_json(path, entries | {where: entries[where] | {"state": "pending"} for where in mine})
    for path in _studies().glob("*.json"):
        if place in read_notes(path):
            mark_study(path.stem, "pending")


def recorded(study: str, name: str, key: str) -> LoggedRun | None:
    """A run that the present tracking store was given by this project; None where the run store has no trace of it."""
    entry = read_notes(paths.STORE / "runs" / key / "logged.json").get(_entry(study, name))
    return _run(entry["about"]) if entry else None


def _run(about: dict[str, Any]) -> LoggedRun | None:
    """A run that was noted; None of one that another version noted, with other keys, which nobody can log any more."""
    try:
        values: dict[str, Any] = about | {"row": Row.model_validate(about["row"])}
        return LoggedRun(**values)
    except (TypeError, KeyError, ValidationError):
        return None


def _entry(study: str, name: str) -> str:
    """How logged.json names a row in the present tracking store; two rows may share a run."""
    return f"{tracking_place()} {study}/{name}"


def mark_study(study: str, state: str) -> None:
    """Notes in the run store how far a study's report is logged to the present tracking store: pending or logged."""
    path = _studies() / f"{study}.json"
    write_json(path, read_notes(path) | {tracking_place(): state})


def unlogged_studies() -> list[str]:
    """The planned studies whose report was to be logged to the present tracking store and is not."""
    files = [path for path in sorted(_studies().glob("*.json")) if (paths.PLAN / "studies" / path.name).exists()]
    return [path.stem for path in files if read_notes(path).get(tracking_place()) == "pending"]


def _studies() -> Path:
    return paths.STORE / "reports"
