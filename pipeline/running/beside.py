"""Runs beside a study: trained with a bar, for no output of DVC and no log."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.errors import UserError
from pipeline.progress import StageProgress
from pipeline.running import store, workers
from pipeline.running.logbook import LoggedRun
from pipeline.running.pool import Engine
from pipeline.running.workers import Task
from pipeline.storage import write_json


def train(title: str, runs: Sequence[LoggedRun], engine: Engine) -> None:
    """Trains what the run store lacks, which keeps it.

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
    tasks = [(f"seed {run.seed}", Task(run.row, run.seed, run.prepared, folder)) for folder, run in missing.items()]
    if crashes := do_all(title, tasks, engine):
        raise UserError(f"{title}: {len(crashes)} of {len(runs)} runs crashed; the first: {crashes[0]}")


def do_all(
    title: str,
    tasks: Sequence[tuple[str, Task]],
    engine: Engine,
    complaint: Callable[[Path], str | None] = lambda folder: None,
) -> list[str]:
    """Does tasks with a bar.

    Args:
        title: of the progress.
        tasks: with what the bar calls them.
        engine: where.
        complaint: what is wrong with a run that is over, by its folder.

    Returns:
        What is wrong or crashed, a line each.
    """
    problems: list[str] = []
    names = {task.folder: name for name, task in tasks}
    with StageProgress(title, {task.folder: task.row.epochs for _, task in tasks}, "epochs") as progress:
        for event in engine.do_all([task for _, task in tasks]):
            folder = event.task.folder
            if event.kind == "report":
                line = event.content["epoch"]
                progress.step(folder, int(line["epoch"]), f"{names[folder]} val {line['val_accuracy']:.3f}")
            elif event.kind in ("end", "crash", "killed"):
                problem = complaint(folder) if event.kind == "end" else workers.last_words(event)
                progress.end(folder)
                problems += [f"{names[folder]}: {problem}"] if problem else []
    return problems
