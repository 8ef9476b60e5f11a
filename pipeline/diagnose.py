"""Stage `diagnose@<study>`: measures of every trained run that need its weights, as tables under diagnosis/<study>/.

    runs.csv     one line per row and seed, in the order of the plan: `row`, `seed`, `status` (finished or failed),
                 `reason` of a failed run, which has no numbers, and the numbers of diagnosis.py
    layers.csv   one line per row, seed and batch norm with running statistics, in network order: `row`, `seed`,
                 `layer` and the columns of shift.shifts

Accuracies, probabilities and shares are fractions, losses nats, variances those of a norm's input. Empty is what does
not apply. Runs are measured side by side, each once: the run store keeps the measures by weights, row, seed, data and
the code of this stage, so that a new row or a kill costs nothing that was done.
"""

if __name__ == "__main__":
    from pipeline.running import forkserver

    forkserver.start()  # first: it imports what workers need while this process imports what it needs

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.errors import UserError, command
from pipeline.findings import measured
from pipeline.measures import diagnosis
from pipeline.measures.diagnosis import Diagnosis
from pipeline.measures.shift import QUANTILES
from pipeline.params import planned
from pipeline.params.rows import Row, Trainer
from pipeline.progress import StageProgress
from pipeline.running import store, workers
from pipeline.storage import write_csv

STATISTICS, MODES = ("before", "moving", "exact"), ("eval", "train")
SCORES = [(split, how) for split in ("val", "test") for how in STATISTICS] + [("train", how) for how in MODES]
RUNS = (
    *("row", "seed", "status", "reason"),
    *(f"{split}_{number}_{how}" for split, how in SCORES for number in ("accuracy", "loss")),
    *("company_sd", "company_changed"),
)
"""Columns of runs.csv."""

LAYERS = (
    *("row", "seed", "layer", "channels", "moving", "real", "ratio", "shift", "ratio_alone"),
    *(f"q{round(100 * q):02}" for q in QUANTILES),
    *("case", "predicted", "predicted_by_input"),
)
"""Columns of layers.csv."""


@dataclass(frozen=True)
class Trained:
    """A run of a study: what failed, or what there is to diagnose."""

    name: str
    run: measured.Run
    task: Diagnosis | None


@command
def main() -> None:
    if len(sys.argv) != 2:
        raise UserError("usage: pipeline/python -m pipeline.diagnose STUDY")
    study = planned.read_study(sys.argv[1])
    with store.held(f"{study.name}.diagnosis", f"diagnosing study {study.name}"):
        diagnose_study(study)


def diagnose_study(study: planned.PlannedStudy) -> None:
    """Measures what is missing of a study and writes its tables. The caller holds the study's lock.

    Raises:
        UserError: a row's outputs are missing or old, its data are others than it was trained on, or a worker crashed.
    """
    groups = measured.load(study, paths.RUNS / study.name)
    results = {result.name: result for group in groups for result in group}
    for group in groups:
        store.checked_data(group[0].row.dataset, {result.name: result.spec["data"] for result in group})
    trained = [one for name in study.rows for one in _trained(results[name], study.code[name])]
    tasks = {one.task.folder: one.task for one in trained if one.task}
    attempt = store.Attempt("studies", study.name)
    if store.is_forced(os.environ.get("DVC_STAGE"), attempt):
        for folder in tasks:
            store.clear(folder)
    attempt.begin()
    missing = [task for folder, task in tasks.items() if store.sound(folder) is None]
    if crashes := _measure(study.name, missing):
        raise UserError(f"{study.name}: {len(crashes)} of {len(tasks)} runs not diagnosed; the first: {crashes[0]}")
    _write(trained, paths.DIAGNOSIS / study.name, paths.DIAGNOSIS / f".draft-{study.name}")
    attempt.complete()
    print(f"{study.name}: {len(tasks)} runs diagnosed, {len(missing)} of them just now", file=sys.stderr)


def _trained(result: measured.Result, code: str) -> list[Trained]:
    """The runs of a row, in the order of its seeds.

    Args:
        result: of the row.
        code: digest of what measures it.
    """
    row, folder = result.row, paths.prepared(result.row.dataset)
    tasks: dict[int, Diagnosis] = {}
    for run in result.runs:
        if run.failure is None:
            weights = result.folder / "weights" / f"seed-{run.seed}.safetensors"
            spec = store.run_spec(row, run.seed, result.spec["data"], code) | {
                "weights": _weights_digest(weights, result.stage)
            }
            place = store.run_folder(store.run_key(spec), "diagnoses")
            tasks[run.seed] = Diagnosis(_on_one_device(row), run.seed, folder, place, weights, row)
    return [Trained(result.name, run, tasks.get(run.seed)) for run in result.runs]


def _weights_digest(weights: Path, stage: str) -> str:
    try:
        return store.digest(weights)
    except FileNotFoundError:
        missing = f"{paths.shown(weights)}: missing"
        raise UserError(f"{missing}; run '.venv/bin/dvc checkout --force {stage}'") from None


def _on_one_device(row: Row) -> Row:
    kept = row.trainer.model_dump(include={"accelerator", "arithmetic"})
    return row.model_copy(update={"trainer": Trainer.model_validate(kept)})


def _measure(study: str, tasks: Sequence[Diagnosis]) -> list[str]:
    """Works off the tasks; the last lines of the errors of those that crashed."""
    crashes: list[str] = []
    with StageProgress(study, {task.folder: diagnosis.STEPS for task in tasks}, "measures") as progress:
        for event in workers.do_all(tasks):
            if event.kind == "report":
                progress.step(event.task.folder, event.content["done"], "")
            elif event.kind == "end":
                progress.end(event.task.folder)
            elif event.kind == "crash":
                assert isinstance(event.task, Diagnosis)
                crashes.append(f"{paths.shown(event.task.weights)}: {workers.last_words(event)}")
    return crashes


def _write(trained: Sequence[Trained], target: Path, draft: Path) -> None:
    """Writes both tables, or none."""
    runs, layers = [], []
    for one in trained:
        about: dict[str, Any] = {"row": one.name, "seed": one.run.seed}
        found = store.result(one.task.folder) if one.task else {"numbers": {}, "layers": []}
        status = {"status": "failed" if one.run.failure else "finished", "reason": one.run.failure}
        runs.append(about | status | found["numbers"])
        layers += [about | layer for layer in found["layers"]]
    shutil.rmtree(draft, ignore_errors=True)
    write_csv(draft / "runs.csv", RUNS, runs)
    write_csv(draft / "layers.csv", LAYERS, layers)
    shutil.rmtree(target, ignore_errors=True)
    draft.replace(target)


if __name__ == "__main__":
    main()
