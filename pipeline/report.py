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
from typing import TYPE_CHECKING

from filelock import FileLock

from pipeline import paths
from pipeline.errors import UserError, command
from pipeline.findings import gallery, seed_table
from pipeline.findings.answers import answer
from pipeline.findings.decisions import level
from pipeline.findings.findings import Findings
from pipeline.findings.gallery import Gallery
from pipeline.findings.measured import Groups, Result, load
from pipeline.findings.verdicts import Verdict, judge
from pipeline.findings.wording import MOST_PANELS, mean, named, outcome, percent, place, sentence
from pipeline.params.planned import PlannedStudy, read_claims, read_study
from pipeline.params.quantities import ACCURACY
from pipeline.params.studies import Study
from pipeline.reporting import claims_section, tuning_sections
from pipeline.reporting.diagnosis_sections import SHIFT_FIGURE
from pipeline.reporting.markdown import FIGURES, RISING, markdown
from pipeline.reporting.tuning_sections import BUDGET_FIGURE, TRIALS_FIGURE
from pipeline.running import forkserver, report_folders
from pipeline.running.report_folders import SUMMARY
from pipeline.storage import read_notes, write_atomically, write_json
from pipeline.tracking.tracker import Tracker

if TYPE_CHECKING:
    from rich.table import Table

    from pipeline.reporting.charts import Dots
    from pipeline.reporting.panels import Panel
    from pipeline.reporting.shift_chart import Ratios


def write(study: PlannedStudy, groups: Groups, reports: Path, verdicts: Sequence[Verdict] = ()) -> None:
    """Writes a study's report, and the index anew; what was there is replaced when all of it is made."""
    from pipeline.reporting.page import page, summary

    report_folders.check(study.name, reports)
    galleries = gallery.load(groups)
    draft, target = reports / f".draft-{study.name}", reports / study.name
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        text = markdown(study, groups, galleries, verdicts)
        _draw(study, groups, galleries, draft)
        claims_section.draw(verdicts, draft)
        results = {result.name: result for group in groups for result in group}
        table = seed_table.write(seed_table.of(results[name] for name in study.rows))
        write_atomically(draft / seed_table.FILE, table.encode())
        found = Findings(study, groups, galleries, verdicts, text, draft)
        texts = {".md": text, ".html": page(found)}
        write_json(draft / SUMMARY, summary(found))
        shutil.rmtree(target, ignore_errors=True)
        draft.replace(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    for ending, text in texts.items():
        write_atomically(reports / f"{study.name}{ending}", text.encode())
    _write_index(reports)


def _write_index(reports: Path) -> None:
    """Writes the page over all studies that have a report, and what they answer into README.md.

    These are no outputs of a stage, which would have to depend on all reports: who wants one does not want all.
    """
    from pipeline.reporting.page import HOME, index, with_answers

    lock = paths.STORE / "locks" / "index"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):  # of two reports that end together, the later one sees both
        found = [read_notes(path) for path in sorted(reports.glob(f"*/{SUMMARY}"))]
        summaries = [one for one in found if "answer" in one]  # one that an older version wrote has none
        write_atomically(reports / HOME, index(summaries).encode())
        if (readme := reports.parent / "README.md").exists():
            write_atomically(readme, with_answers(readme.read_text(encoding="utf-8"), summaries).encode())


def _draw(study: PlannedStudy, groups: Groups, galleries: Sequence[Gallery], folder: Path) -> None:
    from pipeline.reporting import charts, panels, shift_chart, tuning_charts
    from pipeline.reporting.gallery_figure import gallery_figure

    results = [result for group in groups for result in group]
    with charts.style():
        titles = {f"data set {group[0].row.dataset}": [_dots(result) for result in group] for group in groups}
        charts.save_svg(charts.dots_figure(titles), folder / "runs.svg")
        for file, (column, label) in FIGURES.items():
            shown = _panels(results[:MOST_PANELS], column)
            charts.save_svg(panels.curves_figure(shown, label, column in RISING), folder / f"{file}.svg")
        if ratios := _ratios(study, results):
            charts.save_svg(shift_chart.shift_figure(ratios), folder / f"{SHIFT_FIGURE}.svg")
        if searches := tuning_sections.searches(results):
            charts.save_svg(tuning_charts.trials_figure(searches), folder / f"{TRIALS_FIGURE}.svg")
            charts.save_svg(tuning_charts.budget_figure(searches), folder / f"{BUDGET_FIGURE}.svg")
        if galleries:
            charts.save_svg(gallery_figure(galleries), folder / "gallery.svg")


