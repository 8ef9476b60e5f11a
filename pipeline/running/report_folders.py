"""Which folders below reports/ belong to which study: what a report did not write, no report replaces."""

from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.errors import UserError
from pipeline.storage import read_notes

SUMMARY = "summary.json"
"""What every report leaves in its folder, with the name of its study."""


def summaries(reports: Path = paths.REPORTS) -> list[dict[str, Any]]:
    """What every report says in short, as `reporting.index.summary` gives it."""
    found = [read_notes(path) for path in sorted(reports.glob(f"*/{SUMMARY}"))]
    return [one for one in found if "demonstration" in one]  # else of an older version


def check(study: str, reports: Path = paths.REPORTS) -> None:
    """Whether reports/<study> is free for the study's report.

    Called by stage `plan` as well, since DVC removes a stage's old outputs before the stage is asked.

    Raises:
        UserError: there is something that this study's report did not write.
    """
    folder = reports / study
    if folder.exists() and read_notes(folder / SUMMARY).get("name") != study:
        where = paths.shown(folder)
        raise UserError(f"studies.{study}: its report would replace {where}, which it did not write; move that away")
