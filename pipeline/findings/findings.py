"""All that is known of a study when its page is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.findings.gallery import Gallery
from pipeline.findings.measured import Groups, Result
from pipeline.findings.verdicts import Verdict
from pipeline.params.planned import PlannedStudy


@dataclass(frozen=True)
class Findings:
    """What a section of the page is made of.

    Args:
        study: as planned.
        groups: what `measured.load` gives.
        galleries: what `gallery.load` gives.
        verdicts: on the study's claims.
        report: the Markdown report.
        figures: the folder with its pictures.
    """

    study: PlannedStudy
    groups: Groups
    galleries: Sequence[Gallery]
    verdicts: Sequence[Verdict]
    report: str
    figures: Path

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
