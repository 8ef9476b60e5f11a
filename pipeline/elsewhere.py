"""What a bundle runs on a machine that has neither DVC nor MLflow: trains what is missing and writes results.tar.

    python vgg2.pyz --minutes 10 --jobs 8

The most wanted runs come first: the first seed of all rows, then the second. Stopped, killed or out of time, it goes on
when it is started again. Needs torch, pytorch-lightning, safetensors, numpy and pydantic; of a bundle that carries an
archive of pictures, pillow and rich too.
"""

if __name__ == "__main__":
    from pipeline.running import forkserver

    forkserver.start()  # first: it imports what workers need while this process imports what it needs

import argparse
import functools
import importlib.util
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.errors import UserError, command, positive
from pipeline.images import prepared
from pipeline.params import planned
from pipeline.running import code, cost, parcels, store, workers
from pipeline.running.rows import check_machine, describe, outcome
from pipeline.running.slots import fitting
from pipeline.running.workers import Task
from pipeline.storage import write_json

REWRITE = 30.0
"""Seconds after which results.tar is written again while there are new results."""

REWRITE_SHARE = 20
"""And this many times as long as it takes to write it."""

MOST_MINUTES = 10**6
"""Two years; a timer of the system takes not much more."""

READERS = {"PIL": "pillow", "rich": "rich"}
"""Packages that read pictures, by the names of their modules; who carries prepared images needs none."""


class Over(Exception):
    """The time is up."""


@contextmanager
def limited(minutes: int | None) -> Iterator[None]:
    """Raises Over after so many minutes, or when a scheduler says that its own limit is near."""

    def stop(*_: object) -> None:
        raise Over

    signal.signal(signal.SIGALRM, stop)
    before = signal.signal(signal.SIGTERM, stop)
    signal.setitimer(signal.ITIMER_REAL, 60 * min(minutes, MOST_MINUTES) if minutes else 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGTERM, before)


def tasks(runs: list[tuple[str, int, str]]) -> dict[Path, tuple[str, Task]]:
    """What to train, by the folders of runs.

    Raises:
        UserError: this is not the code, or these not the images, that the bundle was made of.
    """
    found: dict[Path, tuple[str, Task]] = {}
    digest, refused = functools.cache(prepared.digest), set[str]()
    for name, seed, key in runs:
        plan = planned.read_row(name)
        if code.of_run(planned.read_tuned(name).row if planned.is_tuned(name) else plan.row) != plan.code:
            raise UserError(f"{paths.ROOT}: not the code that the bundle was made of; unpack it anew")
        data = images(plan.row.dataset)
        run = next(run for run in describe(name, plan.row, digest(data), plan.code) if run.seed == seed)
        if run.key != key:
            hint = "unpack it anew, or, where pictures are decoded otherwise here, bundle with --pixels"
            raise UserError(f"{data}: not the images that the bundle was made of; {hint}")
        try:
            check_machine(planned.key(name), plan.row)
        except UserError as error:
            if name not in refused:
                print(f"{name}: not trained here: {error}", file=sys.stderr)
            refused.add(name)
            continue
        write_json(run.folder / store.SPEC, store.run_spec(plan.row, seed, run.data, plan.code))
        found[run.folder] = f"{name} seed {seed}", Task(plan.row, seed, data, run.folder)
    return found


def images(dataset: str) -> Path:
    """Where the images of a data set lie; those that came as an archive are prepared first.

    Raises:
        UserError: what that needs is missing here.
    """
    folder = paths.prepared(dataset)
    if not folder.exists():
        missing = [package for name, package in READERS.items() if importlib.util.find_spec(name) is None]
        if missing:
            hint = f"{', '.join(missing)}; run: {sys.executable} -m pip install {' '.join(missing)}"
            raise UserError(f"{dataset}: its pictures are read here, which needs {hint}")
        if subprocess.run([sys.executable, "-m", "pipeline.prepare", dataset], check=False).returncode:
            raise UserError(f"{dataset}: its images are not prepared, see above")
    return folder


def train(wanted: dict[Path, tuple[str, Task]], jobs: int | None, target: Path, problems: list[str]) -> None:
    """Trains what is not finished, and writes the file of results now and then.

    Args:
        wanted: what to train, as `tasks` gives it.
        jobs: runs side by side; None for one per core or GPU.
        target: the file of results.
        problems: takes why runs have no result, a line each, also of a training that is stopped.
    """
    rewrite, unsaved = time.monotonic() + REWRITE, False
    reports: dict[Path, list[dict[str, Any]]] = {}
    left = [task for folder, (_, task) in wanted.items() if store.sound(folder) is None]
    done = len(wanted) - len(left)
    for folder, (_, task) in wanted.items():
        if task not in left and not (folder / cost.FILE).exists():  # killed between its result and its cost
            cost.write(folder, task.row, [], jobs or fitting(task.row))
    with closing(workers.do_all(left, jobs)) as events:
        for event in events:
            folder = event.task.folder
            who = wanted[folder][0]
            if event.kind == "start":
                reports[folder] = []
            elif event.kind == "report":
                reports[folder].append(event.content)
            elif event.kind == "end":
                done += 1
                cost.write(folder, event.task.row, reports.pop(folder), jobs or fitting(event.task.row))
                print(f"{done} of {len(wanted)}  {who}: {outcome(store.result(folder))}", flush=True)
                unsaved = True
            elif event.kind in ("crash", "killed"):
                problems.append(f"{who}: {workers.last_words(event)}")
                print(problems[-1], file=sys.stderr)
            if unsaved and (began := time.monotonic()) > rewrite:
                save(wanted, target)
                now = time.monotonic()
                rewrite, unsaved = now + max(REWRITE, REWRITE_SHARE * (now - began)), False


def save(wanted: dict[Path, tuple[str, Task]], target: Path) -> int:
    """Writes all that is finished; how many runs that is."""
    finished = [folder for folder in wanted if store.sound(folder) is not None]
    parcels.write(target, finished)
    return len(finished)


@command
def main() -> None:
    parser = argparse.ArgumentParser(description="Trains the runs of a bundle, the most wanted first")
    parser.add_argument("--minutes", type=positive, help="stop after so long; without it, when all is trained")
    parser.add_argument("--jobs", type=positive, help="runs side by side; one per core or GPU without it")
    parser.add_argument("--output", type=Path, default=Path("results.tar"), help="the file to write")
    arguments = parser.parse_args()
    if arguments.output.is_dir():
        parser.error(f"argument --output: found '{arguments.output}', which is a folder; the name of a file")
    manifest = json.loads((paths.ROOT / parcels.MANIFEST).read_bytes())
    problems: list[str] = []
    wanted: dict[Path, tuple[str, Task]] = {}
    try:
        with limited(arguments.minutes):
            wanted = tasks([tuple(run) for run in manifest["runs"]])
            save(wanted, arguments.output)  # what cannot be written is known before anything trains
            train(wanted, arguments.jobs, arguments.output, problems)
    except (Over, KeyboardInterrupt):
        print("stopped; started again, it goes on")
        if not wanted:  # while images were prepared: an older file of results stays
            return
    finished = save(wanted, arguments.output)
    output = arguments.output
    print(f"{output}: {finished} of {len(manifest['runs'])} runs; at home: make collect FILE={output.name}")
    if problems:
        raise UserError(f"{len(problems)} runs have no result, see above")


if __name__ == "__main__":
    main()
