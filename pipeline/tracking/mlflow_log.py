"""Logs runs to MLflow, in a process of its own. Nothing here can touch a number or stop a training.

One experiment per study, one MLflow run per (row, seed), found again by its tag `key`: a run that
resumes goes on in the MLflow run that it began.
"""

import contextlib
import csv
import functools
import os
import queue
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

# A server that is away is noticed within seconds; MLflow by itself would try for minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")  # its notes on tables and formats are not for users

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from pipeline import paths
from pipeline.errors import UserError
from pipeline.params import facts
from pipeline.running import cost, store
from pipeline.running.logbook import (
    LoggedRun,
    LoggedTrial,
    mark_study,
    tracking_uri,
)
from pipeline.text import one_line, redact
from pipeline.tracking import attachments, batches, labels, registry, summary, tuning_log

FLUSH_SECONDS = 2.0
"""Metrics are sent in batches at least this far apart."""

FLUSH_SHARE = 50
"""And this many times as far apart as it takes to send them, so that a slow server is asked less often."""


AGAIN_SECONDS = 60.0
"""A store that did not answer is asked again this much later at the earliest: each time may take seconds."""

WHOLE = ("end", "trial", "summarize")
"""Log all that there is of what they are about, also what was missed of it."""


def connect() -> MlflowClient:
    """A client of the tracking store; the SQLite store is made once, under a lock."""
    uri = tracking_uri()
    mlflow.set_tracking_uri(uri)
    if not uri.startswith("sqlite"):
        return MlflowClient(uri)
    paths.MLFLOW.mkdir(parents=True, exist_ok=True)
    # A client makes the tables of a new database; processes that meet it at once would all try.
    with store.Lock("mlflow", wait=True):
        return MlflowClient(uri)


def serve(inbox: "queue.SimpleQueue[tuple[Any, ...]]", pipe: Connection) -> None:
    """The process that logs: does what a stage has sent, and answers `close` with what went wrong, or None."""
    work = Work()
    while True:
        what, action, *arguments = inbox.get()
        work.do(what, action, *arguments)
        if action == "close":
            break
    with contextlib.suppress(OSError):
        pipe.send(work.problem)


class Work:
    """Logs one thing after the other. What fails costs itself alone; a store that does not answer, all that comes until
    it does again."""

    def __init__(self) -> None:
        self.away = False
        self._again = 0.0
        self._log = MlflowLog()
        self._problems: dict[str, str] = {}  # of what failed by itself, of which no more is logged
        self._missed: dict[str, str] = {}  # of what came while the store was away

    def do(self, what: str, action: str, *arguments: Any) -> bool:
        """Whether it was done: a method of MlflowLog, for the sake of `what`, of which nothing failed before."""
        if self.away and time.monotonic() >= self._again:
            self._ask()
        if self.away:
            self._missed.setdefault(what, next(iter(self._missed.values())))
            return False
        if what in self._problems:
            return False
        problem = _attempt(getattr(self._log, action), *arguments)
        if problem:
            self._ask()
            (self._missed if self.away else self._problems)[what] = problem
        elif action in WHOLE:
            self._missed.pop(what, None)
        return problem is None

    def _ask(self) -> None:
        self.away = _attempt(self._log.ask) is not None
        self._again = time.monotonic() + AGAIN_SECONDS

    @property
    def problem(self) -> str | None:
        """What went wrong, in one line; None where nothing did."""
        if self._missed:
            return next(iter(self._missed.values()))
        if not self._problems:
            return None
        (what, problem), *others = self._problems.items()
        return f"{what}: {problem}{f', and {len(others)} more' if others else ''}"


def _attempt(action: Any, *arguments: Any) -> str | None:
    """What went wrong with an action, in one line; None where nothing did."""
    try:
        action(*arguments)
    # Whatever a tracking server answers, or does not, must not end a training.
    except Exception as error:
        return redact(one_line(error))[:200] or type(error).__name__
    return None


