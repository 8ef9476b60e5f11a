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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.errors import command
from pipeline.params import facts
from pipeline.params.planned import PlannedStudy, claims_of
from pipeline.params.reading import read_params
from pipeline.params.rows import Row
from pipeline.params.studies import Params
from pipeline.running import code, report_folders
from pipeline.storage import write_atomically

KINDS = ("datasets", "rows", "tuned", "studies", "claims")
"""Folders of the plan."""


def write_plan(params: Params, target: Path = paths.PLAN) -> None:
    """Writes the plan; a row that is gone leaves no file behind.

    Each file is replaced as a whole, and nothing goes before all is made, so that who reads the plan meanwhile finds
    the old or the new one, and a full disk leaves the old one.
    """
    plan = dict(_plan(params))
    for kind in KINDS:
        (target / kind).mkdir(parents=True, exist_ok=True)
    for name, text in plan.items():
        write_atomically(target / name, text.encode())
    for path in [path for kind in KINDS for path in (target / kind).iterdir()]:
        if path.relative_to(target).as_posix() not in plan:
            path.unlink()


def _plan(params: Params) -> Iterator[tuple[str, str]]:
    """All files of the plan: path and text."""
    for name, dataset in params.datasets.items():
        yield f"datasets/{name}.json", _text(dataset.model_dump())
    for name, row in params.rows.items():
        yield f"rows/{name}.json", _text({"row": _decisive(row), "code": code.of_run(row)})
    for name, row in params.tuned.items():
        digests = {"code": code.of_run(row), "search": code.of_search(row)}
        yield f"tuned/{name}.json", _text({"row": _decisive(row)} | digests)
    for name in params.studies:
        rows = params.of_study(name)
        digests = {key: code.of_diagnosis(row) for key, row in rows.items()}
        planned = PlannedStudy(
            name=name, study=params.in_full(name), rows=rows, sources=params.cited(name), code=digests
        )
        yield f"studies/{name}.json", _text(planned.model_dump(), sort=False)
        claims = {key: claim.model_dump() for key, claim in claims_of(params, name).items()}
        yield f"claims/{name}.json", _text(claims, sort=False)


def _decisive(row: Row) -> dict[str, Any]:
    """A row without its publications, which no run needs."""
    return row.model_dump(exclude={"published"})


def _text(content: dict[str, Any], sort: bool = True) -> str:
    return json.dumps(content, indent=2, sort_keys=sort) + "\n"


@command
def main() -> None:
    with facts.kept(whole=True):
        params = read_params()
        for study in params.studies:
            report_folders.check(study)
        write_plan(params)
    rows = params.rows | params.tuned
    trials = sum(row.tuning.trials for row in params.tuned.values())
    tunings = f", {trials} trials of {len(params.tuned)} tunings" if trials else ""
    runs = sum(len(row.seeds) for row in rows.values())
    print(f"params.yaml: {len(rows)} rows in {len(params.studies)} studies, {runs} runs{tunings}")


if __name__ == "__main__":
    main()
