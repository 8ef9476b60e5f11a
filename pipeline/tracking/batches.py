"""What is sent to a tracking server and asked of it, in as few requests as it takes: each may cost seconds."""

from collections.abc import Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from pipeline.running.logbook import tracking_uri

MOST = 1000
"""Metrics, parameters and tags that MLflow takes at once, of the latter two a hundred each; and runs that it gives."""


def log(
    client: MlflowClient,
    run_id: str,
    metrics: Sequence[Metric] = (),
    params: Sequence[Param] = (),
    tags: Sequence[RunTag] = (),
) -> None:
    """Logs what is to be known of a run; nothing costs no request."""
    room = MOST - len(params) - len(tags)
    if metrics or params or tags:
        client.log_batch(run_id, metrics[:room], params, tags)
    for start in range(room, len(metrics), MOST):
        client.log_batch(run_id, metrics[start : start + MOST])


def search(client: MlflowClient, experiment: str, query: str) -> list[Run]:
    """All runs of an experiment that a query names, newest first."""
    page = client.search_runs([experiment], query, max_results=MOST)
    runs = list(page)
    while page.token:
        page = client.search_runs([experiment], query, max_results=MOST, page_token=page.token)
        runs += page
    return runs


def upload(place: str | None, folder: Path) -> None:
    """Uploads all files of a folder to where a run or a model keeps its files.

    The client's own methods would ask the server first where that is, which is known since the run was made.
    """
    assert place is not None  # of what a server has answered
    get_artifact_repository(place, tracking_uri=tracking_uri()).log_artifacts(str(folder))
