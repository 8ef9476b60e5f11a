"""The runs of some rows through one pool of workers, and each row's outputs as soon as its last run is over.

Runs that the run store holds are picked up, interrupted ones resume, the rest trains. A run that
diverges is a result like any other; a run that crashes fails its row and loses nothing: the runs
that are finished, and the states of those that are not, wait for the next start.
"""

import functools
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import UserError
from pipeline.images import prepared
from pipeline.params.planned import PlannedRow, key
from pipeline.params.rows import Row
from pipeline.progress import StageProgress
from pipeline.running import cost, forkserver, store, workers
from pipeline.running.logbook import LoggedRun, unlogged
from pipeline.running.rows import Training, check_machine, outcome
from pipeline.running.workers import Event, Events, Task
from pipeline.text import one_line


class Log(Protocol):
    """What is told of runs while they train; `tracking.tracker` is one."""

    def begin(self, run: LoggedRun) -> None:
        """A run starts or goes on."""

    def epoch(self, run: LoggedRun, line: dict[str, Any]) -> None:
        """A run has finished an epoch."""

    def end(self, run: LoggedRun) -> None:
        """A run is over."""

    def sweep(self, study: str, name: str, keep: set[str]) -> None:
        """No run of a row goes on but those with a key in `keep`."""


class Engine(Protocol):
    """Where tasks are done.

    Attributes:
        here: whether that is this machine, so that what they cost can be told of it.
    """

    here: bool

    def check(self, name: str, row: Row) -> None:
        """Whether a row can be trained there.

        Raises:
            UserError: it cannot.
        """

    def do_all(self, tasks: Iterable[Task]) -> Events:
        """Does all tasks side by side, and says what happens; a crash of one stops no other."""
        ...


class ThisMachine:
    """The cores and GPUs of this machine."""

    here = True

    def check(self, name: str, row: Row) -> None:
        forkserver.start()  # it imports what workers need while this process checks
        check_machine(key(name), row)

    def do_all(self, tasks: Iterable[Task]) -> Events:
        return workers.do_all(tasks)


def train_rows(rows: Mapping[str, PlannedRow], engine: Engine, tracker: Log) -> dict[str, str]:
    """Trains what is missing of rows and writes their outputs; rows that another process trains come last.

    Returns:
        Why rows have no outputs, in a line each, by their names.
    """
    busy: list[str] = []
    with ExitStack() as stack:
        locks: dict[str, store.Lock] = {}
        for name, planned in rows.items():
            try:
                locks[name] = stack.enter_context(store.Lock(store.row_lock(planned.row.study, name), wait=False))
            except store.Locked:
                busy.append(name)
        problems = _train_locked({name: rows[name] for name in locks}, engine, tracker, lambda name: locks[name].free())
    for name in busy:
        with store.held(store.row_lock(rows[name].row.study, name), f"training row {name}"):
            problems |= _train_locked({name: rows[name]}, engine, tracker)
    return problems


def _train_locked(
    rows: Mapping[str, PlannedRow], engine: Engine, tracker: Log, free: Callable[[str], None] = lambda name: None
) -> dict[str, str]:
    """`train_rows`, for a caller that holds the rows' locks; `free` is told each row that is over."""
    trainings: dict[str, Training] = {}
    problems: dict[str, str] = {}
    data_digest = functools.cache(prepared.digest)
    for name, planned in rows.items():
        try:
            trainings[name] = Training(name, planned.row, planned.code, data_digest, engine.check)
        except UserError as error:
            problems[name] = str(error)
            if len(rows) > 1:  # the others may take days
                print(f"{name}: not trained: {error}", file=sys.stderr)
    for name, training in trainings.items():
        if training.missing:
            tracker.sweep(training.row.study, name, {run.key for run in training.missing})
    missing = {run.key for training in trainings.values() for run in training.missing}
    for run in unlogged([run for one in trainings.values() for run in one.runs if run.key not in missing]):
        tracker.end(run)
    return problems | _train_missing(trainings, engine, tracker, free)


