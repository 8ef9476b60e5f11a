"""A study as one HTML page that needs nothing beside it: no server, no network, no second file.

The page has the sections of the Markdown report, pictures included, and charts and a sortable table in place of
those that a browser can show better. Styles, scripts and the chart library of assets/ stand within the page, so it
can be opened from a disk, sent by mail, or attached to a run. The same results give the same bytes.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from pipeline.findings import answers
from pipeline.findings.answers import answer
from pipeline.findings.findings import Findings
from pipeline.reporting import chart_sections, sections
from pipeline.reporting.claims_section import lead as claims_lead
from pipeline.reporting.claims_section import tally
from pipeline.reporting.elements import ASSETS, Section, environment, words
from pipeline.reporting.prose import inline

HOME = "index.html"
"""The page over all studies."""

ANSWERS, ANSWERS_END = "<!-- what studies answer, as their reports say it -->", "<!-- answers end -->"
"""Marks in README.md between which the reports write."""

Makers = Mapping[str, Sequence[Callable[[Findings], Section | None]]]

INSTEAD: Makers = {
    "Ranking": (chart_sections.ranking, sections.results),
    "Differences, AUC and calibration": (chart_sections.comparisons,),
    "Curves": (chart_sections.curves, chart_sections.calibration, chart_sections.confusion),
    "Variance shift": (chart_sections.shift,),
    "Gallery": (sections.gallery,),
}
"""What stands in place of a section of the Markdown report, by its heading; one with nothing to say gives None."""

AFTER: Makers = {"How to reproduce": (sections.rows,)}
"""What follows a section of the Markdown report."""


def page(found: Findings) -> str:
    """The page of a study."""
    lead = [Markup("<p>{}</p>").format(found.study.study.question.strip())]
    text = Markup('<p class="answer"><strong>Answer.</strong> {}</p><p class="note">{}</p>')
    lead.append(text.format(inline(answer(found.study.study, found.groups)), inline(answers.NOTE)))
    if found.study.study.note:
        lead.append(Markup("<p><strong>Note.</strong> {}</p>").format(inline(found.study.study.note)))
    if found.verdicts:
        lead.append(Markup("<p><strong>Claims.</strong> {}</p>").format(inline(claims_lead(found.verdicts))))
    title = " ".join(found.study.study.title.split())
    scripts = ("plot.min.js", "charts.js", "page.js")
    return _render(title, Markup("\n").join(lead), list(_sections(found)), HOME, scripts)


def _sections(found: Findings) -> Iterator[Section]:
    _, *parts = re.split(r"^## (.+)$", found.report, flags=re.MULTILINE)
    made = set()
    for heading, body in zip(parts[::2], parts[1::2], strict=True):
        name = heading.partition(" on `")[0]
        if name not in INSTEAD:
            yield words(heading, body, found.figures)
        if name not in made:  # once for all data sets
            for make in (*INSTEAD.get(name, ()), *AFTER.get(name, ())):
                if section := make(found):
                    yield section
        made.add(name)


def index(summaries: Sequence[dict[str, Any]]) -> str:
    """The page over all studies.

    Args:
        summaries: what `summary` gives of each.
    """
    lead = environment().get_template("index.html").render(summaries=summaries, inline=inline)
    return _render("Batch normalization, dropout, or both, and in which order?", Markup(lead), [], None, ("page.js",))


def with_answers(readme: str, summaries: Sequence[dict[str, Any]]) -> str:
    """README.md with what studies answer between its marks, if it has them.

    Args:
        readme: as it is.
        summaries: what `summary` gives of each.
    """
    told = "".join(
        f"- [{one['title']}](reports/{one['name']}.md): {one['answer']}{' ' * bool(one['note'])}{one['note']}\n"
        for one in summaries
    )
    return re.sub(f"(?<={ANSWERS}\n).*?(?={ANSWERS_END})", lambda _: told, readme, count=1, flags=re.DOTALL)


def summary(found: Findings) -> dict[str, Any]:
    """What the index says of a study."""
    return {
        "name": found.study.name,
        "title": " ".join(found.study.study.title.split()),
        "question": " ".join(found.study.study.question.split()),
        "answer": answer(found.study.study, found.groups),
        "note": found.study.study.note or "",
        "rows": len(found.results),
        "runs": sum(len(result.runs) for result in found.results),
        "failed": sum(len(result.failures) for result in found.results),
        "claims": tally(found.verdicts),
    }


def _render(title: str, lead: Markup, parts: Sequence[Section], home: str | None, scripts: Sequence[str]) -> str:
    def asset(name: str) -> Markup:
        return Markup((ASSETS / name).read_text(encoding="utf-8").strip())

    return (
        environment()
        .get_template("page.html")
        .render(
            title=title,
            lead=lead,
            sections=parts,
            home=home,
            css=asset("page.css"),
            scripts=[asset(name) for name in scripts],
        )
    )
