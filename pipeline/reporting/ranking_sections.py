"""The sections on how well rows do: the ranking, every metric, and what was published beside what was measured."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pipeline.findings.evidence import difference
from pipeline.findings.findings import Findings
from pipeline.findings.measured import Result
from pipeline.findings.stats import Estimate
from pipeline.findings.wording import (
    NONE,
    cell,
    contenders,
    interval,
    marked,
    mean,
    named,
    number,
    outcome,
    percent,
    place,
    sentence,
    signed,
    table,
)
from pipeline.params.quantities import ACCURACY, CLASS
from pipeline.params.studies import Source
from pipeline.reporting import charts
from pipeline.reporting.grid import grid, grid_figure, shares
from pipeline.reporting.section import Cell, Part, Picture, Section, Words, chart, shaded


@dataclass(frozen=True)
class Metric:
    """How a table shows a column of seeds.csv.

    Args:
        heading: with unit.
        digits: decimals.
        scale: factor to the unit.
    """

    heading: str
    digits: int = 4
    scale: float = 1


TABLES = {
    "Test images": {
        "test_loss": Metric("loss, nats"),
        "test_auc": Metric("AUC, micro"),
        "test_auc_keras": Metric("AUC, Keras's estimate"),
        "test_auc_macro": Metric("AUC, macro"),
        "test_ece": Metric("ECE, %", 2, 100),
    },
    "Training and validation images, with the weights that were tested": {
        "final_train_accuracy": Metric("training accuracy, %", 2, 100),
        "final_val_accuracy": Metric("validation accuracy, %", 2, 100),
        "gap_accuracy": Metric("gap, points", 2, 100),
        "final_train_auc": Metric("training AUC"),
        "final_val_auc": Metric("validation AUC"),
    },
    "The same, loss": {
        "final_train_loss": Metric("training loss, nats"),
        "final_val_loss": Metric("validation loss, nats"),
        "gap_loss": Metric("gap, nats"),
    },
}
"""Columns of seeds.csv by the table that shows them, beside those of the first table."""

COUNTS = {
    "best_epoch": Metric("epoch kept", 1),
    "epochs": Metric("epochs trained", 1),
    "parameters": Metric("parameters", 0),
}
"""Columns of the first table, beside accuracy."""

LEAKING = (
    "† Selected on test images (`select_on: test`): the test images leak into the choice of the epoch, so these test"
    " results are optimistic."
)
PUBLISHED = (
    ("accuracy", "test_accuracy", "accuracy, %", 2, 100),
    ("loss", "test_loss", "loss, nats", 4, 1),
    ("auc", "test_auc", "AUC", 4, 1),
    ("auc", "test_auc_keras", "AUC as Keras estimates it", 4, 1),
)
"""What is published and what is measured beside it: key, column, heading, decimals and factor."""

PUBLISHED_NOTE = (
    "Difference = measured − published, in points for accuracy. The published values come without intervals, so"
    " chance on their side is not in ±. AUC is the micro-average, of all one-vs-rest decisions in one pool. Keras's"
    " `AUC()`, which publications may have used, estimates it with 200 thresholds: low for confident networks."
)
GRID = "Means over the seeds, ± half the 95 % interval; the deeper the colour, the higher."
DOTS = "A dot is a run, one per seed; the thick line is their mean, the bar its 95 % interval."


def ranking(found: Findings) -> Iterator[Section]:
    """Every row, best first; of rows that are a grid, the grid."""
    parts = [_grid(found, group) or _dots(found, group) for group in found.groups]
    short = f"Row names are shown without `{found.study.prefix}`." if found.study.prefix else ""
    leaking = LEAKING if any(result.leaking for result in found.results) else ""
    yield Section("Ranking", [*parts, *(Words(text) for text in (short, leaking) if text)])


def _grid(found: Findings, group: Sequence[Result]) -> Part | None:
    made = grid(group)
    if made is None:
        return None
    dataset, depth = group[0].row.dataset, shares(made)
    texts = {row.name: _cell_text(row) for row in group}
    head = [made.across, *(f"{column:g}" for column in made.columns)]
    lines = [
        (
            name,
            [
                Cell(texts[row.name], depth.get(row.name)) if row else Cell("", None)
                for row in map(line.get, made.columns)
            ],
        )
        for name, line in made.lines.items()
    ]
    alt = f"Mean test accuracy in percent, by {made.across} and arrangement"
    picture = Picture(found.path("grid", dataset), alt, lambda: charts.svg(lambda: grid_figure(made, texts)))
    title = f"Test accuracy{found.on(dataset)}, %"
    return shaded(title, GRID, head, lines, picture, Words(f"{title}. {GRID}"))


def _cell_text(row: Result) -> str:
    failed = f"{len(row.failures)} of {len(row.runs)} failed" if row.failures else ""
    return ", ".join(filter(None, [interval(row.accuracy, 1, 100), failed]))


def _dots(found: Findings, group: Sequence[Result]) -> Part:
    dataset = group[0].row.dataset
    alt = "Test accuracy of each run, with the mean and its 95 % interval for each row"
    picture = Picture(found.path("runs", dataset), alt, partial(_draw, group))
    known = " A diamond is the published value." if any(map(charts.published, group)) else ""
    text = DOTS + known
    return chart("dots", f"Test accuracy{found.on(dataset)}", text, ranked(group), picture, Words(text))


def _draw(group: Sequence[Result]) -> str:
    return charts.svg(lambda: charts.dots_figure(group))


def ranked(group: Sequence[Result]) -> dict[str, Any]:
    """Data of a chart of dots: accuracies in percent."""
    lines = []
    for result in group:
        failed = f", {len(result.failures)} of {len(result.runs)} failed" if result.failures else ""
        line = {
            "name": f"{place(result, group)}  {named(result)}",
            "note": f"{percent(result.accuracy)}{failed}",
            "values": [[seed, 100 * value] for seed, value in result.measure(ACCURACY).items()],
            "published": charts.published(result),
            "marked": result.leaking,
        }
        lines.append(line | _ends(result.accuracy, 100))
    return {"label": "Test accuracy, %", "each": "seed", "lines": lines}


def _ends(estimate: Estimate, scale: float) -> dict[str, float | None]:
    """A mean and its interval."""
    ends = (estimate.mean, estimate.low, estimate.high)
    return {key: None if end is None else scale * end for key, end in zip(("mean", "low", "high"), ends, strict=True)}


def metrics(found: Findings) -> Iterator[Section]:
    """Every metric of every row, failed runs included."""
    for group in found.groups:
        on = found.on(group[0].row.dataset)
        yield Section(f"Test accuracy{on}", [Words(_first(group))])
        columns = {column for result in group for run in result.runs for column in run.numbers}
        known = {name for metrics in TABLES.values() for name in metrics} | {"test_accuracy", *COUNTS}
        others = sorted(name for name in columns - known if not name.startswith(CLASS))
        tables = TABLES | {"Other numbers": {name: Metric(name.replace("_", " ")) for name in others}}
        for title, metrics in tables.items():
            shown = {name: metric for name, metric in metrics.items() if name in columns}
            lines = [[marked(result), *(_measured(result, *item) for item in shown.items())] for result in group]
            if shown:
                head = ["row", *(metric.heading for metric in shown.values())]
                yield Section(f"{title}{on}", [Words(table(head, lines))])


def _first(group: list[Result]) -> str:
    best = next(iter(contenders(group)), None)
    against = f"difference to `{best.label}`, points" if best else "difference, points"
    head = ["row", "#", "test accuracy, %", against, *(metric.heading for metric in COUNTS.values())]
    head += ["runs", "each · end · head"]
    lines = []
    for result in group:
        numbers = [place(result, group), percent(result.accuracy), _difference(result, best)]
        numbers += [mean(result, name, metric.digits) for name, metric in COUNTS.items()]
        lines.append([marked(result), *numbers, cell(outcome(result)), f"`{sentence(result.row)}`"])
    return table(head, lines, numbers_to=-2)


def _measured(result: Result, name: str, metric: Metric) -> str:
    return interval(result.estimate(name), metric.digits, metric.scale)


def _difference(result: Result, best: Result | None) -> str:
    if best is None or result is best:
        return NONE
    return interval(difference(ACCURACY, result, best), 2, 100, sign=True)


def published(found: Findings) -> Iterator[Section]:
    """What sources report beside what was measured; nothing where no row has a source."""
    lines = [line for result in found.results for line in _published_lines(result)]
    head = ["row", "measured over", "source", "metric", "published", "measured", "difference"]
    parts = [table(head, lines, numbers_from=4), PUBLISHED_NOTE] if lines else []
    parts += ["\n".join(map(_about, found.study.sources))] if found.study.sources else []
    if parts:
        yield Section("Published beside measured", [Words(part) for part in parts])


def _about(source: Source) -> str:
    """What rows take from a publication, what it leaves open, and what they take for that."""
    parts = (("copied", source.copied), ("left open", source.left_open), ("taken", source.taken))
    known = "; ".join(f"{word}: {cell(text)}" for word, text in parts if text)
    return f"- {cell(source.cite)}{f'; {known}' if known else ': nobody has written down what was copied'}."


def _published_lines(result: Result) -> Iterator[list[str]]:
    known = result.row.published
    for key, name, label, digits, scale in PUBLISHED:
        value, measured = getattr(known, key, None), result.estimate(name)
        if known and value is not None:
            difference = signed(scale * (measured.mean - value), digits) if measured else NONE
            numbers = [number(value, digits, scale), interval(measured, digits, scale), difference]
            yield [marked(result), _protocol(result), cell(known.source or "not named"), label, *numbers]


def _protocol(result: Result) -> str:
    finished = len(result.runs) - len(result.failures)
    images = f"{result.spec['images']['train']:,} training images"
    return f"{finished} runs on {images}, selected on {result.row.select_on} images"
