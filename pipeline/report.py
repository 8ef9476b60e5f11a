"""Stage `report@<study>`: what a study found, as Markdown with figures for whoever opens the repository, and as
one HTML page for a browser.

    pipeline/python -m pipeline.report STUDY          writes reports/<study>.md, .html, and what belongs to them beside
    pipeline/python -m pipeline.report --show STUDY   prints the ranking again and writes nothing

Only the rows that the plan lists are read: outputs of rows that were removed stay on disk. The same
outputs give the same bytes, so the report can be checked like every other output.
"""

if __name__ == "__main__":
    from pipeline import arithmetic

    arithmetic.settle()  # first: NumPy looks at it when it is imported

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from pipeline import paths
from pipeline.errors import UserError, command
from pipeline.findings import gallery, seed_table
from pipeline.findings.findings import Findings
from pipeline.findings.measured import Groups, load
from pipeline.findings.verdicts import Verdict, judge
from pipeline.params import facts
from pipeline.params.planned import PlannedStudy, read_claims, read_study
from pipeline.reporting.terminal import show
from pipeline.running import forkserver, report_folders
from pipeline.running.report_folders import SUMMARY
from pipeline.storage import write_atomically, write_json
from pipeline.tracking.tracker import Tracker


def write(study: PlannedStudy, groups: Groups, reports: Path, verdicts: Sequence[Verdict] = ()) -> None:
    """Writes a study's report, and the index anew; what was there is replaced when all of it is made."""
    from pipeline.reporting.index import summary
    from pipeline.reporting.markdown import markdown
    from pipeline.reporting.page import page
    from pipeline.reporting.sections import report

    report_folders.check(study.name, reports)
    found = Findings(study, groups, gallery.load(groups), verdicts)
    draft, target = reports / f".draft-{study.name}", reports / study.name
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        made = report(found)
        for picture in made.pictures:
            write_atomically(draft / Path(picture.path).name, picture.svg.encode())
        texts = {".md": markdown(found, made), ".html": page(found, made)}
        table = seed_table.write(seed_table.of(found.planned))
        write_atomically(draft / seed_table.FILE, table.encode())
        write_json(draft / SUMMARY, summary(found))
        shutil.rmtree(target, ignore_errors=True)
        draft.replace(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    for ending, text in texts.items():
        write_atomically(reports / f"{study.name}{ending}", text.encode())
    _write_index(reports)


def _write_index(reports: Path) -> None:
    """Writes the story over all studies with a report, as Markdown and as a page, and their answers into README.md.

    These are no outputs of a stage, which would have to depend on all reports: who wants one does not want all.
    """
    from pipeline.reporting import index
    from pipeline.reporting.page import HOME, render

    lock = paths.STORE / "locks" / "index"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):  # of two reports that end together, the later one sees both
        summaries = index.ranked(report_folders.summaries(reports))
        made = index.sections(summaries)
        write_atomically(reports / HOME, render(index.TITLE, index.LEAD, made, home=None).encode())
        text = "\n\n".join([f"# {index.TITLE}", index.LEAD, *(section.markdown() for section in made)])
        write_atomically(reports / "README.md", f"{text}\n".encode())
        if (readme := reports.parent / "README.md").exists():
            write_atomically(readme, index.with_answers(readme.read_text(encoding="utf-8"), summaries).encode())


@command
def main() -> None:
    words = sys.argv[1:]
    only_show = words[:1] == ["--show"]
    if len(words) != 1 + only_show:
        raise UserError("usage: pipeline/python -m pipeline.report [--show] STUDY")
    if not only_show:
        forkserver.start(["pipeline.tracking.mlflow_log"])  # first: it imports what logs while this process draws
    with facts.kept():
        _report(words[-1], only_show)


def _report(name: str, only_show: bool) -> None:
    study = read_study(name)
    report = paths.REPORTS / f"{study.name}.md"
    groups = load(study, paths.RUNS / study.name, paths.DIAGNOSIS / study.name)
    if not only_show:
        results = {result.name: result for group in groups for result in group}
        verdicts = judge(read_claims(study.name), results, study.study.looks)
        with Tracker() as tracker:
            write(study, groups, paths.REPORTS, verdicts)
            if paths.ROOT == paths.HOME:  # a queued experiment tries something out beside the study
                tracker.summarize(study.name)
    elif not report.exists():
        raise UserError(f"{paths.shown(report)}: missing; run '.venv/bin/dvc repro report@{study.name}'")
    show(study.study, groups, report)


if __name__ == "__main__":
    main()
