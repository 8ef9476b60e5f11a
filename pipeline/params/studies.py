"""What compares rows: studies and claims, and the whole of params.yaml."""

from __future__ import annotations

from collections.abc import Iterable
from string import Formatter
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from pipeline.params import contrasts
from pipeline.params.datasets import Dataset
from pipeline.params.rows import Row, TunedRow
from pipeline.params.schema import Model, Name


class Answer(Model):
    """A sentence of a study's answer, with what was measured in its braces."""

    says: str = Field(min_length=1, description="the sentence, with a name in braces for each number: costs {cost}")
    of: dict[Name, str] = Field(
        min_length=1, description="by that name a metric and a sum of rows, such as 'accuracy: plain - bn'"
    )

    @model_validator(mode="after")
    def _names_are_told(self) -> Answer:
        try:
            braces = [(name, spec or how) for _, name, spec, how in Formatter().parse(self.says) if name is not None]
        except ValueError as error:
            raise ValueError(f"says: {error}") from None
        if formatted := [name for name, style in braces if style or name.isdigit()]:
            raise ValueError(f"says: {{{formatted[0]}}} takes a name alone, with a letter; a report knows its digits")
        told = {name for name, _ in braces}
        if told != self.of.keys():
            raise ValueError(f"says has {_braces(told)} and of has {_braces(self.of)}; each name in both")
        return self


def _braces(names: Iterable[str]) -> str:
    return " ".join(f"{{{name}}}" for name in sorted(names)) or "none"


class Study(Model):
    """Rows that are compared with each other: one report, one MLflow experiment."""

    title: str = Field(min_length=1, description="heading of the report")
    question: str = Field(min_length=1, description="what the study asks, one or two sentences")
    targets: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        default=[], description="validation accuracies, fractions; the report and claims count the epochs to each"
    )
    answers: list[Answer] = Field(
        default=[], max_length=3, description="what answers the question, beside what batch norm and dropout add"
    )
    note: str | None = Field(
        default=None, min_length=1, description="what a reader must know of how the study was made"
    )
    demonstration: bool = Field(
        default=False, description="it shows how things work and is no evidence; README leaves its answer out"
    )
    looks: list[Annotated[int, Field(ge=2)]] = Field(
        default=[], description="numbers of seeds at which its claims are judged, fixed beforehand; pipeline/decide.py"
    )
    rows: dict[str, Any] = Field(default={}, exclude=True, description="what its rows share; pipeline/params/bases.py")

    @field_validator("targets", "looks")
    @classmethod
    def _rising(cls, values: list[float]) -> list[float]:
        if values != sorted(set(values)):
            raise ValueError("each once, in rising order")
        return values


class Source(Model):
    """A publication, or its citation alone."""

    cite: str = Field(min_length=1, description="as reports cite it")
    copied: str | None = Field(default=None, description="what rows with its numbers take from it")
    left_open: str | None = Field(default=None, description="what it does not say")
    taken: str | None = Field(default=None, description="what they take for that, or have otherwise")

    @model_validator(mode="before")
    @classmethod
    def _citation(cls, value: Any) -> Any:
        return {"cite": value} if isinstance(value, str) else value


class Claim(Model):
    """What somebody says, and the comparison in our rows that would show it."""

    says: str = Field(min_length=1, description="the statement in one sentence")
    source: str = Field(min_length=1, description="who says it, and where: a key of sources, or in words")
    tested: str = Field(min_length=1, description="how it was made testable, in one sentence")
    tests: dict[str, str] = Field(
        min_length=1,
        description="by study, or several with spaces between them, the contrast that is true where the claim is,"
        " of rows without their study in front; pipeline/params/contrasts.py",
    )

    def by_study(self) -> dict[str, str]:
        """The contrast of every study that tests it."""
        return {study: contrast for studies, contrast in self.tests.items() for study in studies.split()}


class Params(Model):
    """The whole of params.yaml."""

    datasets: dict[Name, Dataset] = Field(min_length=1)
    sources: dict[Name, Source] = Field({}, description="publications, or their citations alone")
    studies: dict[Name, Study] = Field(min_length=1)
    bases: dict[Name, dict[str, Any]] = Field({}, description="any keys of a row, for rows to inherit")
    rows: dict[Name, Row] = Field(min_length=1)
    tuned: dict[Name, TunedRow] = Field({}, description="rows whose values a tuning chooses")
    claims: dict[Name, Claim] = Field({}, description="statements that the reports check")

    def of_study(self, study: str) -> dict[str, Row]:
        """All rows of a study, in the order of params.yaml."""
        return {name: row for name, row in (self.rows | self.tuned).items() if row.study == study}

    def names(self, study: str) -> dict[str, str]:
        """What a contrast may call the rows of a study: their names, and these without the study in front."""
        rows = self.of_study(study)
        return {name.removeprefix(f"{study}-"): name for name in rows} | {name: name for name in rows}

    def cited(self, study: str) -> list[Source]:
        """The publications whose numbers a study's rows stand beside."""
        cited = {row.published.source for row in self.of_study(study).values() if row.published}
        return [source for source in self.sources.values() if source.cite in cited]

    def in_full(self, name: str) -> Study:
        """The study of that name, whose answers name their rows in full."""
        study, names = self.studies[name], self.names(name)
        answers = [
            answer.model_copy(update={"of": {key: contrasts.renamed(text, names) for key, text in answer.of.items()}})
            for answer in study.answers
        ]
        return study.model_copy(update={"answers": answers})
