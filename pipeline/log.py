"""Logs to MLflow what a stage could not, when its server was away.

pipeline/python -m pipeline.log
"""

import functools
import sys
from collections import Counter
from typing import Any

from pipeline.errors import UserError, command
from pipeline.running.logbook import tracking_uri, unlogged, unlogged_studies, unlogged_trials
from pipeline.text import redact
from pipeline.tracking.mlflow_log import MlflowLog, attempt
from pipeline.tracking.tracker import now


@command
def main() -> None:
    if len(sys.argv) > 1:
        raise UserError("usage: pipeline/python -m pipeline.log")
    log_pending()


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
