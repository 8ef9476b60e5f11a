"""The report's sections on what the stage `diagnose` measures, a function per section; empty where nothing applies."""

import math
from collections.abc import Mapping, Sequence

from pipeline.findings.measured import Result
from pipeline.findings.stats import mean_interval, paired_difference
from pipeline.findings.wording import MOST_PANELS, NONE, interval, marked, number, table

SHIFT_FIGURE = "shift"
"""Name of the file of the shift by layer."""


def sections(study: str, results: Sequence[Result]) -> list[str]:
    """All sections of a study, in the order of the report."""
    return [_shift(study, results), _statistics(results), _modes(results), _company(results)]


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


def shifted(results: Sequence[Result]) -> list[Result]:
    """The rows that have batch norms and were diagnosed."""
    return [result for result in results if result.diagnosis and result.diagnosis.shifts("ratio")]


def shift_words(results: Sequence[Result]) -> str:
    """The table of the variance shift, and what it says.

    Args:
        results: rows that `shifted` gives.
    """
    head = ["row", "shift, mean over layers", "alone", "published", "layers with a formula", "their shift", "alone"]
    head += ["formula", "formula, each input its own"]
    note = (
        "The shift of a batch norm is max(real / moving, moving / real), where moving is the mean over channels of its"
        " running variance, and real the same moving average taken in test mode over the training images with their"
        " augmentation, all norms normalizing with their running statistics (Li et al. 2018, arXiv 1801.05134). So a"
        " norm's shift contains what the norms before it hand on, which multiplies along a stack without shortcuts;"
        " alone is without that, all norms before it having exact statistics. Without dropout a shift is not quite 1:"
        " the running variance still holds batches of older weights. A formula applies where dropout stands directly"
        " before the norm (a) or before the weights whose output it takes (b); it speaks of the nearest dropout alone,"
        " and takes the moments of its inputs, like alone, with all norms before it exact."
        " Formula (b) takes one mean, one variance and one correlation for all inputs of a unit; the last column gives"
        " each input its own. Means over seeds are geometric, with 95 % intervals of the logarithm, since shifts"
        " multiply. The published range is over networks, as far as the publication gives one."
    )
    return f"{table(head, map(_shift_line, results))}\n\n{note}"


def _shift(study: str, results: Sequence[Result]) -> str:
    found = shifted(results)
    if not found:
        return ""
    many = f" of the first {MOST_PANELS}" if len(found) > MOST_PANELS else ""
    figure = (
        "Variance in test mode by that which training left, for each batch norm in network order, a panel per"
        f" row{many}. Under 1: the norm meets less variance than it divides by. Line: mean over the seeds; band:"
        " quantiles .05 to .95 of the channels. Dashed: alone. Diamonds: the formula."
    )
    picture = f"![Variance in test mode by variance in training, by layer]({study}/{SHIFT_FIGURE}.svg)"
    return "\n\n".join(["## Variance shift", shift_words(found), picture, figure])


def _shift_line(result: Result) -> list[str]:
    assert result.diagnosis
    published, layers = result.row.published, next(iter(filter(None, result.diagnosis.layers.values())))
    known = published.shift if published else None
    line = [marked(result), *(_geometric(result.diagnosis.shifts(column), 3) for column in ("ratio", "ratio_alone"))]
    line.append("–".join(number(value, 2) for value in known) if known else NONE)
    line.append(f"{sum('predicted' in layer for layer in layers)} of {len(layers)}")
    columns = ("ratio", "ratio_alone", "predicted", "predicted_by_input")
    return line + [_geometric(result.diagnosis.shifts(column, predicted_only=True), 3) for column in columns]


def _statistics(results: Sequence[Result]) -> str:
    again = [result for result in results if _values(result, "test_loss_exact")]
    if not again:
        return ""
    head = ["row", "test error, %", "moving", "exact", "exact − before, points"]
    head += ["test loss, nats", "moving", "exact", "loss that goes away, nats", "share of the loss, %"]
    note = (
        "Batch norm's statistics are taken again over the training images with their augmentation, without dropout:"
        " moving averages while norms normalize with the batch, or exact population statistics, one norm after the"
        " other. Weights stay. What goes away with exact statistics is the part of the test loss that wrong statistics"
        " explain. Differences are paired by seed; the share is that of the means. Numbers are computed in float32."
        " Selection was over before this was measured; the same for validation images is in `diagnosis/`."
    )
    return f"## Statistics run again in test mode\n\n{table(head, map(_statistics_line, again))}\n\n{note}"


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


def _modes(results: Sequence[Result]) -> str:
    both = [result for result in results if _values(result, "train_accuracy_train")]
    if not both:
        return ""
    head = ["row", "test mode, accuracy, %", "training mode, accuracy, %", "difference, points"]
    head += ["test mode, loss, nats", "training mode, loss, nats"]
    lines = []
    for result in both:
        found = {
            (what, mode): _values(result, f"train_{what}_{mode}")
            for what in ("accuracy", "loss")
            for mode in ("eval", "train")
        }
        difference = paired_difference(found["accuracy", "train"], found["accuracy", "eval"])
        line = [marked(result), *(_mean(found["accuracy", mode], 2, 100) for mode in ("eval", "train"))]
        line.append(interval(difference, 2, 100, sign=True))
        lines.append([*line, *(_mean(found["loss", mode], 4) for mode in ("eval", "train"))])
    note = (
        "The training images without augmentation and the weights that were tested, once in test mode and once as"
        " training sees them: dropout at work, batch norm with the statistics of the batch."
    )
    return f"## Training mode against test mode\n\n{table(head, lines)}\n\n{note}"


def _company(results: Sequence[Result]) -> str:
    kept = [result for result in results if _values(result, "company_sd")]
    if not kept:
        return ""
    head = ["row", "`batch`", "deviation of the true class's probability, points", "other class than usual, %"]
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
    return f"## The company that an image keeps\n\n{table(head, lines)}\n\n{note}"
