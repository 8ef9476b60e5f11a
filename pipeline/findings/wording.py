"""Numbers and names as a reader wants them."""

import html
from collections.abc import Callable, Iterable, Sequence

from pipeline.findings.measured import Result, standing
from pipeline.findings.stats import Estimate
from pipeline.params.rows import Row
from pipeline.text import printable

NONE = "–"
"""What a table shows where there is no number."""

MOST_PANELS = 24
"""Rows that a figure with a panel per row shows; of more, the page in HTML shows all."""

MOST_NAMED = 3
"""Rows that a sentence lists; of more it says how many."""


def contenders(ranked: Sequence[Result]) -> list[Result]:
    """The rows that can be the best: selected on validation images, or, where no run of these finished, all rows; none
    where no run finished at all."""
    fair = [result for result in ranked if not result.leaking]
    return next((rows for rows in (fair, list(ranked)) if any(result.finished for result in rows)), [])


def coverage(results: Iterable[Result]) -> str:
    """What the intervals cover, in one sentence: what differs from seed to seed, and what is the same for all."""
    drawn: dict[str, str] = {}
    for result in results:
        images = result.spec["images"]
        parts = [part for part in ("training", "validation") if 0 < images[part.replace("ing", "")] < images["pool"]]
        drawn[f"`{result.row.dataset}`"] = " and ".join(parts)
    others = "".join(f", other {parts} images of {dataset}" for dataset, parts in drawn.items() if parts)
    same = " and ".join(dataset for dataset, parts in drawn.items() if not parts)
    kept = f"the training images of {same} and " if same else ""
    return (
        f"It covers what each seed has of its own: other initial weights, order of images, augmentation and dropout"
        f" masks{others}; {kept}the test images are the same for all seeds."
    )


def listed(names: Sequence[str]) -> str:
    """Names in a sentence; of more than MOST_NAMED the first, and how many others."""
    shown = names if len(names) <= MOST_NAMED else [*names[: MOST_NAMED - 1], f"{len(names) - MOST_NAMED + 1} more"]
    return ", ".join(shown)


def guessing(results: Sequence[Result], name: Callable[[Result], str]) -> str:
    """Which rows, and of others which share of their runs, recognize no more than a guess would."""
    rows = [name(result) for result in results if result.idle]
    some = [result for result in results if result.stuck and not result.idle]
    runs = [f"{len(result.stuck)} of {len(result.runs)} runs of {name(result)}" for result in some]
    one = len(rows) + sum(len(result.stuck) for result in some) == 1
    return f"{listed([*rows, *runs])} only guess{'es' * one}" if rows or runs else ""


def sentence(row: Row) -> str:
    """The row's network, short."""
    return " · ".join(row.parts().values())


def number(value: float | None, digits: int, scale: float = 1.0) -> str:
    """A number with a fixed count of decimals, or NONE."""
    return NONE if value is None else f"{scale * value:z,.{digits}f}".replace("-", "−")


def signed(value: float, digits: int = 2) -> str:
    """A difference with its sign."""
    return f"{value:+z,.{digits}f}".replace("-", "−")


def times(found: Estimate, base: float) -> str:
    """The factor of which a logarithm was measured, with its interval."""
    ends = [number(base**end, 2) for end in (found.mean, found.low, found.high) if end is not None]
    return f"{ends[0]} times" + (f" ({ends[1]} to {ends[2]})" if len(ends) > 1 else "")


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
    escaped = html.escape(printable(" ".join(text.split())), quote=False)
    return "".join(f"\\{char}" if char in "\\|*`[]" else char for char in escaped)


def table(
    head: Sequence[str], lines: Iterable[Sequence[str]], numbers_from: int = 1, numbers_to: int | None = None
) -> str:
    """A Markdown table; columns from `numbers_from` on, and before `numbers_to`, are aligned right."""
    numbers = range(len(head))[numbers_from:numbers_to]
    rule = ["---:" if place in numbers else "---" for place in range(len(head))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def named(result: Result) -> str:
    """The row's name without that of the study, and whether it leaks."""
    return result.label + (" †" if result.leaking else "")


def marked(result: Result) -> str:
    """The same in Markdown."""
    return f"`{result.label}`{' †' if result.leaking else ''}"


def outcome(result: Result) -> str:
    """How many runs; of failed ones also why the first failed."""
    if not result.failures:
        return str(len(result.runs))
    first = result.failures[0]
    return f"{len(result.failures)} of {len(result.runs)} failed; the first, seed {first.seed}: {first.failure}"


def place(result: Result, group: Sequence[Result]) -> str:
    """The rank among the rows of one data set."""
    return str(1 + sum(standing(other) < standing(result) for other in group))
