"""Logs to MLflow what a stage could not, when its server was away; `--links` prints where each study is seen.

pipeline/python -m pipeline.log
"""

import functools
import sys
from collections import Counter
from typing import Any

from pipeline.errors import UserError, command
from pipeline.running.logbook import tracking_uri, unlogged, unlogged_studies, unlogged_trials
from pipeline.text import redact
from pipeline.tracking import views
from pipeline.tracking.mlflow_log import MlflowLog, attempt, connect
from pipeline.tracking.tracker import now


@command
def main() -> None:
    if len(sys.argv) == 3 and sys.argv[1] == "--links":
        print_links(sys.argv[2])
    elif len(sys.argv) == 1:
        log_pending()
    else:
        raise UserError("usage: pipeline/python -m pipeline.log [--links ADDRESS]")


def print_links(address: str) -> None:
    """Prints where the MLflow server at an address shows the rows of each study side by side."""
    for experiment in connect().search_experiments(order_by=["name"]):
        if views.TAG + views.ROWS in experiment.tags:
            print(f"{experiment.name}: {address}/{views.link(experiment.experiment_id)}")


def log_pending() -> None:
    """Logs what an earlier stage could not."""
    log, done = MlflowLog(), Counter[str]()
    work: list[tuple[str, str, Any]] = [
        *(("runs", f"{run.name} seed {run.seed}", functools.partial(log.end, run, now())) for run in unlogged([])),
        *(
            ("trials", f"{trial.name} trial {trial.place}", functools.partial(log.trial, trial, now()))
            for trial in unlogged_trials()
        ),
        *(("reports", f"report on {study}", functools.partial(log.summarize, study)) for study in unlogged_studies()),
    ]
    for kind, what, action in work:
        print(what, file=sys.stderr)
        if problem := attempt(action):
            before = f"{_counted(done)} were logged before"
            raise UserError(f"{redact(tracking_uri())}: {problem}; {before}")
        done[kind] += 1
    print(f"{_counted(done)} logged to {redact(tracking_uri())}")


def _counted(done: Counter[str]) -> str:
    trials = f"{done['trials']} trials, " if done["trials"] else ""
    return f"{trials}{done['runs']} runs and {done['reports']} reports"


if __name__ == "__main__":
    main()
