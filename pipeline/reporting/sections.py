"""What a report is made of, in two layers: what everyone reads, and what opens on demand.

A section comes from a pure function of what was found, which gives as many as it has something to say: none, one, or
one for each data set. To add a section, write such a function and name it here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.findings.findings import Findings
from pipeline.reporting import (
    claims_section,
    comparison_sections,
    convergence_sections,
    curve_sections,
    diagnosis_sections,
    gallery_section,
    prediction_sections,
    ranking_sections,
    reading_sections,
    reproduction_sections,
    tuning_sections,
)
from pipeline.reporting.section import Fold, Picture, Section

Maker = Callable[[Findings], Iterator[Section]]

FIRST: Sequence[Maker] = (ranking_sections.ranking, claims_section.claims, curve_sections.curves)
"""The sections that everyone reads."""

FOLDS: Mapping[str, Sequence[Maker]] = {
    "How to read the answer, intervals and verdicts": (reading_sections.reading,),
    "Every metric of every row": (ranking_sections.metrics,),
    "Published beside measured": (ranking_sections.published,),
    "The claims: every seed, intervals and p-values": (claims_section.evidence,),
    "Rows against each other: who wins how often, robust means, batch norm × dropout": (
        comparison_sections.wins,
        comparison_sections.robust,
        comparison_sections.two_way_table,
    ),
    "Loss, AUC and learning rate by epoch": (curve_sections.more,),
    "Speed of learning: epochs to an accuracy, usable learning rates": (
        convergence_sections.epochs,
        convergence_sections.rates,
    ),
    "Tuning: what was searched, what was chosen, what it cost": (tuning_sections.tuning,),
    "Batch norm in test mode: the variance shift, and what running its statistics again brings back": (
        diagnosis_sections.shift,
        diagnosis_sections.statistics,
    ),
    "Training mode: what noise and batches do to predictions": (diagnosis_sections.modes, diagnosis_sections.company),
    "Classes: accuracy, confusions, and whether confidence is accuracy": (
        prediction_sections.by_class,
        prediction_sections.confusion,
        prediction_sections.calibration,
    ),
    "Gallery: what every row takes the same test images for": (gallery_section.gallery,),
    "Settings of all rows": (reproduction_sections.settings,),
    "How to reproduce": (reproduction_sections.reproduction,),
}
"""The sections that open on demand, by the heading above them."""


@dataclass(frozen=True)
class Report:
    """A study's report, before it is Markdown or HTML."""

    first: Sequence[Section]
    folds: Sequence[Fold]

    @property
    def pictures(self) -> list[Picture]:
        """The files beside it."""
        return [picture for part in (*self.first, *self.folds) for picture in part.pictures]


def report(found: Findings) -> Report:
    """All sections of a study."""
    folds = [Fold(title, _made(makers, found)) for title, makers in FOLDS.items()]
    return Report(_made(FIRST, found), [fold for fold in folds if fold.sections])


def _made(makers: Sequence[Maker], found: Findings) -> list[Section]:
    return [section for make in makers for section in make(found)]
