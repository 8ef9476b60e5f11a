"""The run store: finished and half-finished runs, outside the DVC outputs, which DVC deletes before a rerun.

    .store/runs/<key>/           one run, see run.py; `spec.json` says what decides its numbers, `logged.json` where it
                                 is logged
    .store/diagnoses/<key>/      the measures of one run, see diagnosis.py
    .store/trials/<key>/         one trial of a tuning, see objective.py
    .store/optuna/               the trials of all tunings, see trials.py
    .store/rows/<study>/<row>.json      whether the row's last training was completed
    .store/tunings/<study>/<row>.json   whether its last tuning was
    .store/studies/<study>.json  whether the study's last diagnosis was completed
    .store/reports/<study>.json  where the study's report is logged
    .store/adoptions/<key>/      one run of other code, trained again, see adoption.py
    .store/tried/<row>/          a row's outputs with other values, see whatif.py
    .store/locks/                one writer each: rows, runs, tunings, diagnoses, DVC, MLflow, the index of reports
    .store/damaged/<key>/        what was not as it had been written, and was done again
    .store/facts.json            what was worked out of params.yaml and the code of words, see facts.py
    .store/dvc.lock              as it last was whole, see bookkeeping.py

A key stands for all that decides a run's numbers: the row without its names and seeds, the seed, the
prepared data and the code. So a new seed trains alone, a killed stage resumes, two rows that are the
same network share their runs, and a run that was trained elsewhere is picked up.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipeline import paths
from pipeline.errors import UserError
from pipeline.images import prepared
from pipeline.params.rows import Row
from pipeline.storage import Damaged, digest, read_notes, read_sealed, set_aside, write_json

SPEC = "spec.json"
"""Holds what `run_spec` gives of a run."""


def checked_data(dataset: str, digests: Mapping[str, str]) -> Path:
    """The folder of a prepared data set, if it is what was trained on.

    Args:
        dataset: its name.
        digests: of what rows were trained on, by the name of the row.

    Raises:
        UserError: the data set is missing or another one.
    """
    folder = paths.prepared(dataset)
    found = prepared.digest(folder)
    for row, was in digests.items():
        if was != found:
            hint = "run '.venv/bin/dvc repro', or check out the commit that it was trained at"
            raise UserError(f"{paths.shown(folder)}: not the images that {row} was trained on; {hint}")
    return folder


def run_spec(row: Row, seed: int, data: str, code: str) -> dict[str, Any]:
    """All that decides a run's numbers."""
    return {"row": row.training(), "seed": seed, "data": data, "code": code}


def run_key(spec: dict[str, Any]) -> str:
    """The name of a run in the store."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:32]


def run_folder(key: str, kind: str = "runs") -> Path:
    """Where a run, or what `kind` says of it, lies; made if it is not there."""
    folder = paths.STORE / kind / key
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def result(folder: Path) -> Any:
    """The result of a finished or failed run; None while it is neither.

    Raises:
        Damaged: a file of the run is not as it was written.
    """
    return read_sealed(folder / "result.json")


def is_whole(folder: Path) -> bool:
    """Whether a run has a result; of a damaged one, which is done again by who needs it, a line says so."""
    try:
        return result(folder) is not None
    except Damaged as damage:
        print(f"{damage}; left out", file=sys.stderr)
        return False


def sound(folder: Path) -> Any:
    """`result`, for who does again what is missing: a damaged run is set aside, and so missing."""
    with suppress(Damaged):
        return result(folder)
    with run_lock(folder):
        try:
            return result(folder)
        except Damaged as damage:
            set_aside(folder, folder.parent.with_name("damaged") / folder.name, damage)
            folder.mkdir()
            return None


def clear(folder: Path) -> None:
    """Forgets a run, so that it trains afresh."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


class Locked(Exception):
    """Somebody else holds the lock; `owner` is their process."""

    def __init__(self, owner: str) -> None:
        self.owner = owner


class Lock:
    """A lock by name that dies with its process, also by SIGKILL. A context manager.

    Raises:
        Locked: on entry without `wait`, if another process holds it.
    """

    def __init__(self, name: str, wait: bool) -> None:
        path = paths.STORE / "locks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path, timeout=-1 if wait else 0)
        self._owner = path.with_name(f"{name}.owner")

    def __enter__(self) -> "Lock":
        try:
            self._lock.acquire()
        except Timeout:
            try:
                owner = self._owner.read_text()
            except FileNotFoundError:  # it has just begun, or is just leaving
                owner = "unknown"
            raise Locked(owner) from None
        self._owner.write_text(str(os.getpid()))
        return self

    def __exit__(self, *args: object) -> None:
        self.free()

    def free(self) -> None:
        """Lets others have it before the block is over."""
        if self._lock.is_locked:
            self._owner.unlink(missing_ok=True)
            self._lock.release()


