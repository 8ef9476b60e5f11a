"""The sections on what the stage `diagnose` measures; none where nothing applies."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from pipeline.findings.findings import Findings
from pipeline.findings.measured import Result
from pipeline.findings.stats import mean_interval, paired_difference
from pipeline.findings.wording import MOST_PANELS, NONE, interval, marked, named, number, table
from pipeline.reporting import charts
from pipeline.reporting.curve_sections import SHOWN
from pipeline.reporting.panels import aligned, summarize
from pipeline.reporting.section import Picture, Section, Words, chart
from pipeline.reporting.shift_chart import COLUMNS, shift_figure

SHIFT_NOTE = (
    "The shift of a batch norm is max(real / moving, moving / real). Moving is the mean over channels of the variance"
    " that it learned in training, its running variance; real is the same moving average taken in test mode over the"
    " training images with their augmentation, while all norms normalize with their running statistics (Li et al. 2018,"
    " arXiv 1801.05134). A norm's shift contains what the norms before it hand on, which multiplies along the network;"
    " its *own shift* is what is left where the norms before it are given exact statistics first. Without dropout a"
    " shift is not quite 1: the running variance still holds batches of older weights. Means over seeds are geometric,"
    " with 95 % intervals of the logarithm, since shifts multiply. The published range is over networks, as far as the"
    " publication gives one."
)
FORMULA_NOTE = (
    "A formula applies where dropout stands directly before the norm (a) or before the weights whose output the norm"
    " takes (b). It knows of the nearest dropout only, so compare it with the own shift. Formula (b) takes one mean,"
    " one variance and one correlation for all inputs of a unit; the last column gives each input its own."
)


def _values(result: Result, column: str) -> dict[int, float]:
    return result.diagnosis.values(column) if result.diagnosis else {}


def _mean(values: Mapping[int, float], digits: int, scale: float = 1.0, sign: bool = False) -> str:
    """Mean and interval over seeds."""
    return interval(mean_interval(list(values.values())) if values else None, digits, scale, sign)


def _geometric(values: Mapping[int, float], digits: int) -> str:
    """Geometric mean over seeds and its interval, those of the logarithms: ratios multiply."""
    if not values:
        return NONE
    found = mean_interval([math.log(value) for value in values.values()])
    middle = number(math.exp(found.mean), digits)
    if found.low is None or found.high is None:
        return middle
    low, high = (number(math.exp(end), digits) for end in (found.low, found.high))
    return f"{middle} ({low} to {high})"


def shift(found: Findings) -> Iterator[Section]:
    """By how much each batch norm meets another variance in test mode than training left it."""
    rows = [result for result in found.planned if result.diagnosis and result.diagnosis.shifts("ratio")]
    if not rows:
        return
    text = (
        "Variance in test mode by that which training left, means over the seeds, for each batch norm in network order;"
        " bands hold 90 % of the channels. Under 1, a norm meets less variance than it divides by. Dashed: its own"
        " shift, where the norms before it have exact statistics."
    )
    many = f" of the first {MOST_PANELS}" if len(rows) > MOST_PANELS else ""
    alt = f"Variance in test mode by variance in training, by layer, a panel per row{many}"
    picture = Picture(found.path("shift"), alt, partial(_draw, rows[:MOST_PANELS]))
    series = [line for row, result in enumerate(rows) for line in _ratios(row, result)]
    measures = [{"label": "variance, test mode / training", "scale": "ratio", "series": series}]
    data = {"x": "batch norm", "rows": [named(result) for result in rows], "shown": SHOWN, "points": True}
    drawn = chart("curves", "Variance shift by layer", text, data | {"measures": measures}, picture, Words(text))
    yield Section("Variance shift", [Words(_shifts(rows)), Words(SHIFT_NOTE), drawn])
    if formulas := _formulas(rows):
        yield Section("Variance shift by formula", [Words(formulas), Words(FORMULA_NOTE)])


def _ratios(row: int, result: Result) -> Iterator[dict[str, Any]]:
    """A row's shift, its own shift and what the formula predicts, as lines by layer."""
    assert result.diagnosis
    low, high = (summarize(aligned(result.diagnosis.by_layer(column)))[0].tolist() for column in ("q05", "q95"))
    for kind, column in (("measured", "ratio"), ("own shift", "ratio_alone"), ("formula", "predicted")):
        mean = summarize(aligned(result.diagnosis.by_layer(column)))[0]
        if np.isfinite(mean).any():
            line = {"row": row, "kind": kind, "x": list(range(1, len(mean) + 1)), "mean": mean.tolist()}
            yield line | ({"low": low, "high": high} if kind == "measured" else {})


def _draw(rows: list[Result]) -> str:
    shown = {
        named(row): {column: aligned(row.diagnosis.by_layer(column)) for column in COLUMNS}
        for row in rows
        if row.diagnosis
    }
    return charts.svg(lambda: shift_figure(shown))


