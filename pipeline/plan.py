"""Stage `plan`: checks all of params.yaml before anything trains, and writes what each stage needs of it.

    plan/datasets/<name>.json   a data set, defaults filled in
    plan/rows/<name>.json       a row without its publications, defaults filled in
    plan/studies/<name>.json    a study with its rows and their publications
    plan/claims/<study>.json    the claims that a study tests

Later stages depend on these files and not on params.yaml, so each of them runs again exactly when
what it needs has changed: a row when it is edited, a report when a row of its study is edited, comes
or goes, or a claim about it, and nothing at all for a comment or for a default that is written out.
"""

import json
import shutil
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from pipeline import paths
from pipeline.config import Dataset, Model, Params, Row, Study, read_params
from pipeline.errors import UserError, command

T = TypeVar("T")

KINDS = ("datasets", "rows", "studies", "claims")
"""Folders of the plan."""


class PlannedStudy(Model):
    """A study with its rows, publications included, in the order of params.yaml."""

    name: str
    study: Study
    rows: dict[str, Row]


class PlannedClaim(Model):
    """A claim as one study tests it."""

    says: str
    source: str
    test: str


Claims = dict[str, PlannedClaim]
"""The claims that a study tests, in the order of params.yaml."""


def write_plan(params: Params, target: Path = paths.PLAN) -> None:
    """Writes the plan anew; a row that is gone leaves no file behind."""
    for kind in KINDS:
        shutil.rmtree(target / kind, ignore_errors=True)
    for name, dataset in params.datasets.items():
        _write(target / "datasets" / f"{name}.json", dataset.model_dump())
    for name, row in params.rows.items():
        _write(target / "rows" / f"{name}.json", row.model_dump(exclude={"published"}))
    for name, study in params.studies.items():
        rows = {key: row for key, row in params.rows.items() if row.study == name}
        planned = PlannedStudy(name=name, study=study, rows=rows)
        _write(target / "studies" / f"{name}.json", planned.model_dump(), sort=False)
        claims = {key: claim.model_dump() for key, claim in claims_of(params, name).items()}
        _write(target / "claims" / f"{name}.json", claims, sort=False)


def claims_of(params: Params, study: str) -> Claims:
    """The claims that a study tests."""
    return {
        name: PlannedClaim(says=claim.says, source=claim.source, test=claim.tests[study])
        for name, claim in params.claims.items()
        if study in claim.tests
    }


def read_dataset(name: str) -> Any:
    """The planned data set of that name, one of the models of `config.Dataset`."""
    return _read("datasets", name, TypeAdapter(Dataset))


def read_row(name: str) -> Row:
    """The planned row of that name."""
    return _read("rows", name, TypeAdapter(Row))


def read_study(name: str) -> PlannedStudy:
    """The planned study of that name."""
    return _read("studies", name, TypeAdapter(PlannedStudy))


def read_claims(study: str) -> Claims:
    """The planned claims of the study of that name."""
    return _read("claims", study, TypeAdapter(Claims))


def _write(path: Path, content: dict[str, Any], sort: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, sort_keys=sort) + "\n", encoding="utf-8")


def _read(kind: str, name: str, adapter: TypeAdapter[T]) -> T:
    path = paths.PLAN / kind / f"{name}.json"
    try:
        return adapter.validate_json(path.read_bytes())
    except FileNotFoundError:
        known = sorted(other.stem for other in path.parent.glob("*.json"))
        hint = f"known: {', '.join(known)}" if known else "run 'dvc repro plan' first"
        raise UserError(f"{kind}: no '{name}' in the plan; {hint}") from None
    except ValidationError:
        raise UserError(f"{paths.shown(path)}: not as `plan` writes it; run 'dvc repro -f plan'") from None


@command
def main() -> None:
    params = read_params()
    write_plan(params)
    runs = sum(len(row.seeds) for row in params.rows.values())
    print(f"params.yaml: {len(params.rows)} rows in {len(params.studies)} studies, {runs} runs")


if __name__ == "__main__":
    main()