@contextmanager
def held(name: str, doing: str) -> Iterator[None]:
    """Holds a lock; while another process has it, says what that is doing and waits."""
    with ExitStack() as stack:
        try:
            stack.enter_context(Lock(name, wait=False))
        except Locked as locked:
            print(f"process {locked.owner} is {doing}; waiting for it", file=sys.stderr)
            stack.enter_context(Lock(name, wait=True))
        yield


def row_lock(study: str, row: str) -> str:
    """The name of the lock of whoever trains a row."""
    return f"{study}.{row}.row"


def tuning_lock(study: str, row: str) -> str:
    """The name of the lock of whoever tunes a row."""
    return f"{study}.{row}.tuning"


def run_lock_name(folder: Path) -> str:
    """The name of the lock of whoever works on a run."""
    return f"{folder.name}.run"


def run_lock(folder: Path) -> Lock:
    """Held by whoever works on a run."""
    return Lock(run_lock_name(folder), wait=True)


def is_training(study: str, row: str) -> bool:
    """Whether some process trains a row at this moment."""
    return _is_held(row_lock(study, row))


def is_tuning(study: str, row: str) -> bool:
    """Whether some process tunes a row at this moment."""
    return _is_held(tuning_lock(study, row))


def _is_held(name: str) -> bool:
    try:
        with Lock(name, wait=False):
            return False
    except Locked:
        return True


class Attempt:
    """Whether the last run of a stage was completed, to tell a forced rerun from a resumed one.

    DVC runs a stage again for a reason: something that it depends on has changed, or `-f`, or its last run did not
    complete, or its outputs are in no cache, as in a new clone. Only `-f` wants work done again that the store holds.

    Args:
        parts: where the store notes it: `rows` or `tunings`, study and row, or `studies` and study.
    """

    def __init__(self, *parts: str) -> None:
        self._path = paths.STORE.joinpath(*parts[:-1], f"{parts[-1]}.json")

    def completed(self) -> bool:
        """The stage was run here, and was not killed."""
        return read_notes(self._path).get("state") == "complete"

    def begin(self) -> None:
        write_json(self._path, {"state": "begun"})

    def complete(self) -> None:
        write_json(self._path, {"state": "complete"})


def is_forced(stage: str | None, attempt: Attempt) -> bool:
    """Whether DVC runs this stage although nothing differs from dvc.lock and its cache has all that it made.

    Args:
        stage: what DVC calls the stage, from DVC_STAGE; None outside of DVC, where nothing is forced.
        attempt: the stage's last run.
    """
    if stage is None or not attempt.completed():
        return False
    from ruamel.yaml.error import YAMLError  # as below

    for lock in (paths.ROOT / "dvc.lock", paths.STORE / "dvc.lock"):  # the second while another DVC writes the first
        with suppress(OSError, AttributeError, KeyError, TypeError, YAMLError):
            entry = _yaml(lock)["stages"][stage]
            same = all(_dvc_digest(paths.ROOT / dep["path"]) == dep.get("md5") for dep in entry["deps"])
            return same and _are_cached([out.get("md5", "") for out in entry["outs"]])
    return False


def _are_cached(digests: Iterable[str]) -> bool:
    """Whether DVC's cache holds all of these. A kill before DVC takes a stage's outputs in leaves it without them."""
    from dvc.config import Config  # as below

    folder = paths.ROOT / ".dvc"
    cache = Path(Config(dvc_dir=str(folder))["cache"].get("dir") or folder / "cache")
    return all((cache / "files" / "md5" / digest[:2] / digest[2:]).exists() for digest in digests)


def _dvc_digest(path: Path) -> str | None:
    """What dvc.lock holds of a file or folder; None where there is neither."""
    if path.is_dir():
        files = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        listing = json.dumps([{"md5": digest(path / file), "relpath": file} for file in files])
        return f"{hashlib.md5(listing.encode()).hexdigest()}.dir"
    return digest(path) if path.is_file() else None


def _yaml(path: Path) -> Any:
    from ruamel.yaml import YAML  # which a machine that only trains lacks

    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
