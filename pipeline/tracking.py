"""Logs runs to MLflow; the only file that imports it. Nothing here can touch a number or stop a training.

One experiment per study, one MLflow run per (row, seed), found again by its tag `key`: a run that
resumes goes on in the MLflow run that it began. What could not be logged, because a server was away,
stays marked in the run store and is logged from the run's files at the next start of a stage, or by

    pipeline/python -m pipeline.tracking
"""

import csv
import json
import os
import platform
import queue
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# A server that is away is noticed within seconds; MLflow would try for minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")  # its notes on tables and formats are not for users

import mlflow
import torch
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from safetensors.torch import load_file

from pipeline import figures, inference, metrics, paths, prepared, store
from pipeline.config import Row
from pipeline.errors import UserError, command
from pipeline.storage import read_json, write_json

FLUSH_SECONDS = 2.0
"""Metrics are sent in batches this far apart: a call costs milliseconds, through a server tens of them."""


@dataclass
class Logged:
    """A run as MLflow shall know it.

    Args:
        study, name: of the row.
        row: what is trained.
        seed: of the run.
        key: of the run in the store.
        data, code: digests.
    """

    study: str
    name: str
    row: Row
    seed: int
    key: str
    data: str
    code: str
    run_id: str | None = None
    buffer: list[Metric] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return store.run_folder(self.key)

    @property
    def prepared(self) -> Path:
        return paths.prepared(self.row.dataset)


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or an SQLite file in the project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{paths.MLFLOW / 'mlflow.db'}"


def connect() -> MlflowClient:
    """A client of the tracking store; the SQLite store is made once, under a lock."""
    uri = tracking_uri()
    mlflow.set_tracking_uri(uri)
    client = MlflowClient(uri)
    if uri.startswith("sqlite"):
        paths.MLFLOW.mkdir(parents=True, exist_ok=True)
        # Processes that meet a new database at once would all create its tables.
        with store.Lock("mlflow", wait=True):
            client.search_experiments(max_results=1)
    return client


