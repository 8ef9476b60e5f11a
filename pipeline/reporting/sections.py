"""The sections of a study's page that are words and tables; those that are charts stand in chart_sections.py.

Each is a pure function of the study and what was measured, and may have nothing to say; page.py says where it stands.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from markupsafe import Markup

from pipeline.findings.findings import Findings
from pipeline.findings.gallery import Exhibit
from pipeline.findings.measured import Result
from pipeline.findings.stats import paired_difference
from pipeline.findings.wording import NONE, contenders, interval, named, number, outcome, place, sentence
from pipeline.params.quantities import ACCURACY
from pipeline.reporting.elements import Cell, Section, details, exhibits, picture, table
from pipeline.reporting.gallery_section import RULE
from pipeline.reporting.markdown import ranking_notes
from pipeline.reporting.prose import prose


@dataclass(frozen=True)
class Metric:
    """How the table shows a column of seeds.csv.

    Args:
        heading: with unit.
        digits: decimals.
        scale: factor to the unit.
        meaning: in words.
        published: the key of a row under which publications report it.
    """

    heading: str
    digits: int = 4
    scale: float = 1
    meaning: str = ""
    published: str | None = None


@dataclass(frozen=True)
class Column:
    """A column of the table: its heading, what that means, and a row's cell."""

    heading: str
    meaning: str
    cell: Callable[[Result], Cell]


KEPT = "of the images that select, in test mode, with the weights that were tested"
FITTED = "of the training images, in test mode, with the weights that were tested"
METRICS = {
    "test_accuracy": Metric("test accuracy, %", 2, 100, "share of the test images that is recognized", "accuracy"),
    "test_loss": Metric("test loss, nats", meaning="mean cross-entropy", published="loss"),
    "test_auc": Metric("test AUC, micro", meaning="of all one-vs-rest decisions in one pool", published="auc"),
    "test_auc_keras": Metric("test AUC, Keras's estimate", meaning="the micro-average as 200 thresholds give it"),
    "test_auc_macro": Metric("test AUC, macro", meaning="mean over classes, one-vs-rest"),
    "test_ece": Metric("test ECE, %", 2, 100, "expected calibration error over 15 bins of equal width"),
    "final_val_accuracy": Metric("validation accuracy, %", 2, 100, KEPT),
    "final_val_loss": Metric("validation loss, nats", meaning=KEPT),
    "final_val_auc": Metric("validation AUC", meaning=KEPT),
    "final_train_accuracy": Metric("training accuracy, %", 2, 100, FITTED),
    "final_train_loss": Metric("training loss, nats", meaning=FITTED),
    "final_train_auc": Metric("training AUC", meaning=FITTED),
    "gap_accuracy": Metric("gap in accuracy, points", 2, 100, "training − validation"),
    "gap_loss": Metric("gap in loss, nats", meaning="training − validation"),
    "best_epoch": Metric("epochs to best", 1, meaning="after which the weights were kept"),
    "epochs": Metric("epochs trained", 1),
    "parameters": Metric("parameters", 0, meaning="numbers that training changes"),
}
"""Columns of seeds.csv in the order of the table; what else is in the file follows them."""


def results(found: Findings) -> Section:
    """Every metric of every row, failed runs included."""
    tables = [_table(group, found.on(group[0].row.dataset)) for group in found.groups]
    notes = prose(ranking_notes(found.results), "notes")
    return Section("All metrics", Markup("").join(tables) + notes)


def _table(group: list[Result], on: str) -> Markup:
    columns = [*_leading_columns(group), *_metric_columns(group)]
    head = [(column.heading, column.meaning) for column in columns]
    lines = [[column.cell(result) for column in columns] for result in group]
    return table(f"Means over seeds{on}, ± half the 95 % interval", head, lines)


def _leading_columns(group: list[Result]) -> Iterator[Column]:
    def rank(result: Result) -> Cell:
        text = place(result, group)
        return Cell(text, None if text == NONE else int(text))

    yield Column("#", "rank by mean test accuracy", rank)
    yield Column("row", "", lambda result: Cell(named(result), result.name))
    yield Column("each · end · head", "the network", lambda result: Cell(sentence(result.row), sentence(result.row)))
    yield Column("runs", "", lambda result: Cell(outcome(result), len(result.runs) - len(result.failures)))


def _metric_columns(group: list[Result]) -> Iterator[Column]:
    found = {name for result in group for run in result.runs for name in run.numbers}
    others = sorted(name for name in found - METRICS.keys() if not name.startswith("class_accuracy_"))
    for name in [*(name for name in METRICS if name in found), *others]:
        metric = METRICS.get(name, Metric(name.replace("_", " ")))
        yield Column(metric.heading, metric.meaning, partial(_measured, name=name, metric=metric))
        if any(_published(result, metric=metric).value is not None for result in group):
            meaning = "as its source reports it"
            yield Column(f"published {metric.published}", meaning, partial(_published, metric=metric))
        if name == "test_accuracy" and (rivals := contenders(group)):
            heading = f"paired difference to {rivals[0].name}, points"
            yield Column(heading, "of test accuracy over common seeds", partial(_difference, best=rivals[0]))


def _measured(result: Result, name: str, metric: Metric) -> Cell:
    estimate = result.estimate(name)
    return Cell(interval(estimate, metric.digits, metric.scale), estimate.mean if estimate else None)


def _published(result: Result, metric: Metric) -> Cell:
    known = result.row.published
    value = getattr(known, metric.published) if known and metric.published else None
    return Cell(number(value, metric.digits, metric.scale), value)


def _difference(result: Result, best: Result) -> Cell:
    difference = paired_difference(result.measure(ACCURACY), best.measure(ACCURACY))
    text = NONE if result is best else interval(difference, 2, 100, sign=True)
    return Cell(text, difference.mean if difference else None)


def gallery(found: Findings) -> Section | None:
    """What every row takes some test images for."""
    parts = []
    for shown in found.galleries:
        on = found.on(shown.dataset)
        parts.append(exhibits(f"The first test image of each class{on}", _exhibits(shown.first)))
        if shown.disputed:
            parts.append(exhibits(f"The most disputed test image of each class{on}", _exhibits(shown.disputed)))
    return Section("Gallery", prose(RULE, "") + Markup("").join(parts)) if parts else None


def _exhibits(shown: list[Exhibit]) -> list[dict[str, Any]]:
    return [{"picture": picture(exhibit.pixels), "exhibit": exhibit} for exhibit in shown]


def rows(found: Findings) -> Section:
    """How to have each row's results again."""
    parts = [details(named(result), _reproduction(found.study.name, result)) for result in found.results]
    return Section("Row by row", Markup("").join(parts))


def _reproduction(study: str, result: Result) -> Markup:
    name = result.name
    lines = [
        f"- Train it unless it is trained: `.venv/bin/dvc repro {result.stage}`",
        f"- Train it afresh: `.venv/bin/dvc repro --force --single-item {result.stage}`",
        f"- See its layers: `pipeline/python -m pipeline.network {name}`",
        f"- Commit: `git log -1 --format=%H -- reports/{study}.html`",
        f"- Data: MD5 `{result.spec['data']}`; code: MD5 `{result.spec['code']}`",
        f"- MLflow: experiment `{study}`, search `tags.row = '{name}' and tags.current = 'yes'`, one run per seed; what"
        f" they cost, and on which hardware, is attached to the run `summary of {study}`",
    ]
    lines += [f"- Seed {run.seed} failed: {run.failure}" for run in result.failures]
    return prose("\n".join(lines), name)