def _shifts(rows: Sequence[Result]) -> str:
    lines = []
    for row in rows:
        assert row.diagnosis
        known = row.row.published.shift if row.row.published else None
        published = "–".join(number(value, 2) for value in known) if known else NONE
        means = (_geometric(row.diagnosis.shifts(column), 3) for column in ("ratio", "ratio_alone"))
        lines.append([marked(row), *means, published])
    return table(["row", "shift, mean over layers", "own shift", "published"], lines)


def _formulas(rows: Sequence[Result]) -> str:
    """What formulas predict for the layers that have one; nothing where none has."""
    head = ["row", "layers with a formula", "their shift", "their own shift", "formula", "formula, each input its own"]
    columns, lines = ("ratio", "ratio_alone", "predicted", "predicted_by_input"), []
    for row in rows:
        assert row.diagnosis
        layers = next(iter(filter(None, row.diagnosis.layers.values())))
        if count := sum("predicted" in layer for layer in layers):
            means = (_geometric(row.diagnosis.shifts(column, predicted_only=True), 3) for column in columns)
            lines.append([marked(row), f"{count} of {len(layers)}", *means])
    return table(head, lines) if lines else ""


def statistics(found: Findings) -> Iterator[Section]:
    """What wrong statistics of batch norms cost: accuracy and loss before and after they are taken again."""
    again = [result for result in found.planned if _values(result, "test_loss_exact")]
    if not again:
        return
    head = ["row", "test error, %", "moving", "exact", "exact − before, points"]
    head += ["test loss, nats", "moving", "exact", "loss that goes away, nats", "share of the loss, %"]
    note = (
        "Batch norm's statistics are taken again over the training images with their augmentation, without dropout:"
        " moving averages while norms normalize with the batch, or exact population statistics, one norm after the"
        " other. Weights stay. What goes away with exact statistics is the part of the test loss that wrong statistics"
        " explain. Differences are paired by seed; the share is that of the means. Numbers are computed in float32."
        " Selection was over before this was measured; the same for validation images is in `diagnosis/`."
    )
    lines = map(_statistics_line, again)
    yield Section("Statistics taken again, without dropout", [Words(table(head, lines)), Words(note)])


def _statistics_line(result: Result) -> list[str]:
    hows = ("before", "moving", "exact")
    accuracy = {how: _values(result, f"test_accuracy_{how}") for how in hows}
    loss = {how: _values(result, f"test_loss_{how}") for how in hows}
    errors = [{seed: 1 - value for seed, value in accuracy[how].items()} for how in hows]
    fewer = paired_difference(accuracy["before"], accuracy["exact"])
    gone, before = paired_difference(loss["before"], loss["exact"]), mean_interval(list(loss["before"].values()))
    share = gone.mean / before.mean if gone and before.mean else None
    line = [marked(result), *(_mean(error, 2, 100) for error in errors), interval(fewer, 2, 100, sign=True)]
    return [*line, *(_mean(loss[how], 4) for how in hows), interval(gone, 4, sign=True), number(share, 1, 100)]


def modes(found: Findings) -> Iterator[Section]:
    """What dropout and the statistics of the batch do to the images that a row has learned."""
    both = [result for result in found.planned if _values(result, "train_accuracy_train")]
    if not both:
        return
    head = ["row", "test mode, accuracy, %", "training mode, accuracy, %", "difference, points"]
    head += ["test mode, loss, nats", "training mode, loss, nats"]
    note = (
        "The training images without augmentation and the weights that were tested, once in test mode and once as"
        " training sees them: dropout at work, batch norm with the statistics of the batch."
    )
    yield Section("Training mode against test mode", [Words(table(head, map(_modes_line, both))), Words(note)])


def _modes_line(result: Result) -> list[str]:
    values = {
        (what, mode): _values(result, f"train_{what}_{mode}")
        for what in ("accuracy", "loss")
        for mode in ("eval", "train")
    }
    difference = paired_difference(values["accuracy", "train"], values["accuracy", "eval"])
    line = [marked(result), *(_mean(values["accuracy", mode], 2, 100) for mode in ("eval", "train"))]
    line.append(interval(difference, 2, 100, sign=True))
    return [*line, *(_mean(values["loss", mode], 4) for mode in ("eval", "train"))]


def company(found: Findings) -> Iterator[Section]:
    """How far a prediction depends on the other images of its batch, where batches are normalized."""
    kept = [result for result in found.planned if _values(result, "company_sd")]
    if not kept:
        return
    head = ["row", "`batch`", "spread of the true class's probability, points", "other class than usual, %"]
    lines = [
        [
            marked(result),
            str(result.row.batch),
            _mean(_values(result, "company_sd"), 2, 100),
            _mean(_values(result, "company_changed"), 2, 100),
        ]
        for result in kept
    ]
    note = (
        "In a batch that normalizes with its own statistics, a prediction depends on the images beside it. Test images"
        " are dealt into random batches again and again, with training images and without dropout: the standard"
        " deviation of the true class's probability over the batches that an image was in, and the share of them in"
        " which the predicted class is not the image's most frequent one, means over images."
    )
    yield Section("How far a prediction depends on the rest of its batch", [Words(table(head, lines)), Words(note)])
