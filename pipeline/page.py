"""A study as one HTML page that needs nothing beside it: no server, no network, no second file.

Styles, scripts and the chart library of assets/ stand within the page, so it can be opened from a disk, sent by
mail, or attached to a run. The same results give the same bytes.
"""

from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from pipeline import chart_sections, sections
from pipeline.elements import ASSETS, Section, environment, inline
from pipeline.markdown import on
from pipeline.measured import Groups
from pipeline.plan import PlannedStudy
from pipeline.wording import answer

SECTIONS: Sequence[Callable[[PlannedStudy, Groups], Section | None]] = (
    chart_sections.ranking,
    sections.results,
    sections.published,
    chart_sections.comparisons,
    chart_sections.curves,
    chart_sections.calibration,
    chart_sections.confusion,
    sections.by_class,
    sections.settings,
    sections.reproduction,
)
"""In the order of the page; one that has nothing to say gives None."""

HOME = "index.html"


def page(study: PlannedStudy, groups: Groups, more: Sequence[Section] = ()) -> str:
    """The page of a study.

    Args:
        study: as planned.
        groups: what `measured.load` gives.
        more: sections that are not the study's own, such as its cost, which would not be the same each time.
    """
    title = " ".join(study.study.title.split())
    answers = [
        Markup("<p class=answer><strong>Answer{}.</strong> {}</p>").format(
            inline(on(groups, group)), inline(answer(group))
        )
        for group in groups
    ]
    lead = Markup("<p>{}</p>").format(study.study.question.strip()) + Markup("").join(answers)
    found = [section for make in SECTIONS if (section := make(study, groups))]
    return _render(title, lead, [*found, *more], HOME, ("plot.min.js", "charts.js", "page.js"))


def index(summaries: Sequence[dict[str, Any]]) -> str:
    """The page over all studies.

    Args:
        summaries: what `summary` gives of each.
    """
    lead = environment().get_template("index.html").render(summaries=summaries, inline=inline)
    return _render("Batch normalization, dropout, or both, and in which order?", Markup(lead), [], None, ("page.js",))


def summary(study: PlannedStudy, groups: Groups) -> dict[str, Any]:
    """What the index says of a study."""
    results = [result for group in groups for result in group]
    return {
        "name": study.name,
        "title": " ".join(study.study.title.split()),
        "question": " ".join(study.study.question.split()),
        "answers": [{"dataset": group[0].row.dataset, "answer": answer(group)} for group in groups],
        "rows": len(results),
        "runs": sum(len(result.runs) for result in results),
        "failed": sum(len(result.failures) for result in results),
    }


def _render(title: str, lead: Markup, parts: Sequence[Section], home: str | None, scripts: Sequence[str]) -> str:
    def asset(name: str) -> Markup:
        return Markup((ASSETS / name).read_text(encoding="utf-8").strip())

    template = environment().get_template("page.html")
    return (
        template.render(
            title=title,
            lead=lead,
            sections=parts,
            home=home,
            css=asset("page.css"),
            scripts=[asset(name) for name in scripts],
        )
        + "\n"
    )
