"""Runs beside a study: trained and kept in the run store like all others, for no output of DVC and no log."""

from collections.abc import Sequence

from pipeline.errors import UserError
from pipeline.progress import StageProgress
from pipeline.running import store, workers
from pipeline.running.logbook import LoggedRun
from pipeline.running.pool import Engine
from pipeline.running.workers import Task
from pipeline.storage import write_json


def train(title: str, runs: Sequence[LoggedRun], engine: Engine) -> None:
    """Trains what the run store lacks.

    Args:
        title: of the progress.
        runs: of one row.
        engine: where.

    Raises:
        UserError: a run crashed.
    """
    missing = {run.folder: run for run in runs if store.sound(run.folder) is None}
    for folder, run in missing.items():
        engine.check(run.name, run.row)
        write_json(folder / store.SPEC, store.run_spec(run.row, run.seed, run.data, run.code))
    tasks = [Task(run.row, run.seed, run.prepared, folder) for folder, run in missing.items()]
    crashes = []
    with StageProgress(title, {folder: run.row.epochs for folder, run in missing.items()}, "epochs") as progress:
        for event in engine.do_all(tasks):
            folder = event.task.folder
            if event.kind == "report":
                line = event.content["epoch"]
                progress.step(folder, int(line["epoch"]), f"seed {event.task.seed} val {line['val_accuracy']:.3f}")
            elif event.kind == "end":
                progress.end(folder)
            elif event.kind in ("crash", "killed"):
                crashes.append(f"seed {event.task.seed}: {workers.last_words(event)}")
    if crashes:
        raise UserError(f"{title}: {len(crashes)} of {len(runs)} runs crashed; the first: {crashes[0]}")