@dataclass
class _Going:
    """An MLflow run that is being logged.

    Args:
        run_id: of it.
        place: where it keeps its files.
        others: runs of the same key, which it replaces once it is whole.
        steps: epochs that MLflow has, also from before a kill.
        waiting: metrics that are to be sent, by name and epoch.
    """

    run_id: str
    place: str | None
    others: list[str]
    steps: set[int]
    waiting: dict[tuple[str, int], Metric] = field(default_factory=dict)

    def take(self, line: dict[str, Any], stamp: int) -> None:
        """Lets a line of curves.csv wait."""
        step = int(line["epoch"])
        # The UI compares runs by the metric that came first.
        names = sorted(line.keys() - {"epoch"}, key=lambda name: (not name.startswith("val_"), name))
        self.waiting |= {(name, step): Metric(name, float(line[name]), stamp, step) for name in names}

    def send(self, client: MlflowClient, finals: Sequence[Metric] = (), tags: Sequence[RunTag] = ()) -> None:
        """Sends the metrics that wait, but for epochs that MLflow has, and what else is to be known of the run. They
        wait on where the server does not answer."""
        fresh = [metric for metric in self.waiting.values() if metric.step not in self.steps]
        batches.log(client, self.run_id, [*fresh, *finals], tags=tags)
        self.steps |= {metric.step for metric in fresh}
        self.waiting.clear()


