"""Stage `train@<row>`: all runs of one row, side by side, and the row's outputs.

Runs that the run store holds are picked up, interrupted ones resume, the rest trains. A run that
diverges is a result like any other; a run that crashes fails the stage and loses nothing: the runs
that are finished, and the states of those that are not, wait for the next start.
"""

if __name__ == "__main__":
    from pipeline import forkserver

    forkserver.start()  # first: it imports what workers need while this process imports what it needs

import os
import shutil
import sys
from collections import Counter
from typing import Any

import torch

from models import SentenceError, build
from pipeline import paths, plan, prepared, results, store, workers
from pipeline.config import Row
from pipeline.devices import uses_gpu
from pipeline.errors import UserError, command
from pipeline.logbook import LoggedRun, Tracker, unlogged
from pipeline.progress import StageProgress


@command
def main() -> None:
    if len(sys.argv) != 2:
        raise UserError("usage: pipeline/python -m pipeline.train ROW")
    name = sys.argv[1]
    row = plan.read_row(name)
    with store.held(store.row_lock(row.study, name), f"training row {name}"):
        train_row(name, row)


def train_row(name: str, row: Row) -> None:
    """Trains what is missing of a row and writes its outputs. The caller holds the row's lock.

    Raises:
        UserError: a run crashed, or the row does not fit the data or the machine.
    """
    data = paths.prepared(row.dataset)
    check_fit(plan.key(name), row, prepared.info(data))
    digests = {"data": store.data_digest(data), "code": store.code_digest()}
    runs = describe(name, row, **digests)
    attempt = store.Attempt("rows", row.study, name)
    if store.is_forced(os.environ.get("DVC_STAGE"), attempt):
        for run in runs:
            store.clear(run.folder)
    attempt.begin()
    missing = [run for run in runs if store.result(run.folder) is None]
    with Tracker() as tracker:
        if missing:
            tracker.sweep(row.study, name, {run.key for run in missing})
        for run in unlogged([run for run in runs if run not in missing]):
            tracker.end(run)
        crashes = train_missing(name, row, missing, tracker)
    if crashes:
        raise UserError(f"{name}: {len(crashes)} of {len(runs)} runs crashed; the first: {crashes[0]}")
    folders = {run.seed: run.folder for run in runs}
    spec = digests | {"row": row.model_dump(exclude={"published"})}
    target = paths.RUNS / row.study / name
    written = results.write(spec, folders, data, target, paths.RUNS / f".draft-{name}")
    if plan.is_tuned(name):
        shutil.copytree(paths.TUNED / name, target / "tuning")
    attempt.complete()
    print(f"{name}: {summary(written)}", file=sys.stderr)


def train_missing(name: str, row: Row, missing: list[LoggedRun], tracker: Tracker) -> list[str]:
    """Trains runs and logs them; the last lines of the errors of those that crashed."""
    tasks = [workers.Task(row, run.seed, run.prepared, run.folder) for run in missing]
    by_seed = {run.seed: run for run in missing}
    crashes: list[str] = []
    spent = {run.seed: Counter[str]() for run in missing}
    jobs = min(workers.default_jobs(row), max(1, len(tasks)))
    with StageProgress(name, len(tasks), row.epochs, "epochs") as progress:

        def handle(event: workers.Event) -> None:
            run = by_seed[event.task.seed]
            if event.kind == "start":
                tracker.begin(run)
            elif event.kind == "report":
                line = event.content["epoch"]
                spent[run.seed].update({key: value for key, value in event.content.items() if key != "epoch"})
                progress.step(run.seed, int(line["epoch"]), f"seed {run.seed} val {line['val_accuracy']:.3f}")
                tracker.epoch(run, line | {"epoch_seconds": event.content["seconds"]})
            elif event.kind == "end":
                progress.end(run.seed, f"{name} seed {run.seed}: {outcome(store.result(run.folder))}")
                tracker.end(run, speed(spent[run.seed]))
            else:
                crashes.append(f"seed {run.seed}: {workers.last_words(event)}")

        workers.do_all(tasks, jobs, handle)
    return crashes


def describe(name: str, row: Row, data: str, code: str) -> list[LoggedRun]:
    """The runs of a row, one per seed."""
    keys = {seed: store.run_key(store.run_spec(row, seed, data, code)) for seed in row.seeds}
    return [LoggedRun(row.study, name, row, seed, key, data, code) for seed, key in keys.items()]


def check_fit(key: str, row: Row, info: prepared.Info) -> None:
    """Whether a row, whose key in params.yaml is given, fits its data and this machine.

    Raises:
        UserError: images too small for the backbone, a batch over the training images, no GPU for what needs one.
    """
    try:
        build(*row.network(), info.shape, len(info.classes))
    except SentenceError as error:
        raise UserError(f"{key}.{error.part}: {error}") from None
    images = info.counts["train"]
    if row.batch > images:
        raise UserError(f"{key}.batch: {row.batch}, but {row.dataset} has {images} training images")
    if row.trainer.precision == "16-mixed" and not uses_gpu(row):
        raise UserError(f"{key}.trainer.precision: 16-mixed needs a GPU; a CPU knows 32-true and bf16-mixed")
    if uses_gpu(row) and torch.cuda.device_count() < row.trainer.devices:
        found = torch.cuda.device_count()
        raise UserError(f"{key}.trainer: {row.trainer.devices} GPUs wanted, {found} found; accelerator: cpu needs none")


def speed(spent: Counter[str]) -> dict[str, float]:
    """What a run cost on this machine, for the log only: seconds of its epochs, and images per second of training."""
    if not spent["training_seconds"]:
        return {}
    return {"seconds": spent["seconds"], "images_per_second": spent["images"] / spent["training_seconds"]}


def outcome(result: dict[str, Any]) -> str:
    """A run's result in a few words."""
    if result["status"] == "failed":
        return f"failed: {result['reason']}"
    return f"test accuracy {result['test_accuracy']:.4f}, best epoch {result['best_epoch']} of {result['epochs']}"


def summary(written: list[dict[str, Any]]) -> str:
    """A row's results in a few words."""
    finished = [result["test_accuracy"] for result in written if result["status"] == "finished"]
    failed = [f"seed {result['seed']} {outcome(result)}" for result in written if result["status"] == "failed"]
    mean = f", mean test accuracy {sum(finished) / len(finished):.4f}" if finished else ""
    return "; ".join([f"{len(finished)} of {len(written)} runs finished{mean}", *failed])


if __name__ == "__main__":
    main()
