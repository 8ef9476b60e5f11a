"""Stage `diagnose@<study>`: measures of every trained run that need its weights, as tables under diagnosis/<study>/.

    runs.csv     one line per row and seed, in the order of the plan: `row`, `seed`, `status` (finished or failed),
                 `reason` of a failed run, which has no numbers, and the numbers of diagnosis.py
    layers.csv   one line per row, seed and batch norm with running statistics, in network order: `row`, `seed`,
                 `layer` and the columns of shift.shifts

Accuracies, probabilities and shares are fractions, losses nats, variances those of a norm's input. Empty is what does
not apply. Runs are measured side by side, each once: the run store keeps the measures by weights, row, seed, data and
the code of this stage, so that a new row or a kill costs nothing that was done.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import paths
from pipeline.errors import UserError, command
from pipeline.findings import measured
from pipeline.params import planned
from pipeline.params.rows import Row, Trainer
from pipeline.progress import StageProgress
from pipeline.running import forkserver, store, workers
from pipeline.storage import write_csv

if TYPE_CHECKING:
    from pipeline.measures.diagnosis import Diagnosis  # torch, which a study that is measured does not need

MEASURING = ("pipeline.running.light", "pipeline.measures.next_epoch", "pipeline.measures.diagnosis")
"""What workers need, in the order in which it is imported."""

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
    *("q05", "q25", "q50", "q75", "q95"),
    *("case", "predicted", "predicted_by_input"),
)
"""Columns of layers.csv."""


@dataclass(frozen=True)
class Trained:
    """A run of a study: what failed, or what there is to diagnose.

    Args:
        result: of its row.
        run: its line of seeds.csv.
        folder: where the run store keeps its measures; None of one that failed.
    """

    result: measured.Result
    run: measured.Run
    folder: Path | None

    @property
    def weights(self) -> Path:
        """The weights that it kept."""
        return self.result.folder / "weights" / f"seed-{self.run.seed}.safetensors"

    def task(self) -> "Diagnosis":
        """What is to be done to measure it."""
        from pipeline.measures.diagnosis import Diagnosis

        row = self.result.row
        assert self.folder
        return Diagnosis(
            _on_one_device(row), self.run.seed, paths.prepared(row.dataset), self.folder, self.weights, row
        )


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
    trained = [_trained(results[name], run, study.code[name]) for name in study.rows for run in results[name].runs]
    finished = {one.folder: one for one in trained if one.folder}  # rows that are the same network share their measures
    attempt = store.Attempt("studies", study.name)
    if store.is_forced(os.environ.get("DVC_STAGE"), attempt):
        for folder in finished:
            store.clear(folder)
    attempt.begin()
    missing = [one for folder, one in finished.items() if store.sound(folder) is None]
    if crashes := _measure(study.name, missing):
        raise UserError(f"{study.name}: {len(crashes)} of {len(finished)} runs not diagnosed; the first: {crashes[0]}")
    _write(trained, paths.DIAGNOSIS / study.name, paths.DIAGNOSIS / f".draft-{study.name}")
    attempt.complete()
    print(f"{study.name}: {len(finished)} runs diagnosed, {len(missing)} of them just now", file=sys.stderr)


def _trained(result: measured.Result, run: measured.Run, code: str) -> Trained:
    """A run of a row.

    Args:
        result: of the row.
        run: of its runs.
        code: digest of what measures it.
    """
    trained = Trained(result, run, None)
    if run.failure is not None:
        return trained
    try:
        weights = store.digest(trained.weights)
    except FileNotFoundError:
        missing = f"{paths.shown(trained.weights)}: missing"
        raise UserError(f"{missing}; run '.venv/bin/dvc checkout --force {result.stage}'") from None
    spec = store.run_spec(result.row, run.seed, result.spec["data"], code) | {"weights": weights}
    return Trained(result, run, store.run_folder(store.run_key(spec), "diagnoses"))


def _on_one_device(row: Row) -> Row:
    kept = row.trainer.model_dump(include={"accelerator", "arithmetic"})
    return row.model_copy(update={"trainer": Trainer.model_validate(kept)})


def _measure(study: str, missing: Sequence[Trained]) -> list[str]:
    """Measures runs; the last lines of the errors of those that crashed."""
    if not missing:
        return []
    forkserver.start(MEASURING)  # it imports what workers need while this process does
    from pipeline.measures import diagnosis

    crashes: list[str] = []
    weights = {one.folder: one.weights for one in missing}
    with StageProgress(study, dict.fromkeys(weights, diagnosis.STEPS), "measures") as progress:
        for event in workers.do_all([one.task() for one in missing]):
            folder = event.task.folder
            if event.kind == "report":
                progress.step(folder, event.content["done"], "")
            elif event.kind == "end":
                progress.end(folder)
            elif event.kind in ("crash", "killed"):
                crashes.append(f"{paths.shown(weights[folder])}: {workers.last_words(event)}")
    return crashes


def _write(trained: Sequence[Trained], target: Path, draft: Path) -> None:
    """Writes both tables, or none."""
    runs, layers = [], []
    for one in trained:
        about: dict[str, Any] = {"row": one.result.name, "seed": one.run.seed}
        found = store.result(one.folder) if one.folder else {"numbers": {}, "layers": []}
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
