"""The lessons of the primer, in their order."""

from pipeline.reporting.primer import dropping, folding, normalizing, saturating, sets, shifting
from pipeline.reporting.section import Section

TITLE = "Primer: what these layers do"
LEAD = (
    "Eight small experiments with the layers of this project. Every number and picture here is computed by the layers"
    " that the studies train; nothing is trained."
)

LESSONS = (
    dropping.lesson,
    normalizing.matrix_lesson,
    normalizing.momentum_lesson,
    saturating.lesson,
    sets.lesson,
    normalizing.pair_lesson,
    shifting.lesson,
    folding.lesson,
)


def sections() -> list[Section]:
    """A section for each lesson, numbered."""
    made = [lesson() for lesson in LESSONS]
    return [lesson.section(number) for number, lesson in enumerate(made, 1)]
