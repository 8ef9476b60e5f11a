"""Logs runs to MLflow, in a process of its own. Nothing here can touch a number or stop a training.

One experiment per study, one MLflow run per (row, seed), found again by its tag `key`: a run that
resumes goes on in the MLflow run that it began.

    pipeline/python -m pipeline.tracking                   logs what an earlier stage could not
    pipeline/python -m pipeline.tracking --links ADDRESS   prints where a server shows each study
"""

import contextlib
import csv
import os
import queue
import signal
import time
from multiprocessing.connection import Connection
from typing import Any

# A server that is away is noticed within seconds; MLflow by itself would try for minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")  # its notes on tables and formats are not for users

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from pipeline import paths
from pipeline.errors import UserError
from pipeline.running import cost, store
from pipeline.running.logbook import (
    LoggedRun,
    LoggedTrial,
    mark_study,
    tracking_uri,
)
from pipeline.text import one_line, redact
from pipeline.tracking import attachments, labels, summary, tuning_log

FLUSH_SECONDS = 2.0
"""Metrics are sent in batches this far apart: a call costs milliseconds, through a server tens of them."""


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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the stage ends it
    log, problem = MlflowLog(), None
    while True:
        action, *arguments = inbox.get()
        if problem is None:
            problem = attempt(getattr(log, action), *arguments)
        if action == "close":
            break
    try:
        pipe.send(problem)
    except OSError:
        return


def attempt(action: Any, *arguments: Any) -> str | None:
    """What went wrong with an action, in one line; None where nothing did."""
    try:
        action(*arguments)
    # Whatever a tracking server answers, or does not, must not end a training.
    except Exception as error:
        return redact(one_line(error))[:200] or type(error).__name__
    return None


