"""How a run is labelled in the log: parameters, tags to filter and group by, and a description in Markdown."""

import functools
import socket
import subprocess
from typing import Any

from pipeline import paths
from pipeline.params import planned, vocabulary
from pipeline.params.rows import Row
from pipeline.running.logbook import LoggedRun, tracking_uri

YES, NO = "yes", "no"
"""Of the tag `current`: whether the study stands on a run, or on another that replaced it."""


def params(row: Row) -> dict[str, str]:
    """A row as parameters: one per leaf, named by its path, the same names for all rows of an optimizer."""
    found: dict[str, str] = {"dataset": row.dataset}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else key, inner)
        elif isinstance(value, list):
            found[prefix] = " ".join(map(str, value))  # the UI spreads what looks like JSON over many lines
        else:
            found[prefix] = str(value)

    walk("", row.training())
    return found


def tags(run: LoggedRun) -> dict[str, str]:
    """What a run is, and what it was made from."""
    return {
        "study": run.study,
        "row": run.name,
        "seed": str(run.seed),
        "stage": "train",
        # Until the next report says so of all runs; a queued experiment tries something out beside the study.
        "current": YES if paths.ROOT == paths.HOME else NO,
        "dataset": run.row.dataset,
        **_regularizers(run.row),
        "key": run.key,
        "home": home(),
        "data": run.data,
        "code": run.code,
        "mlflow.source.name": planned.train_stage(run.name),
        "mlflow.note.content": _description(run),
        **commit(),
    }


def _regularizers(row: Row) -> dict[str, str]:
    """The norms and the dropouts of a row's sentence: grouped by both, rows are the table BN × dropout."""
    kinds = vocabulary.kinds()
    drops, norms = ([word for word in row.words() if word in kinds[kind]] for kind in ("dropouts", "norms"))
    return {"norm": " ".join(norms) or "none", "dropout": " ".join(drops) or "none"}


def _description(run: LoggedRun) -> str:
    lines = [f"| {part} | `{words}` |" for part, words in run.row.parts().items()]
    about = f"Row **{run.name}** of study **{run.study}**, seed {run.seed}, on data set {run.row.dataset}."
    again = f"The same again, to the byte: `.venv/bin/dvc repro -f -s {planned.train_stage(run.name)}`"
    return "\n\n".join([about, "\n".join(["| for every | layers |", "|---|---|", *lines]), again])


@functools.cache
def commit() -> dict[str, str]:
    """The commit that is checked out, and whether files differ from it; looked up once."""
    return {
        "git.dirty": str(bool(_git("status", "--porcelain", "--untracked-files=no"))),
        "mlflow.source.git.commit": _git("rev-parse", "HEAD"),
    }


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=paths.ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def home() -> str:
    """The checkout that logs: its folder and, where others may log, its machine, whose name may change."""
    folder = str(paths.HOME).replace("'", "")
    return folder if tracking_uri().startswith("sqlite") else f"{socket.gethostname()}:{folder}"
