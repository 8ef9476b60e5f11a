"""Logs to MLflow what a stage could not, when its server was away.

pipeline/python -m pipeline.log
pipeline/python -m pipeline.log --again      all that the run store holds: the tracking store is gone, or another one
"""

import argparse
import sys
from collections import Counter
from typing import Any

from pipeline.errors import UserError, command
from pipeline.running.logbook import forget, tracking_uri, unlogged, unlogged_studies, unlogged_trials
from pipeline.text import redact
from pipeline.tracking.mlflow_log import Work
from pipeline.tracking.tracker import now


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="pipeline/python -m pipeline.log", description="Logs what MLflow lacks")
    parser.add_argument("--again", action="store_true", help="also what was logged: the tracking store has lost it")
    if parser.parse_args().again:
        forget()
    log_pending()


def log_pending() -> None:
    """Logs what an earlier stage could not.

    Raises:
        UserError: something could not be logged, or the tracking store does not answer.
    """
    work, done = Work(), Counter[str]()
    waiting: list[tuple[str, str, str, tuple[Any, ...]]] = [
        *(("runs", run.title, "end", (run, now())) for run in unlogged([])),
        *(("trials", trial.title, "trial", (trial, now())) for trial in unlogged_trials()),
        *(("reports", f"report on {study}", "summarize", (study,)) for study in unlogged_studies()),
    ]
    for kind, what, action, arguments in waiting:
        if not work.away:
            print(what, file=sys.stderr)
            done[kind] += work.do(what, action, *arguments)
    told = f"{_counted(done)} logged to {redact(tracking_uri())}"
    if problem := work.problem:
        raise UserError(f"{redact(problem)}; {told}")
    print(told)


def _counted(done: Counter[str]) -> str:
    trials = f"{done['trials']} trials, " if done["trials"] else ""
    return f"{trials}{done['runs']} runs and {done['reports']} reports"


if __name__ == "__main__":
    main()