def _train_missing(
    trainings: Mapping[str, Training], engine: Engine, tracker: Log, free: Callable[[str], None]
) -> dict[str, str]:
    """Trains all runs that are missing, and writes each row as soon as its last one is over."""
    runs: dict[Path, list[LoggedRun]] = defaultdict(list)  # rows that are the same network share their runs
    for training in trainings.values():
        for run in training.missing:
            runs[run.folder].append(run)
    steps = {folder: run.row.epochs for folder, (run, *_) in runs.items()}
    title = next(iter(trainings)) if len(trainings) == 1 else f"row 1 of {len(trainings)}"
    with StageProgress(title, steps, "epochs") as progress:
        watch = _Watch(trainings, tracker, progress, engine.here, free)
        tasks = [Task(run.row, run.seed, run.prepared, folder) for folder, (run, *_) in runs.items()]
        with closing(engine.do_all(tasks)) as events:
            for event in events:
                watch.see(event, runs[event.task.folder])
    return watch.problems


class _Watch:
    """Sees runs train: shows and logs them, and writes the rows that are done.

    Attributes:
        problems: why rows have no outputs.
    """

    def __init__(
        self,
        trainings: Mapping[str, Training],
        tracker: Log,
        progress: StageProgress,
        here: bool,
        free: Callable[[str], None],
    ) -> None:
        self.problems: dict[str, str] = {}
        self._free = free
        self._trainings, self._tracker, self._progress, self._here = trainings, tracker, progress, here
        self._left = {name: len(training.missing) for name, training in trainings.items()}
        self._crashes: dict[str, list[str]] = defaultdict(list)
        self._several = len(trainings) > 1
        self._reports: dict[Path, list[dict[str, Any]]] = {}  # of the runs that train at this moment
        self._beside: dict[Path, int] = {}  # how many trained at once at most, since a run began
        for name, left in self._left.items():
            if not left:
                self._finish(name)

    def see(self, event: Event, runs: list[LoggedRun]) -> None:
        """Takes what happened to a run, and the rows that it is a run of."""
        run, folder = runs[0], event.task.folder
        who = run.title
        if event.kind == "lost":
            self._progress.say(f"{who}: {event.content}; starts again")
        elif event.kind == "start":
            self._reports[folder] = []
            self._beside[folder] = 0
            for other in self._reports:
                self._beside[other] = max(self._beside[other], len(self._reports))
            self._tracker.begin(run)
        elif event.kind == "report":
            line = event.content["epoch"]
            self._reports[folder].append(event.content)
            self._progress.step(folder, int(line["epoch"]), f"{who} val {line['val_accuracy']:.3f}")
            self._tracker.epoch(run, line | {"epoch_seconds": event.content["seconds"]})
        elif event.kind == "end":
            reports = self._reports.pop(folder)
            try:
                result = store.result(folder)
                if self._here and reports:
                    cost.write(folder, run.row, reports, self._beside[folder])
            except (UserError, OSError) as error:  # of a disk or a network; others may train for days yet
                self._crashed(runs, one_line(error))
                return
            # Of many rows, a line each is enough to watch; of a failed run the reason stays.
            self._progress.end(folder, f"{who}: {outcome(result)}", not self._several or result["status"] == "failed")
            for twin in runs:
                self._tracker.end(twin)
            self._over(runs)
        else:
            self._reports.pop(folder, None)
            self._crashed(runs, workers.last_words(event))

    def _crashed(self, runs: list[LoggedRun], why: str) -> None:
        self._progress.end(runs[0].folder, f"{runs[0].title}: crashed: {why}")
        for twin in runs:
            self._crashes[twin.name].append(f"seed {twin.seed}: {why}")
        self._over(runs)

    def _over(self, runs: list[LoggedRun]) -> None:
        for run in runs:
            self._left[run.name] -= 1
            if not self._left[run.name]:
                self._finish(run.name)

    def _finish(self, name: str) -> None:
        if crashes := self._crashes[name]:
            total = len(self._trainings[name].runs)
            self.problems[name] = f"{name}: {len(crashes)} of {total} runs crashed; the first: {crashes[0]}"
        else:
            try:
                self._trainings[name].write()
            except (UserError, OSError) as error:
                self.problems[name] = f"{name}: not written: {one_line(error)}"
        self._free(name)
        if self._several:
            over, rows = sum(not left for left in self._left.values()), len(self._left)
            self._progress.rename(f"row {min(over + 1, rows)} of {rows}")
