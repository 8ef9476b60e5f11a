"""Runs of older code that give the same numbers with today's: found, checked by training some again, and taken over.

After a refactoring, a faster kernel or another torch, the key of every run is another one, though its numbers may be
the same. A run of the store that differs from a wanted one in the digest of the code alone can stand for it, once one
of each kind was trained again and came out the same to the byte.
"""

import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from pipeline import paths
from pipeline.running import beside, store
from pipeline.running.logbook import LoggedRun
from pipeline.running.pool import Engine
from pipeline.running.workers import Task
from pipeline.storage import read_notes, same_bytes, write_json

FILES = ("result.json", "curves.csv", "logits.safetensors", "weights.safetensors")
"""Of a run; the last two are missing of a failed one."""


@dataclass(frozen=True)
class Candidate:
    """A run that is wanted, and one of other code that may stand for it."""

    run: LoggedRun
    folder: Path

    @property
    def again(self) -> Path:
        """Where the run is trained again."""
        return store.run_folder(self.run.key, "adoptions")


def candidates(runs: Iterable[LoggedRun]) -> list[Candidate]:
    """For each run that the store lacks, the newest of other code alone, where there is one."""
    known: dict[str, list[Path]] = defaultdict(list)
    for path in (paths.STORE / "runs").glob(f"*/{store.SPEC}"):
        if store.is_whole(path.parent):
            known[_but_for_code(read_notes(path))].append(path.parent)
    found = []
    for run in runs:
        if not store.is_whole(run.folder):
            same = known[_but_for_code(store.run_spec(run.row, run.seed, run.data, run.code))]
            if same:
                newest = max(same, key=lambda folder: (folder / "result.json").stat().st_mtime)
                found.append(Candidate(run, newest))
    return found


def _but_for_code(spec: dict[str, Any]) -> str:
    return store.run_key({name: value for name, value in spec.items() if name != "code"})


def samples(found: Sequence[Candidate]) -> list[Candidate]:
    """The shortest of each kind; runs of one code that differ in seed, epochs and learning rate alone are one."""
    kinds: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in found:
        kinds[_kind(candidate)].append(candidate)
    return [min(kind, key=lambda candidate: (candidate.run.row.epochs, candidate.run.seed)) for kind in kinds.values()]


def _kind(candidate: Candidate) -> str:
    spec = read_notes(candidate.folder / store.SPEC)
    row = spec["row"]
    optimizer = row["optimizer"] | {"lr": None}
    return store.run_key(spec | {"row": row | {"optimizer": optimizer, "epochs": None}, "seed": None})


def differences(chosen: Sequence[Candidate], engine: Engine) -> list[str]:
    """Trains runs again; a line for each that did not come out the same to the byte."""
    by_folder = {candidate.again: candidate for candidate in chosen}
    tasks = []
    for folder, candidate in by_folder.items():
        store.clear(folder)
        run = candidate.run
        tasks.append((run.title, Task(run.row, run.seed, run.prepared, folder)))
    title = f"{len(chosen)} runs again"
    return beside.do_all(title, tasks, engine, lambda folder: _difference(by_folder[folder].folder, folder))


def _difference(old: Path, new: Path) -> str | None:
    """What is not the same, and by how much; None where all bytes are."""
    unlike = [name for name in FILES if not same_bytes(old / name, new / name)]
    if not unlike:
        return None
    results = [store.result(folder) for folder in (old, new)]
    accuracies = [f"{result.get('test_accuracy', float('nan')):.4f}" for result in results]
    text = f"{', '.join(unlike)} differ; test accuracy {' then '.join(accuracies)}"
    logits = [folder / "logits.safetensors" for folder in (old, new)]
    if all(path.exists() for path in logits):
        before, after = (load_file(path)["logits"] for path in logits)
        if before.shape == after.shape:
            text += f", logits apart by up to {abs(before - after).max():.3g}"
    return text


def adopt(found: Iterable[Candidate]) -> None:
    """Takes runs over under the key of today's code; the old ones stay where they are."""
    for candidate in found:
        run = candidate.run
        if store.sound(run.folder) is not None:  # trained meanwhile
            continue
        with store.run_lock(run.folder):
            for name in reversed(FILES):  # result.json comes last: a folder that has one is whole
                if (candidate.folder / name).exists():
                    shutil.copyfile(candidate.folder / name, run.folder / name)
            write_json(run.folder / store.SPEC, store.run_spec(run.row, run.seed, run.data, run.code))
        shutil.rmtree(candidate.again, ignore_errors=True)
