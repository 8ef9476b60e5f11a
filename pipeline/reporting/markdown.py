"""The report as Markdown, for whoever opens the repository."""

from pipeline.findings.findings import Findings
from pipeline.reporting.sections import Report


def markdown(found: Findings, report: Report) -> str:
    """The report of a study."""
    note = f"**Note.** {found.note}" if found.note else ""
    first = (section.markdown() for section in report.first)
    parts = [f"# {found.title}", found.question, f"**Answer.** {found.answer}", note, *first]
    return "\n\n".join(filter(None, [*parts, *(fold.markdown for fold in report.folds)])) + "\n"