class MlflowLog:
    """Logs runs to the present tracking store. Its methods are what `logbook.Tracker` sends."""

    def __init__(self) -> None:
        self._client: MlflowClient | None = None
        self._experiments: dict[str, str] = {}
        self._open: dict[str, str] = {}
        self._buffers: dict[str, dict[tuple[str, int], Metric]] = {}
        self._steps: dict[str, set[int]] = {}  # epochs that MLflow has, also from before a kill
        self._flushed = 0.0

    @property
    def client(self) -> MlflowClient:
        """A client of the tracking store, connected at its first use."""
        self._client = self._client or connect()
        return self._client

    def begin(self, run: LoggedRun) -> None:
        """Continues the run's MLflow run that a kill left open, or makes one."""
        going = [found for found in self._find(run) if found.info.status in ("RUNNING", "KILLED")]
        if going:
            run_id = going[0].info.run_id
            self.client.update_run(run_id, status="RUNNING")
            self._steps[run.key] = {metric.step for metric in self.client.get_metric_history(run_id, "lr")}
        else:
            self._steps[run.key] = set()
            name, tags = f"{run.name} seed {run.seed}", labels.tags(run)
            run_id = self.client.create_run(self._experiment(run.study), tags=tags, run_name=name).info.run_id
        # Again for a run that goes on: the server may have gone away after making it.
        params = labels.params(run.row) | {"seed": str(run.seed)}
        self.client.log_batch(run_id, params=[Param(key, value) for key, value in params.items()])
        self.client.log_inputs(run_id, datasets=[attachments.dataset(run)])
        self._open[run.key] = run_id
        self._buffers[run.key] = {}

    def epoch(self, run: LoggedRun, line: dict[str, Any], stamp: int) -> None:
        """Takes a line of curves.csv, and sends those that wait."""
        step = int(line["epoch"])
        # The UI compares runs by the metric that came first.
        names = sorted(line.keys() - {"epoch"}, key=lambda name: (not name.startswith("val_"), name))
        values = {name: float(line[name]) for name in names}
        self._buffers[run.key] |= {(key, step): Metric(key, value, stamp, step) for key, value in values.items()}
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            for key in self._open:
                self._flush(key)
            self._flushed = time.monotonic()

    def end(self, run: LoggedRun, stamp: int) -> None:
        """Logs all that the run's folder holds, and closes its MLflow run."""
        if run.key not in self._open:
            self.begin(run)
        run_id, result = self._open[run.key], store.result(run.folder)
        spent = cost.read(run.folder)
        with (run.folder / "curves.csv").open(newline="") as file:
            for line in csv.DictReader(file):
                seconds = {"epoch_seconds": spent.epochs[line["epoch"]]} if line["epoch"] in spent.epochs else {}
                self.epoch(run, line | seconds, stamp)
        self._flush(run.key)
        numbers = {key: value for key, value in result.items() if isinstance(value, (int, float))} | spent.measured
        # Step 0, which is no epoch: for a metric of one step that is not 0 the UI draws a line of one point.
        finals = [Metric(key, float(value), stamp, 0) for key, value in numbers.items()]
        machine = [RunTag(key, value) for key, value in spent.machine.items()]
        self.client.log_batch(run_id, metrics=finals, tags=machine)
        attachments.attach(self.client, run_id, run)
        if result["status"] == "failed":
            self.client.set_tag(run_id, "reason", result["reason"])
        self.client.set_terminated(run_id, "FINISHED" if result["status"] == "finished" else "FAILED")
        for old in self._find(run):
            if old.info.run_id != run_id:  # the same run, trained afresh, which replaces it
                self.client.delete_run(old.info.run_id)
        del self._open[run.key]
        run.mark("logged")

    def sweep(self, study: str, name: str, keep: set[str]) -> None:
        """Marks as killed what says that it is running and is not. The caller holds the lock of row `name`."""
        query = f"attributes.status = 'RUNNING' and tags.stage = 'train' and tags.home = '{labels.home()}'"
        for found in self.client.search_runs([self._experiment(study)], query):
            row, key = found.data.tags["row"], found.data.tags["key"]
            if key not in keep and (row == name or not store.is_training(study, row)):
                self.client.set_terminated(found.info.run_id, "KILLED")

    def trial(self, trial: LoggedTrial, stamp: int) -> None:
        """Logs a finished trial as a child of the run of its tuning."""
        tuning_log.log(self.client, self._experiment(trial.study), trial, stamp)
        trial.mark("logged")

    def summarize(self, study: str) -> None:
        """Logs what the report stage found."""
        summary.log(self.client, self._experiment(study), study)
        mark_study(study, "logged")

    def close(self) -> None:
        """Marks the runs that were not ended."""
        for key, run_id in self._open.items():
            self._flush(key)
            self.client.set_terminated(run_id, "KILLED")

    def _flush(self, key: str) -> None:
        """Sends the metrics of a run that wait, but for epochs that MLflow has."""
        fresh = [metric for metric in self._buffers[key].values() if metric.step not in self._steps[key]]
        for start in range(0, len(fresh), 1000):
            self.client.log_batch(self._open[key], metrics=fresh[start : start + 1000])
        self._steps[key] |= {metric.step for metric in fresh}
        self._buffers[key].clear()

    def _find(self, run: LoggedRun) -> list[Run]:
        """The MLflow runs of a row with a run's key, newest first."""
        query = f"tags.key = '{run.key}' and tags.row = '{run.name}'"
        return list(self.client.search_runs([self._experiment(run.study)], query))

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


def run_tags(run_id: str) -> dict[str, str]:
    """The tags of a training run, among them `study`, `row`, `seed` and `key`.

    Raises:
        UserError: the present tracking store has no such run, or cannot be reached.
    """
    try:
        tags = connect().get_run(run_id).data.tags
    except Exception as error:  # of whatever a tracking server answers, or does not
        raise UserError(redact(f"{tracking_uri()}: {one_line(error)}")[:250]) from None
    if not {"study", "row", "seed", "key"} <= tags.keys():
        raise UserError(f"run {run_id}: no training run of this project")
    return tags
