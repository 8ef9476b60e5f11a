"""A study as one HTML page that needs nothing beside it: no server, no network, no second file.

Styles, scripts and the chart library of assets/ stand within the page, so it can be opened from a disk, sent by mail,
or attached to a run. The same results give the same bytes.
"""

from collections.abc import Sequence

from markupsafe import Markup

from pipeline.findings.findings import Findings
from pipeline.reporting.prose import inline
from pipeline.reporting.section import ASSETS, Fold, Section, environment
from pipeline.reporting.sections import Report

HOME = "index.html"
"""The page over all studies."""


def page(found: Findings, report: Report) -> str:
    """The page of a study."""
    lead = [Markup("<p>{}</p>").format(found.question)]
    lead.append(Markup('<p class="answer"><strong>Answer.</strong> {}</p>').format(inline(found.answer)))
    if found.note:
        lead.append(Markup("<p><strong>Note.</strong> {}</p>").format(inline(found.note)))
    return render(found.title, Markup("\n").join(lead), report.first, report.folds, charts=True)


def render(
    title: str,
    lead: str | Markup,
    sections: Sequence[Section] = (),
    folds: Sequence[Fold] = (),
    home: str | None = HOME,
    charts: bool = False,
) -> str:
    """A page.

    Args:
        title: its heading.
        lead: what stands below it, text or HTML.
        sections: what everyone reads.
        folds: what opens on demand.
        home: a link back.
        charts: whether it has any; then what everyone reads stands in two columns, else below a list of its headings.
    """

    def asset(name: str) -> Markup:
        return Markup((ASSETS / name).read_text(encoding="utf-8").strip())

    scripts = [*(("plot.min.js", "charts.js") if charts else ()), "page.js"]
    content = {"title": title, "lead": lead, "sections": sections, "folds": folds, "home": home, "charts": charts}
    template = environment().get_template("page.html")
    return template.render(content, css=asset("page.css"), scripts=[asset(name) for name in scripts])
