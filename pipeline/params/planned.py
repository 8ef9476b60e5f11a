"""The plan as later stages read it: rows, data sets, studies and claims with all defaults filled in, see `plan`."""

from typing import Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from pipeline import paths
from pipeline.errors import UserError
from pipeline.params import chosen, contrasts
from pipeline.params.datasets import Dataset
from pipeline.params.rows import Row, TunedRow
from pipeline.params.schema import Model
from pipeline.params.studies import Params, Source, Study
from pipeline.text import beginning, nearest

T = TypeVar("T")


class PlannedRow(Model):
    """A row, and the digest of the code that decides its runs' numbers, see `running.code`."""

    row: Row
    code: str


class PlannedTuning(Model):
    """A row to be tuned, and the digests of the code of its runs and of its search."""

    row: TunedRow
    code: str
    search: str


class PlannedStudy(Model):
    """A study with its rows, those to be tuned and publications included, in the order of params.yaml.

    `code` holds by row the digest of the code that measures its networks.
    """

    name: str
    study: Study
    rows: dict[str, TunedRow | Row]
    sources: list[Source] = Field(default=[])
    code: dict[str, str] = Field(default={})

    @property
    def prefix(self) -> str:
        """What all names of rows begin with because it names the study; empty where they do not."""
        shared = beginning([self.name, *self.rows])
        return f"{shared}-" if shared else ""


class PlannedClaim(Model):
    """A claim as one study tests it."""

    says: str
    source: str
    tested: str
    test: str


Claims = dict[str, PlannedClaim]
"""The claims that a study tests, in the order of params.yaml."""


def read_dataset(name: str) -> Any:
    """The planned data set of that name, one of the models of `datasets.Dataset`."""
    return _read("datasets", name, TypeAdapter(Dataset))


def read_row(name: str) -> PlannedRow:
    """The planned row of that name; a tuned one with the values that won."""
    if is_tuned(name):
        planned = read_tuned(name)
        return PlannedRow(row=chosen.read_row(name, planned.row, paths.TUNED / name), code=planned.code)
    return _read("rows", name, TypeAdapter(PlannedRow))


def is_tuned(name: str) -> bool:
    """Whether a tuning chooses the values of the row of that name."""
    return (paths.PLAN / "tuned" / f"{name}.json").exists()


def key(name: str) -> str:
    """Where params.yaml has the row of that name."""
    return f"tuned.{name}" if is_tuned(name) else f"rows.{name}"


def train_stage(name: str, tuned: bool | None = None) -> str:
    """What DVC calls the stage that trains the row of that name; `tuned` is asked of the plan where nobody says it."""
    tuned = is_tuned(name) if tuned is None else tuned
    return f"train-tuned@{name}" if tuned else f"train@{name}"


def read_tuned(name: str) -> PlannedTuning:
    """The planned row of that name before its tuning."""
    return _read("tuned", name, TypeAdapter(PlannedTuning))


def read_study(name: str) -> PlannedStudy:
    """The planned study of that name."""
    return _read("studies", name, TypeAdapter(PlannedStudy))


def read_claims(study: str) -> Claims:
    """The planned claims of the study of that name."""
    return _read("claims", study, TypeAdapter(Claims))


def claims_of(params: Params, study: str) -> Claims:
    """The claims that a study tests, with the full names of its rows."""
    return {
        name: PlannedClaim(
            says=claim.says,
            source=claim.source,
            tested=claim.tested,
            test=contrasts.renamed(test, params.names(study)),
        )
        for name, claim in params.claims.items()
        if (test := claim.by_study().get(study))
    }


def _read(kind: str, name: str, adapter: TypeAdapter[T]) -> T:
    path = paths.PLAN / kind / f"{name}.json"
    try:
        return adapter.validate_json(path.read_bytes())
    except FileNotFoundError:
        known = [other.stem for other in path.parent.glob("*.json")]
        hint = nearest(name, known) if known else "; run '.venv/bin/dvc repro plan' first"
        raise UserError(f"{kind}: no '{name}' in the plan{hint}") from None
    except ValidationError:
        raise UserError(f"{paths.shown(path)}: not as `plan` writes it; run '.venv/bin/dvc repro -f plan'") from None