class Tracker:
    """Logs the runs of a stage from a thread of its own, so that a slow server slows no training.

    A context manager: on leaving it waits until all is logged. After the first failure it logs nothing
    more, and says so once.
    """

    def __init__(self) -> None:
        self.problem: str | None = None
        self._queue: queue.Queue[tuple[Callable[..., None], tuple[Any, ...]] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="tracking")
        self._experiments: dict[str, str] = {}
        self._open: list[Logged] = []
        self._flushed = 0.0

    def __enter__(self) -> "Tracker":
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._queue.put(None)
        self._thread.join()
        if self.problem:
            print(
                f"not logged to {tracking_uri()}: {self.problem}; results are safe, and are logged at the next"
                " start of a stage or by: pipeline/python -m pipeline.tracking",
                file=sys.stderr,
            )

    def begin(self, run: Logged) -> None:
        """A run starts or goes on."""
        _mark(run, "pending")
        self._queue.put((self._begin, (run,)))

    def epoch(self, run: Logged, line: dict[str, Any]) -> None:
        """A run has finished an epoch; `line` is one of curves.csv."""
        self._queue.put((self._epoch, (run, line, int(time.time() * 1000))))

    def end(self, run: Logged, seconds: float | None = None, images: int | None = None) -> None:
        """A run is over: everything in its folder is logged. Times only where it was trained just now."""
        self._queue.put((self._end, (run, seconds, images)))

    def sweep(self, study: str, name: str, keys: set[str]) -> None:
        """Marks the runs of a study that a kill has left running, but for those of this row that go on."""
        self._queue.put((self._sweep, (study, name, keys)))

    def _work(self) -> None:
        client: MlflowClient | None = None
        while (item := self._queue.get()) is not None:
            if self.problem:
                continue
            try:
                client = client or connect()
                action, arguments = item
                action(client, *arguments)
            # Whatever a tracking server answers, or does not, must not end a training.
            except Exception as error:
                self.problem = " ".join(str(error).split())[:200] or type(error).__name__
        for run in self._open:
            if client and run.run_id and not self.problem:
                client.set_terminated(run.run_id, "KILLED")

    def _experiment(self, client: MlflowClient, study: str) -> str:
        if study not in self._experiments:
            found = client.get_experiment_by_name(study)
            if found is None:
                place = (paths.MLFLOW / "artifacts" / study).as_uri() if tracking_uri().startswith("sqlite") else None
                try:
                    identifier = client.create_experiment(study, artifact_location=place)
                except MlflowException:  # another process was faster
                    found = client.get_experiment_by_name(study)
                    if found is None:
                        raise
                    identifier = found.experiment_id
            else:
                identifier = found.experiment_id
            self._experiments[study] = identifier
        return self._experiments[study]

    def _find(self, client: MlflowClient, run: Logged) -> list[Run]:
        """The MLflow runs of this row with this key, newest first."""
        experiment = self._experiment(client, run.study)
        return list(client.search_runs([experiment], f"tags.key = '{run.key}' and tags.row = '{run.name}'"))

    def _begin(self, client: MlflowClient, run: Logged) -> None:
        going = [found for found in self._find(client, run) if found.info.status in ("RUNNING", "KILLED")]
        if going:
            run.run_id = going[0].info.run_id
            client.update_run(run.run_id, status="RUNNING")
        else:
            tags = _tags(run)
            run.run_id = client.create_run(
                self._experiment(client, run.study), tags=tags, run_name=f"{run.name} seed {run.seed}"
            ).info.run_id
            params = [Param(key, value) for key, value in flat(run.row, run.seed).items()]
            client.log_batch(run.run_id, params=params)
            client.log_inputs(run.run_id, datasets=[_dataset(run)])
        self._open.append(run)

    def _epoch(self, client: MlflowClient, run: Logged, line: dict[str, Any], stamp: int) -> None:
        run.buffer += [Metric(key, float(value), stamp, int(line["epoch"])) for key, value in line.items() if key != "epoch"]
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            for open_run in self._open:
                self._flush(client, open_run)
            self._flushed = time.monotonic()

    def _flush(self, client: MlflowClient, run: Logged) -> None:
        """Sends the metrics that wait, but for epochs that MLflow has from before a kill."""
        if not run.buffer or run.run_id is None:
            return
        known = {metric.step for metric in client.get_metric_history(run.run_id, "lr")}
        fresh = [metric for metric in run.buffer if metric.step not in known]
        run.buffer.clear()
        for start in range(0, len(fresh), 1000):
            client.log_batch(run.run_id, metrics=fresh[start : start + 1000])

    def _end(self, client: MlflowClient, run: Logged, seconds: float | None, images: int | None) -> None:
        if run.run_id is None:
            self._begin(client, run)
        assert run.run_id is not None
        result = store.result(run.folder)
        with (run.folder / "curves.csv").open(newline="") as file:
            for line in csv.DictReader(file):
                self._epoch(client, run, line, int(time.time() * 1000))
        self._flush(client, run)
        stamp = int(time.time() * 1000)
        numbers = {key: value for key, value in result.items() if isinstance(value, (int, float))}
        if seconds:
            numbers |= {"seconds": seconds, "images_per_second": (images or 0) / seconds}
        finals = [Metric(key, float(value), stamp, result["epochs"]) for key, value in numbers.items()]
        client.log_batch(run.run_id, metrics=finals)
        _log_artifacts(client, run)
        if result["status"] == "failed":
            client.set_tag(run.run_id, "reason", result["reason"])
        client.set_terminated(run.run_id, "FINISHED" if result["status"] == "finished" else "FAILED")
        for old in self._find(client, run):
            if old.info.run_id != run.run_id:  # trained afresh: the same run again, which replaces it
                client.delete_run(old.info.run_id)
        self._open.remove(run)
        _mark(run, "logged")

    def _sweep(self, client: MlflowClient, study: str, name: str, keys: set[str]) -> None:
        query = f"attributes.status = 'RUNNING' and tags.home = '{_home()}'"
        for found in client.search_runs([self._experiment(client, study)], query):
            row, key = found.data.tags["row"], found.data.tags["key"]
            if key not in keys and (row == name or not store.is_training(study, row)):
                client.set_terminated(found.info.run_id, "KILLED")


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


