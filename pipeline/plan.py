"""Stage `plan`: checks all of params.yaml before anything trains, and writes what each stage needs of it.

    plan/datasets/<name>.json   a data set, defaults filled in
    plan/rows/<name>.json       a row without its publications, defaults filled in
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
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from pipeline import paths, tuned
from pipeline.config import Dataset, Params, Row, Study, TunedRow, read_params
from pipeline.errors import UserError, command
from pipeline.schema import Model

T = TypeVar("T")

KINDS = ("datasets", "rows", "tuned", "studies", "claims")
"""Folders of the plan."""


class PlannedStudy(Model):
    """A study with its rows, those to be tuned and publications included, in the order of params.yaml."""

    name: str
    study: Study
    rows: dict[str, TunedRow | Row]


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
        (target / kind).mkdir(parents=True)
    for name, dataset in params.datasets.items():
        _write(target / "datasets" / f"{name}.json", dataset.model_dump())
    for kind, rows in (("rows", params.rows), ("tuned", params.tuned)):
        for name, row in rows.items():
            _write(target / kind / f"{name}.json", row.model_dump(exclude={"published"}))
    for name, study in params.studies.items():
        planned = PlannedStudy(name=name, study=study, rows=params.of_study(name))
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
    """The planned row of that name; a tuned one with the values that won."""
    if is_tuned(name):
        return tuned.read_row(name, read_tuned(name), paths.TUNED / name)
    return _read("rows", name, TypeAdapter(Row))


def is_tuned(name: str) -> bool:
    """Whether a tuning chooses the values of the row of that name."""
    return (paths.PLAN / "tuned" / f"{name}.json").exists()


def key(name: str) -> str:
    """Where params.yaml has the row of that name."""
    return f"tuned.{name}" if is_tuned(name) else f"rows.{name}"


def train_stage(name: str) -> str:
    """What DVC calls the stage that trains the row of that name."""
    return f"train-tuned@{name}" if is_tuned(name) else f"train@{name}"


def read_tuned(name: str) -> TunedRow:
    """The planned row of that name before its tuning."""
    return _read("tuned", name, TypeAdapter(TunedRow))


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
        from models.sentence import nearest

        known = [other.stem for other in path.parent.glob("*.json")]
        hint = nearest(name, known) if known else "; run 'dvc repro plan' first"
        raise UserError(f"{kind}: no '{name}' in the plan{hint}") from None
    except ValidationError:
        raise UserError(f"{paths.shown(path)}: not as `plan` writes it; run 'dvc repro -f plan'") from None


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
