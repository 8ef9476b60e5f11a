"""A picture of what speaks for a claim: every seed, their mean and its interval, on a line with zero.

Plain SVG, so that a report can show it in the text and in its page, in the light and in the dark.
"""

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.findings.stats import Estimate

WIDTH, LINE, MARGIN, AXIS = 260, 22, 12, 20
"""Pixels: of the picture, of a line, beside and above the lines, and under them."""

COLOURS = {"supported": "#009E73", "contradicted": "#D55E00", "negligible": "#0072B2", "undecided": "#7A7A7A"}
"""Of Okabe and Ito's palette, which colour-blind readers can tell apart."""

STYLE = (
    ".ci text{font:11px sans-serif;fill:#555}.ci .axis{stroke:#555}.ci .grid{stroke:#ccc}"
    "@media(prefers-color-scheme:dark){.ci text{fill:#aaa}.ci .axis{stroke:#aaa}.ci .grid{stroke:#444}}"
)


@dataclass(frozen=True)
class Line:
    """One comparison: the differences of its seeds, in the unit shown, and their mean with its interval."""

    differences: Sequence[float]
    estimate: Estimate


Place = Callable[[float], float]
"""From a value to its horizontal pixel; what lies outside of the picture goes to its edge."""


def interval_plot(lines: Sequence[Line], decision: str, unit: str, description: str) -> str:
    """The picture as SVG.

    Args:
        lines: one below the other; over zero, to the right, speaks for the claim.
        decision: a key of COLOURS.
        unit: of the axis.
        description: what a screen reader says instead.
    """
    low, high = _range(lines)
    bottom = MARGIN + LINE * len(lines)
    height = bottom + AXIS

    def place(value: float) -> float:
        return MARGIN + (min(max(value, low), high) - low) / (high - low) * (WIDTH - 2 * MARGIN)

    parts = _axis(low, high, place, bottom, unit)
    for number, line in enumerate(lines):
        parts += _line(line, place, MARGIN + LINE * (number + 0.5), COLOURS[decision])
    return (
        f'<svg class="ci" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
        f' height="{height}" role="img" aria-label="{html.escape(description)}"><style>{STYLE}</style>'
        f"{''.join(parts)}</svg>\n"
    )


def _range(lines: Sequence[Line]) -> tuple[float, float]:
    """The ends of the axis: zero, all seeds, and of the intervals as much as leaves the seeds apart."""
    values = [0.0, *(value for line in lines for value in line.differences)]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    low = max(low - span, min([low, *(line.estimate.low for line in lines if line.estimate.low is not None)]))
    high = min(high + span, max([high, *(line.estimate.high for line in lines if line.estimate.high is not None)]))
    return low - span / 20, high + span / 20


def _ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers between two others, zero among them where it lies there."""
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step * power for step in (1, 2, 5, 10) if step * power >= rough)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _axis(low: float, high: float, place: Place, bottom: float, unit: str) -> list[str]:
    ticks, parts = _ticks(low, high), []
    for tick in ticks:
        kind = "grid" if tick else "axis"
        parts.append(f'<path class="{kind}" d="M{place(tick):.1f} {MARGIN / 2}V{bottom}"/>')
        label = f"{tick:+.6g}".replace("-", "−") if tick else "0"
        if tick == ticks[-1] and unit:
            label += f" {unit}"
        half = 3.5 * len(label)  # of its width, so that it stays inside
        x = min(max(place(tick), half), WIDTH - half)
        parts.append(f'<text x="{x:.1f}" y="{bottom + 13}" text-anchor="middle">{html.escape(label)}</text>')
    return parts


def _line(line: Line, place: Place, y: float, colour: str) -> list[str]:
    parts = []
    if line.estimate.low is not None and line.estimate.high is not None:
        ends = f"M{place(line.estimate.low):.1f} {y}H{place(line.estimate.high):.1f}"
        parts.append(f'<path d="{ends}" stroke="{colour}" stroke-width="7" stroke-opacity=".35"/>')
    parts += [
        f'<circle cx="{place(value):.1f}" cy="{y}" r="2.5" fill="{colour}" fill-opacity=".6"/>'
        for value in line.differences
    ]
    mean = place(line.estimate.mean)
    parts.append(f'<path d="M{mean:.1f} {y - 7}v14" stroke="{colour}" stroke-width="2.5"/>')
    return parts