def _tags(run: Logged) -> dict[str, str]:
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
        "git.dirty": str(bool(_git("status", "--porcelain", "--untracked-files=no"))),
        "mlflow.source.git.commit": _git("rev-parse", "HEAD"),
        "mlflow.source.name": f"train@{run.name}",
        "hardware": _hardware(),
        "versions": f"python {platform.python_version()}, torch {torch.__version__}, {platform.platform()}",
    }


def _dataset(run: Logged) -> DatasetInput:
    info = prepared.info(run.prepared)
    profile = json.dumps({"shape": list(info.shape), "classes": len(info.classes), "images": info.counts})
    source = json.dumps({"uri": paths.shown(run.prepared)})
    dataset = Dataset(run.row.dataset, run.data, "local", source, profile=profile)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def _log_artifacts(client: MlflowClient, run: Logged) -> None:
    """Logs a run's figures and tables, and its model unless the run failed."""
    assert run.run_id is not None
    client.log_figure(run.run_id, figures.curves_figure(run.folder / "curves.csv"), "curves.png")
    for name in ("curves.csv", "result.json"):
        client.log_artifact(run.run_id, str(run.folder / name))
    if (run.folder / "weights.safetensors").exists():
        images, labels = prepared.read(run.prepared, prepared.TEST)
        counts = metrics.confusion(load_file(run.folder / "logits.safetensors")["logits"], labels)
        info = prepared.info(run.prepared)
        client.log_figure(run.run_id, figures.confusion_figure(counts, info.classes), "confusion.png")
        # Two images: the exported graph keeps a free batch size only if the example's is over one.
        _log_model(run.run_id, inference.load(run.row, info, run.folder / "weights.safetensors"), images[:2].float())


def _log_model(run_id: str, model: torch.nn.Module, example: torch.Tensor) -> None:
    with torch.inference_mode():
        logits = model(example).numpy()
    with warnings.catch_warnings(), mlflow.start_run(run_id=run_id):
        warnings.simplefilter("ignore")
        mlflow.pytorch.log_model(
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
    names = [line.split(":", 1)[1].strip() for line in _read("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    return f"{os.cpu_count()} cores, {names[0] if names else platform.processor() or platform.machine()}"


def _read(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""


def _mark(run: Logged, state: str) -> None:
    """Notes in the run store how far a run is logged to the present tracking store."""
    path = run.folder / "logged.json"
    entries = read_json(path) or {}
    about = {"study": run.study, "name": run.name, "row": run.row.model_dump(), "seed": run.seed}
    about |= {"key": run.key, "data": run.data, "code": run.code}
    entries[f"{tracking_uri()} {run.study}/{run.name}"] = {"state": state, "about": about}
    write_json(path, entries)


def unlogged(finished: list[Logged]) -> list[Logged]:
    """The runs of `finished` that the present tracking store does not hold, and all of other rows whose
    logging was begun and not completed."""
    place = f"{tracking_uri()} "
    runs = {(run.study, run.name, run.key): run for run in finished}
    for path in sorted((paths.STORE / "runs").glob("*/logged.json")):
        for where, entry in read_json(path).items():
            about = entry["about"]
            identity = (about["study"], about["name"], about["key"])
            if not where.startswith(place) or store.result(path.parent) is None:
                continue
            if entry["state"] == "logged":
                runs.pop(identity, None)
            else:
                runs[identity] = Logged(**(about | {"row": Row.model_validate(about["row"])}))
    return list(runs.values())


@command
def main() -> None:
    """Logs what an earlier stage could not."""
    runs = unlogged([])
    with Tracker() as tracker:
        for run in runs:
            tracker.end(run)
    if tracker.problem:
        raise UserError("the tracking store could not be reached")
    print(f"{len(runs)} runs logged to {tracking_uri()}")


if __name__ == "__main__":
    main()
