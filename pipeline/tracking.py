"""Logs runs to MLflow; the only file that imports it. Nothing here can touch a number or stop a training.

One experiment per study, one MLflow run per (row, seed), found again by its tag `key`: a run that
resumes goes on in the MLflow run that it began.

    pipeline/python -m pipeline.tracking     logs what an earlier stage could not
"""

import contextlib
import csv
import functools
import json
import os
import platform
import signal
import socket
import subprocess
import time
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

# A server that is away is noticed within seconds; MLflow by itself would try for minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")  # its notes on tables and formats are not for users

import mlflow
import torch
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from safetensors.torch import load_file

from pipeline import figures, inference, metrics, paths, prepared, store
from pipeline.complaints import one_line
from pipeline.config import Row
from pipeline.errors import UserError, command
from pipeline.logbook import LoggedRun, now, tracking_uri, unlogged

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


def serve(pipe: Connection) -> None:
    """The process that logs: does what a stage sends, and answers `close` with what went wrong, or None."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the stage ends it
    log, problem = MlflowLog(), None
    while True:
        try:
            action, *arguments = pipe.recv()
        except EOFError:  # the stage was killed
            action, arguments = "close", []
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
        return one_line(error)[:200] or type(error).__name__
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
            name = f"{run.name} seed {run.seed}"
            run_id = self.client.create_run(self._experiment(run.study), tags=_tags(run), run_name=name).info.run_id
            self.client.log_batch(run_id, params=[Param(key, value) for key, value in flat(run.row, run.seed).items()])
            self.client.log_inputs(run_id, datasets=[_dataset(run)])
        self._open[run.key] = run_id
        self._buffers[run.key] = {}

    def epoch(self, run: LoggedRun, line: dict[str, Any], stamp: int) -> None:
        """Takes a line of curves.csv, and sends those that wait."""
        step = int(line["epoch"])
        values = {key: float(value) for key, value in line.items() if key != "epoch"}
        self._buffers[run.key] |= {(key, step): Metric(key, value, stamp, step) for key, value in values.items()}
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            for key in self._open:
                self._flush(key)
            self._flushed = time.monotonic()

    def end(self, run: LoggedRun, speed: dict[str, float], stamp: int) -> None:
        """Logs all that the run's folder holds, and closes its MLflow run."""
        if run.key not in self._open:
            self.begin(run)
        run_id, result = self._open[run.key], store.result(run.folder)
        with (run.folder / "curves.csv").open(newline="") as file:
            for line in csv.DictReader(file):
                self.epoch(run, line, stamp)
        self._flush(run.key)
        numbers = {key: value for key, value in result.items() if isinstance(value, (int, float))}
        finals = [Metric(key, float(value), stamp, result["epochs"]) for key, value in (numbers | speed).items()]
        self.client.log_batch(run_id, metrics=finals)
        _log_artifacts(self.client, run_id, run)
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
        query = f"attributes.status = 'RUNNING' and tags.home = '{_home()}'"
        for found in self.client.search_runs([self._experiment(study)], query):
            row, key = found.data.tags["row"], found.data.tags["key"]
            if key not in keep and (row == name or not store.is_training(study, row)):
                self.client.set_terminated(found.info.run_id, "KILLED")

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
                self.client.create_experiment(study, artifact_location=place)
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
        raise UserError(f"{tracking_uri()}: {one_line(error)[:200]}") from None
    if not {"study", "row", "seed", "key"} <= tags.keys():
        raise UserError(f"run {run_id}: no training run of this project")
    return tags


def flat(row: Row, seed: int) -> dict[str, str]:
    """A row as MLflow parameters: one per leaf, named by its path."""
    params: dict[str, str] = {"dataset": row.dataset, "seed": str(seed)}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else key, inner)
        else:
            params[prefix] = str(value)

    walk("", row.training())
    return params


def _tags(run: LoggedRun) -> dict[str, str]:
    row = run.row
    return {
        "study": run.study,
        "row": run.name,
        "seed": str(run.seed),
        "stage": "train",
        "key": run.key,
        "home": _home(),
        "sentence": f"each: {row.each}, end: {row.end}, head: {row.head}",
        "data": run.data,
        "code": run.code,
        "mlflow.source.name": f"train@{run.name}",
        **_environment(),
    }


@functools.cache
def _environment() -> dict[str, str]:
    """The tags that all runs of a stage share, looked up once."""
    return {
        "git.dirty": str(bool(_git("status", "--porcelain", "--untracked-files=no"))),
        "mlflow.source.git.commit": _git("rev-parse", "HEAD"),
        "hardware": _hardware(),
        "versions": f"python {platform.python_version()}, torch {torch.__version__}, {platform.platform()}",
    }


def _dataset(run: LoggedRun) -> DatasetInput:
    info = prepared.info(run.prepared)
    profile = json.dumps({"shape": list(info.shape), "classes": len(info.classes), "images": info.counts})
    source = json.dumps({"uri": paths.shown(run.prepared)})
    dataset = Dataset(run.row.dataset, run.data, "local", source, profile=profile)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def _log_artifacts(client: MlflowClient, run_id: str, run: LoggedRun) -> None:
    """Logs a run's figures and tables, and its model unless the run failed."""
    client.log_figure(run_id, figures.curves_figure(run.folder / "curves.csv"), "curves.png")
    for name in ("curves.csv", "result.json"):
        client.log_artifact(run_id, str(run.folder / name))
    if (run.folder / "weights.safetensors").exists():
        images, labels = prepared.read(run.prepared, prepared.TEST)
        counts = metrics.confusion(load_file(run.folder / "logits.safetensors")["logits"], labels)
        info = prepared.info(run.prepared)
        client.log_figure(run_id, figures.confusion_figure(counts, info.classes), "confusion.png")
        # Two images: the exported graph keeps a free batch size only if the example's is over one.
        _log_model(run_id, inference.load(run.row, info, run.folder / "weights.safetensors"), images[:2].float())


def _log_model(run_id: str, model: torch.nn.Module, example: torch.Tensor) -> None:
    with torch.inference_mode():
        logits = model(example).numpy()
    with warnings.catch_warnings(), mlflow.start_run(run_id=run_id):
        warnings.simplefilter("ignore")
        from mlflow import pytorch  # imports Lightning

        pytorch.log_model(
            model,
            name="model",
            signature=infer_signature(example.numpy(), logits),
            input_example=example.numpy(),
            pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", f"mlflow=={mlflow.__version__}"],
        )


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=paths.ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def _home() -> str:
    return f"{socket.gethostname()}:{paths.HOME}".replace("'", "")


def _hardware() -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} × {torch.cuda.get_device_name()}"
    names = [
        line.split(":", 1)[1].strip() for line in _read("/proc/cpuinfo").splitlines() if line.startswith("model name")
    ]
    return f"{os.cpu_count()} cores, {names[0] if names else platform.processor() or platform.machine()}"


def _read(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""


@command
def main() -> None:
    """Logs what an earlier stage could not."""
    log, done = MlflowLog(), 0
    for run in unlogged([]):
        if problem := attempt(log.end, run, {}, now()):
            raise UserError(f"{tracking_uri()}: {problem}; {done} runs were logged before")
        done += 1
    print(f"{done} runs logged to {tracking_uri()}")


if __name__ == "__main__":
    main()
