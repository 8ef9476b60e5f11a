"""A study's findings in words: the answer, and numbers as a reader wants them."""

import html
from collections.abc import Iterable, Sequence

from pipeline.findings.measured import Result, standing
from pipeline.findings.stats import Estimate, paired_difference
from pipeline.params.config import Row

NONE = "–"
"""What a table shows where there is no number."""

MOST_PANELS = 24
"""Rows that a figure with a panel per row shows; of more, the page in HTML shows all."""


def contenders(ranked: Sequence[Result]) -> list[Result]:
    """The rows that can be the best: selected on validation images, or, where none of these finished, all that did."""
    finished = [result for result in ranked if result.estimate("test_accuracy")]
    return [result for result in finished if not result.leaking] or finished


def answer(ranked: Sequence[Result]) -> str:
    """One sentence: which row is ahead, and whether the seeds tell it apart from the runner-up.

    Args:
        ranked: rows of one data set, best first.
    """
    rivals = contenders(ranked)
    if not rivals:
        return "No run finished, so there is no answer."
    best, *others = rivals
    scope = ""
    if best.leaking:
        which = "all rows" if all(result.leaking for result in ranked) else "all rows that finished"
        scope = f"by accuracies that are optimistic, since {which} were selected on test images, "
    elif any(result.leaking for result in ranked):
        scope = "among the rows selected on validation images, "
    count = f"{len(best.runs) - len(best.failures)} of {len(best.runs)} runs"
    failed = f" over the {count} that finished" if best.failures else ""
    accuracy = f"{percent(best.estimate('test_accuracy'))} %{failed}"
    margin = _margin(best, others[0]) if others else "but no other row can be compared with it."
    text = f"{scope}`{best.name}` has the highest mean test accuracy, {accuracy}, {margin}"
    return text[0].upper() + text[1:]


def _margin(best: Result, second: Result) -> str:
    runner_up = f"the runner-up `{second.name}`"
    difference = paired_difference(best.values("test_accuracy"), second.values("test_accuracy"))
    if difference is None:
        return f"but it has no seed in common with {runner_up}, so nothing tells them apart."
    points, n = signed(100 * difference.mean), difference.n
    if difference.low is None or difference.high is None:
        return f"but one common seed, {points} points to {runner_up}, cannot tell them apart."
    if difference.half_width == 0:
        same = f"but its difference to {runner_up} is {points} points in each of {n} common seeds"
        return f"{same}, which leaves no spread to estimate an interval from."
    ends = f"{signed(100 * difference.low)} to {signed(100 * difference.high)}"
    measured = f"its paired difference to {runner_up}, {points} points (95 % interval {ends})"
    if difference.low > 0:
        return f"and {measured}, excludes zero over {n} common seeds."
    if difference.high < 0:
        return f"but {measured}, is negative over the {n} common seeds, so the order is not settled."
    return f"but {measured}, includes zero: {n} seeds cannot tell them apart."


def sentence(row: Row) -> str:
    """The row's network, short."""
    return " · ".join(row.parts().values())


def number(value: float | None, digits: int, scale: float = 1.0) -> str:
    """A number with a fixed count of decimals, or NONE."""
    return NONE if value is None else f"{scale * value:z,.{digits}f}".replace("-", "−")


def signed(value: float, digits: int = 2) -> str:
    """A difference with its sign."""
    return f"{value:+z,.{digits}f}".replace("-", "−")


def interval(estimate: Estimate | None, digits: int, scale: float = 1.0, sign: bool = False) -> str:
    """Mean ± half width of the interval; the mean alone where there is no interval."""
    if estimate is None:
        return NONE
    middle = signed(scale * estimate.mean, digits) if sign else number(estimate.mean, digits, scale)
    return middle + ("" if estimate.half_width is None else f" ± {number(estimate.half_width, digits, scale)}")


def percent(estimate: Estimate | None) -> str:
    """A fraction's mean and interval in percent."""
    return interval(estimate, 2, 100)


def mean(result: Result, column: str, digits: int, scale: float = 1.0) -> str:
    """The mean of a column over the runs that finished."""
    estimate = result.estimate(column)
    return number(estimate.mean if estimate else None, digits, scale)


def cell(text: str) -> str:
    """Text of any origin as it shall appear in a table of Markdown."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{char}" if char in "\\|*`[]" else char for char in escaped)


def table(head: Sequence[str], lines: Iterable[Sequence[str]], numbers_from: int = 1) -> str:
    """A Markdown table; columns from `numbers_from` on are aligned right."""
    rule = ["---" if place < numbers_from else "---:" for place in range(len(head))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def named(result: Result) -> str:
    """The row's name, and whether it leaks."""
    return result.name + (" †" if result.leaking else "")


def marked(result: Result) -> str:
    """The same in Markdown."""
    return f"`{result.name}`{' †' if result.leaking else ''}"


def outcome(result: Result) -> str:
    """How many runs; of failed ones also why the first failed."""
    if not result.failures:
        return str(len(result.runs))
    first = result.failures[0]
    return f"{len(result.failures)} of {len(result.runs)} failed; the first, seed {first.seed}: {first.failure}"


def place(result: Result, group: Sequence[Result]) -> str:
    """The rank among the rows of one data set; NONE where no run finished."""
    better = sum(standing(other) < standing(result) for other in group)
    return str(1 + better) if result.estimate("test_accuracy") else NONE
