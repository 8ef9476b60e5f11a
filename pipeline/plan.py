"""Stage `plan`: checks all of params.yaml before anything trains, and writes what each stage needs of it.

    plan/datasets/<name>.json   a data set, defaults filled in
    plan/rows/<name>.json       a row without its publications, defaults filled in, and a digest of its code
    plan/tuned/<name>.json      the same of a row to be tuned, with its tuning
    plan/studies/<name>.json    a study with its rows and their publications
    plan/claims/<study>.json    the claims that a study tests

Later stages depend on these files and not on params.yaml, so each of them runs again exactly when
what it needs has changed: a row when it is edited, a report when a row of its study is edited, comes
or goes, or a claim about it, and nothing at all for a comment or for a default that is written out.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.errors import command
from pipeline.params.planned import PlannedStudy, claims_of
from pipeline.params.reading import read_params
from pipeline.params.rows import Row
from pipeline.params.studies import Params
from pipeline.running import code

KINDS = ("datasets", "rows", "tuned", "studies", "claims")
"""Folders of the plan."""


def write_plan(params: Params, target: Path = paths.PLAN) -> None:
    """Writes the plan anew; a row that is gone leaves no file behind."""
    for kind in KINDS:
        shutil.rmtree(target / kind, ignore_errors=True)
        (target / kind).mkdir(parents=True)
    for name, dataset in params.datasets.items():
        _write(target / "datasets" / f"{name}.json", dataset.model_dump())
    for name, row in params.rows.items():
        _write(target / "rows" / f"{name}.json", {"row": _decisive(row), "code": code.of_run(row)})
    for name, row in params.tuned.items():
        digests = {"code": code.of_run(row), "search": code.of_search(row)}
        _write(target / "tuned" / f"{name}.json", {"row": _decisive(row)} | digests)
    for name in params.studies:
        rows = params.of_study(name)
        digests = {key: code.of_diagnosis(row) for key, row in rows.items()}
        planned = PlannedStudy(
            name=name, study=params.in_full(name), rows=rows, sources=params.cited(name), code=digests
        )
        _write(target / "studies" / f"{name}.json", planned.model_dump(), sort=False)
        claims = {key: claim.model_dump() for key, claim in claims_of(params, name).items()}
        _write(target / "claims" / f"{name}.json", claims, sort=False)


def _decisive(row: Row) -> dict[str, Any]:
    """A row without its publications, which no run needs."""
    return row.model_dump(exclude={"published"})


def _write(path: Path, content: dict[str, Any], sort: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, sort_keys=sort) + "\n", encoding="utf-8")


@command
def main() -> None:
    params = read_params()
    write_plan(params)
    rows = params.rows | params.tuned
    trials = sum(row.tuning.trials for row in params.tuned.values())
    tunings = f", {trials} trials of {len(params.tuned)} tunings" if trials else ""
    runs = sum(len(row.seeds) for row in rows.values())
    print(f"params.yaml: {len(rows)} rows in {len(params.studies)} studies, {runs} runs{tunings}")


if __name__ == "__main__":
    main()
