"""A tuning in MLflow: one run, and below it a run for each trial with all its intermediate values."""

import math
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag

from pipeline.params import space
from pipeline.running import cost, store
from pipeline.running.logbook import LoggedTrial
from pipeline.tracking import batches, labels

PARENT = "mlflow.parentRunId"


def log(client: MlflowClient, experiment: str, trial: LoggedTrial, stamp: int) -> None:
    """Logs a finished trial; the run of the tuning ends with its last one.

    Args:
        client: of the tracking store.
        experiment: id of the study's.
        trial: to log; of one that was logged before, it takes the place.
        stamp: when, in milliseconds.
    """
    parent = _tuning_run(client, experiment, trial)
    child = _make_child(client, experiment, parent, trial, stamp)
    query = f"tags.`{PARENT}` = '{parent}'"
    places: dict[str, Run] = {}
    for run in batches.search(client, experiment, query):
        if run.data.tags["trial"] == str(trial.place) and run.info.run_id != child:
            client.delete_run(run.info.run_id)
        else:
            places[run.data.tags["trial"]] = run
    if len(places) == trial.row.tuning.trials:
        _finish(client, parent, trial, list(places.values()), stamp)


def _tuning_run(client: MlflowClient, experiment: str, trial: LoggedTrial) -> str:
    """The run of a tuning, of the machines that share it the first one's, made if it is not there; runs of the row that
    a kill left going here under other keys end."""
    query = f"tags.stage = 'tune' and tags.row = '{trial.name}'"
    found = client.search_runs([experiment], query, order_by=["attributes.start_time"])
    mine = [run for run in found if run.data.tags["key"] == trial.tuning]
    for run in found:
        going_here = run.info.status == "RUNNING" and run.data.tags["home"] == labels.home()
        if going_here and run not in mine:
            client.set_terminated(run.info.run_id, "KILLED")
    if mine:
        if mine[0].info.status != "RUNNING":
            client.update_run(mine[0].info.run_id, status="RUNNING")
        return mine[0].info.run_id
    tags = _tags(trial, "tune") | {"key": trial.tuning, "mlflow.source.name": f"tune@{trial.name}", **labels.commit()}
    run_id = client.create_run(experiment, tags=tags, run_name=f"{trial.name} tuning").info.run_id
    spec = trial.row.tuning.model_dump(exclude_none=True, exclude_defaults=False)
    ranges = {f"space.{path}": _described(values) for path, values in spec.pop("space").items()}
    params = {key: str(value) for key, value in spec.items()} | ranges
    client.log_batch(run_id, params=[Param(key, value) for key, value in params.items()])
    return run_id


def _described(parameter: dict[str, Any]) -> str:
    if "choices" in parameter:
        return " ".join(map(str, parameter["choices"]))
    ends = f"{parameter['low']} to {parameter['high']}"
    step = f", steps of {parameter['step']}" if "step" in parameter else ""
    return ends + step + (", log" if parameter["log"] else "")


def _make_child(client: MlflowClient, experiment: str, parent: str, trial: LoggedTrial, stamp: int) -> str:
    outcome, spec = store.result(trial.path), trial.row.tuning
    tags = _tags(trial, "trial") | {PARENT: parent, "trial": str(trial.place), "state": outcome["state"]}
    if outcome["reason"]:
        tags["reason"] = outcome["reason"]
    run_id = client.create_run(experiment, tags=tags, run_name=trial.title).info.run_id
    params = _params(trial)
    metrics = [
        Metric(key, float(value), stamp, spec.seeds.index(line["seed"]) * spec.epochs + int(line["epoch"]))
        for line in outcome["curves"]
        for key, value in line.items()
        if key not in ("seed", "epoch") and value is not None and math.isfinite(value)
    ]
    spent = cost.read(trial.path)
    numbers = {key: outcome[key] for key in ("score", "epochs", "images") if outcome[key] is not None}
    metrics += [Metric(key, float(value), stamp, 0) for key, value in (numbers | spent.measured).items()]
    machine = [RunTag(key, value) for key, value in spent.machine.items()]
    batches.log(client, run_id, metrics, [Param(key, value) for key, value in params.items()], machine)
    client.set_terminated(run_id, "FAILED" if outcome["state"] == "failed" else "FINISHED")
    return run_id


def _params(trial: LoggedTrial) -> dict[str, str]:
    """The row with the values of a trial; the values alone where they make no row."""
    try:
        whole = labels.params(space.apply(trial.row, trial.values | {"epochs": trial.row.tuning.epochs}))
    except space.Unfit:
        whole = {}
    return whole | {path: str(value) for path, value in trial.values.items()}


def _finish(client: MlflowClient, parent: str, trial: LoggedTrial, children: list[Run], stamp: int) -> None:
    """Logs what won and what it took, and ends the run of the tuning."""
    sign = 1 if trial.row.tuning.objective == "val_loss" else -1
    complete = [run for run in children if run.data.tags["state"] == "complete"]
    totals = {key: sum(run.data.metrics.get(key, 0) for run in children) for key in ("epochs", "images", "seconds")}
    metrics = [Metric(key, value, stamp, 0) for key, value in totals.items()]
    tags = []
    if complete:
        best = min(complete, key=lambda run: (sign * run.data.metrics["score"], int(run.data.tags["trial"])))
        metrics.append(Metric("score", best.data.metrics["score"], stamp, 0))
        tags = [RunTag("best.trial", best.data.tags["trial"])]
        tags += [RunTag(f"best.{path}", best.data.params.get(path, "")) for path in trial.values]
    client.log_batch(parent, metrics=metrics, tags=tags)
    client.set_terminated(parent, "FINISHED" if complete else "FAILED")


def _tags(trial: LoggedTrial, stage: str) -> dict[str, str]:
    return {
        "study": trial.study,
        "row": trial.name,
        "stage": stage,
        "dataset": trial.row.dataset,
        "home": labels.home(),
    }
