"""A study's ranking and answer in a terminal of 80 columns, its words explained, and what one would do next."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import paths
from pipeline.findings.answers import answer
from pipeline.findings.measured import Groups, Result
from pipeline.findings.wording import contenders, mean, named, outcome, percent, place
from pipeline.params.studies import Study
from pipeline.text import console

if TYPE_CHECKING:
    from rich.table import Table

WORDS = """\
accuracy  test images recognized, %: mean of the runs ± half its 95 % interval
loss      on test images (cross-entropy, nats): high where it is surely wrong
gap       points of accuracy lost from training to validation images
runs      that finished, each with other weights, images, order and masks"""


def show(study: Study, groups: Groups, report: Path) -> None:
    """Prints it; without colours and frames where nobody watches."""
    screen = console()
    for group in groups:
        if len(groups) > 1:
            screen.print(f"Data set {group[0].row.dataset}")
        screen.print(_ranking(group, screen.is_terminal))
        for result in (result for result in group if result.failures):
            screen.print(f"{result.name}: {outcome(result)}")
    screen.print(f"{WORDS}\n")
    screen.print(f"{answer(study, groups).replace('`', '')}\n")
    if study.note:
        screen.print(f"Note: {' '.join(study.note.split())}\n")
    screen.print(next_steps(groups, report), soft_wrap=True)


def _ranking(group: Sequence[Result], framed: bool) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    ranking = Table(box=SIMPLE_HEAD if framed else None, pad_edge=False)
    ranking.add_column("#", justify="right", no_wrap=True)
    ranking.add_column("row", overflow="fold")  # gives way in a narrow terminal: names are folded, numbers stay
    for name in ("accuracy, %", "loss", "gap", "runs"):
        ranking.add_column(name, justify="right", no_wrap=True)
    for result in group:
        numbers = [percent(result.estimate("test_accuracy")), mean(result, "test_loss", 3)]
        numbers += [mean(result, "gap_accuracy", 1, 100), str(len(result.runs) - len(result.failures))]
        ranking.add_row(place(result, group), named(result), *numbers)
    return ranking


def next_steps(groups: Groups, report: Path) -> str:
    """Three things to do next, as commands that can be pasted."""
    best = next((contenders(group)[0].name for group in groups if contenders(group)), groups[0][0].name)
    return "\n".join(
        [
            f"All of it:        {report.with_suffix('.html').as_uri()}",
            f"                  or {paths.shown(report)}",
            f"Try a value:      make try ROW={best} SET=optimizer.lr=0.01",
            "Your own images:  make new IMAGES=~/photos.zip",
        ]
    )