def _dots(result: Result) -> "Dots":
    from pipeline.reporting.charts import Dots

    published = result.row.published.accuracy if result.row.published else None
    values = list(result.measure(ACCURACY).values())
    return Dots(result.name, values, result.accuracy, published, result.leaking)


def _panels(results: Sequence[Result], column: str) -> "list[Panel]":
    from pipeline.reporting.panels import Panel, aligned

    if column == "lr" and (common := _common_rates(results)):
        return [Panel("all rows", "", {"learning rate": aligned([common])})]
    kinds = {"training": f"train_{column}", "validation": f"val_{column}"}
    if column == "lr":
        kinds = {"learning rate": "lr"}
    scale = 100 if column == "accuracy" else 1
    return [
        Panel(
            named(result),
            result.row.dataset,
            {kind: scale * aligned(result.curves[source]) for kind, source in kinds.items()},
        )
        for result in results
    ]


def _ratios(study: PlannedStudy, results: Sequence[Result]) -> "dict[str, Ratios]":
    """What the figure of the shift shows, by row that has batch norms, in the order of the plan."""
    from pipeline.reporting.panels import aligned
    from pipeline.reporting.shift_chart import COLUMNS

    found = {result.name: result.diagnosis for result in results if result.diagnosis}
    shown = [name for name in study.rows if name in found and any(found[name].layers.values())]
    return {name: {column: aligned(found[name].by_layer(column)) for column in COLUMNS} for name in shown[:MOST_PANELS]}


def _common_rates(results: Sequence[Result]) -> list[float]:
    """The learning rate by epoch where all runs follow the same, for as long as they train; else nothing."""
    lines = [line for result in results for line in result.curves["lr"]]
    longest = max(lines, key=len, default=[])
    return longest if all(line == longest[: len(line)] for line in lines) else []


def show(study: Study, groups: Groups, report: Path) -> None:
    """Prints the ranking and where the report lies; without colours and frames where nobody watches."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 10_000
    for group in groups:
        if len(groups) > 1:
            console.print(f"Data set {group[0].row.dataset}", markup=False)
        console.print(_ranking_table(group, console.is_terminal))
        for result in (result for result in group if result.failures):
            console.print(f"{result.name}: {outcome(result)}", markup=False)
    console.print(f"{answer(study, groups).replace('`', '')}\n", markup=False)
    if study.note:
        console.print(f"Note: {study.note.strip()}\n", markup=False)
    console.print(f"Report: {paths.shown(report)}", markup=False, soft_wrap=True)
    console.print(f"In a browser: {report.with_suffix('.html').as_uri()}", markup=False, soft_wrap=True)


def _ranking_table(group: Sequence[Result], framed: bool) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    ranking = Table(box=SIMPLE_HEAD if framed else None, pad_edge=False)
    ranking.add_column("#", justify="right", no_wrap=True)
    # The columns that may wrap give way in a narrow terminal: names are folded, sentences cut, numbers stay.
    ranking.add_column("row", overflow="fold")
    for name in ("accuracy, %", "loss", "gap", "runs"):
        ranking.add_column(name, justify="right", no_wrap=True)
    ranking.add_column(Text("each · end · head", no_wrap=True))
    for result in group:
        numbers = [percent(result.estimate("test_accuracy")), mean(result, "test_loss", 3)]
        numbers += [mean(result, "gap_accuracy", 2, 100), str(len(result.runs) - len(result.failures))]
        words = Text(sentence(result.row), no_wrap=True, overflow="ellipsis")
        ranking.add_row(place(result, group), named(result), *numbers, words)
    return ranking


@command
def main() -> None:
    words = sys.argv[1:]
    only_show = words[:1] == ["--show"]
    if len(words) != 1 + only_show:
        raise UserError("usage: pipeline/python -m pipeline.report [--show] STUDY")
    if not only_show:
        forkserver.start("pipeline.tracking.mlflow_log")  # first: it imports what logs while this process draws
    study = read_study(words[-1])
    report = paths.REPORTS / f"{study.name}.md"
    groups = load(study, paths.RUNS / study.name, paths.DIAGNOSIS / study.name)
    if not only_show:
        results = {result.name: result for group in groups for result in group}
        verdicts = judge(read_claims(study.name), results, level(study.study.looks))
        with Tracker() as tracker:
            write(study, groups, paths.REPORTS, verdicts)
            if paths.ROOT == paths.HOME:  # a queued experiment tries something out beside the study
                tracker.summarize(study.name)
    elif not report.exists():
        raise UserError(f"{paths.shown(report)}: missing; run '.venv/bin/dvc repro report@{study.name}'")
    show(study.study, groups, report)


if __name__ == "__main__":
    main()
