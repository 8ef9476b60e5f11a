"""All that is known of a study when its report is written."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.findings.answers import answer
from pipeline.findings.gallery import Gallery
from pipeline.findings.measured import Groups, Result
from pipeline.findings.verdicts import Verdict
from pipeline.params.planned import PlannedStudy


@dataclass(frozen=True)
class Findings:
    """What a section of the report is made of.

    Args:
        study: as planned.
        groups: what `measured.load` gives.
        galleries: what `gallery.load` gives.
        verdicts: on the study's claims.
    """

    study: PlannedStudy
    groups: Groups
    galleries: Sequence[Gallery]
    verdicts: Sequence[Verdict]

    @property
    def title(self) -> str:
        """What the study is called, on one line."""
        return " ".join(self.study.study.title.split())

    @property
    def question(self) -> str:
        """What the study asks, on one line."""
        return " ".join(self.study.study.question.split())

    @property
    def answer(self) -> str:
        """The study's answer, Markdown."""
        return answer(self.study.study, self.groups)

    @property
    def note(self) -> str:
        """What is to be known of the study before its numbers are believed; empty where there is nothing."""
        return " ".join((self.study.study.note or "").split())

    @property
    def results(self) -> list[Result]:
        """Of all data sets, in the order of the ranking."""
        return [result for group in self.groups for result in group]

    @property
    def planned(self) -> list[Result]:
        """The same in the order of the plan."""
        order = list(self.study.rows)
        return sorted(self.results, key=lambda result: order.index(result.name))

    def on(self, dataset: str) -> str:
        """What a title says of the data set: nothing where the study has but one."""
        return f" on {dataset}" if len(self.groups) > 1 else ""

    def short(self, text: str) -> str:
        """Text without what the names of all rows begin with."""
        return text.replace(self.study.prefix, "") if self.study.prefix else text

    def path(self, name: str, dataset: str = "") -> str:
        """The file of a picture, from the report.

        Args:
            name: what it shows.
            dataset: of which data set, where each has a picture of its own.
        """
        several = f"-{dataset}" if dataset and len(self.groups) > 1 else ""
        return f"{self.study.name}/{name}{several}.svg"