class MlflowLog:
    """Logs runs to the present tracking store. Its methods are what `tracker.Tracker` sends."""

    def __init__(self) -> None:
        self._client: MlflowClient | None = None
        self._experiments: dict[str, str] = {}
        self._open: dict[str, _Going] = {}
        self._next = 0.0
        self._writer = registry.Writer()
        self._images = functools.cache(lambda name, digest: store.checked_data(name, {"it": digest}))

    @property
    def client(self) -> MlflowClient:
        """A client of the tracking store, connected at its first use."""
        self._client = self._client or connect()
        return self._client

    def ask(self) -> None:
        """Asks the tracking store something small, to see whether it answers."""
        self.client.search_experiments(max_results=1)

    def begin(self, run: LoggedRun) -> None:
        """Continues the run's MLflow run that a kill left open, or makes one."""
        found = self._find(run)
        cut = next((one for one in found if one.info.status in ("RUNNING", "KILLED")), None)
        steps: set[int] = set()
        if cut:
            self.client.update_run(cut.info.run_id, status="RUNNING")
            steps = {metric.step for metric in self.client.get_metric_history(cut.info.run_id, "lr")}
            for half in cut.outputs.model_outputs if cut.outputs else []:
                self.client.delete_logged_model(half.model_id)
        its = cut or self.client.create_run(self._experiment(run.study), tags=labels.tags(run), run_name=run.title)
        # Again for a run that goes on: the server may have gone away after making it.
        batches.log(self.client, its.info.run_id, params=[Param(*each) for each in _params(run).items()])
        self.client.log_inputs(its.info.run_id, datasets=[attachments.dataset(run)])
        others = [one.info.run_id for one in found if one is not cut]
        self._open[run.key] = _Going(its.info.run_id, its.info.artifact_uri, others, steps)
        self._next = max(self._next, time.monotonic() + FLUSH_SECONDS)

    def epoch(self, run: LoggedRun, line: dict[str, Any], stamp: int) -> None:
        """Takes a line of curves.csv, and now and then sends those that wait."""
        if run.key not in self._open:  # the store was away when it began
            self.begin(run)
        self._open[run.key].take(line, stamp)
        before = time.monotonic()
        if before >= self._next:
            for key, going in self._open.items():
                # What fails of another run waits for that run's own next line.
                with contextlib.nullcontext() if key == run.key else contextlib.suppress(Exception):
                    going.send(self.client)
            now = time.monotonic()
            self._next = now + max(FLUSH_SECONDS, FLUSH_SHARE * (now - before))

    def end(self, run: LoggedRun, stamp: int) -> None:
        """Logs all that the run's folder holds, and closes its MLflow run.

        Raises:
            UserError: its images are not here any more, or others.
        """
        self._images(run.row.dataset, run.data)
        with store.Lock(f"{run.key}.log", wait=True):  # two processes may have found it pending
            if run.logged:
                self._open.pop(run.key, None)
            else:
                self._end(run, stamp)

    def _end(self, run: LoggedRun, stamp: int) -> None:
        if run.key not in self._open:
            self.begin(run)
        going, result = self._open[run.key], store.result(run.folder)
        spent = cost.read(run.folder)
        with (run.folder / "curves.csv").open(newline="") as file:
            for line in csv.DictReader(file):
                seconds = {"epoch_seconds": spent.epochs[line["epoch"]]} if line["epoch"] in spent.epochs else {}
                going.take(line | seconds, stamp)
        model = None
        if attachments.has_network(run):
            model = registry.make_model(self.client, self._experiment(run.study), going.run_id, _params(run))
        numbers = {key: value for key, value in result.items() if isinstance(value, (int, float))} | spent.measured
        # Step 0, which is no epoch: for a metric of one step that is not 0 the UI draws a line of one point.
        of_model = model.model_id if model else None
        finals = [Metric(key, float(value), stamp, 0, model_id=of_model) for key, value in numbers.items()]
        tags = spent.machine | ({"reason": result["reason"]} if result["status"] == "failed" else {})
        going.send(self.client, finals, [RunTag(*tag) for tag in tags.items()])
        attachments.attach(going.place, run)
        if model:
            attachments.attach_network(self.client, self._writer, model, run)
        self.client.set_terminated(going.run_id, "FINISHED" if result["status"] == "finished" else "FAILED")
        for other in going.others:  # the same run, trained afresh, which replaces it
            self.client.delete_run(other)
        del self._open[run.key]
        run.mark("logged")

    def sweep(self, study: str, name: str, keep: set[str]) -> None:
        """Marks as killed what says that it is running and is not. The caller holds the lock of row `name`."""
        query = f"attributes.status = 'RUNNING' and tags.stage = 'train' and tags.home = '{labels.home()}'"
        for found in batches.search(self.client, self._experiment(study), query):
            row, key = found.data.tags["row"], found.data.tags["key"]
            if key not in keep and (row == name or not store.is_training(study, row)):
                self.client.set_terminated(found.info.run_id, "KILLED")

    def trial(self, trial: LoggedTrial, stamp: int) -> None:
        """Logs a finished trial as a child of the run of its tuning."""
        tuning_log.log(self.client, self._experiment(trial.study), trial, stamp)
        trial.mark("logged")

    def summarize(self, study: str) -> None:
        """Logs what the report stage found."""
        with facts.kept():
            summary.log(self.client, self._experiment(study), study)
        mark_study(study, "logged")

    def close(self) -> None:
        """Marks the runs that were not ended."""
        for going in self._open.values():
            going.send(self.client)
            self.client.set_terminated(going.run_id, "KILLED")

    def _find(self, run: LoggedRun) -> list[Run]:
        """The MLflow runs of a row with a run's key, newest first; other checkouts may log to the same server."""
        query = f"tags.key = '{run.key}' and tags.row = '{run.name}' and tags.home = '{labels.home()}'"
        return batches.search(self.client, self._experiment(run.study), query)

    def _experiment(self, study: str) -> str:
        """The id of a study's experiment, which is made if it is not there."""
        if study not in self._experiments:
            place = (paths.MLFLOW / "artifacts" / study).as_uri() if tracking_uri().startswith("sqlite") else None
            with contextlib.suppress(MlflowException):  # it exists
                made = self.client.create_experiment(study, artifact_location=place)
                summary.introduce(self.client, made, study)
            found = self.client.get_experiment_by_name(study)
            if found is None:
                raise MlflowException(f"no experiment {study}")
            self._experiments[study] = found.experiment_id
        return self._experiments[study]


def _params(run: LoggedRun) -> dict[str, str]:
    return labels.params(run.row) | {"seed": str(run.seed)}


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Turns whatever a tracking store answers that is no answer into one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(redact(f"{tracking_uri()}: {one_line(error)}")[:250]) from None


def run_tags(run_id: str) -> dict[str, str]:
    """The tags of a training run, among them `study`, `row`, `seed` and `key`.

    Raises:
        UserError: the present tracking store has no such run, or cannot be reached.
    """
    with answering():
        tags = connect().get_run(run_id).data.tags
    if not {"study", "row", "seed", "key"} <= tags.keys():
        raise UserError(f"run {run_id}: no training run of this project")
    return tags
