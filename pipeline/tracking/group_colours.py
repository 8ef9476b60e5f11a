"""The colours in which the MLflow UI draws groups of runs, and a tag to group by whose colours differ.

The UI takes a group's colour from a checksum of its name (Fletcher 1982), so two rows of a study may share one, and
keeps other choices in the browser alone. The name begins with that of the tag: with another tag, other colours.
MLflow does not document this; a UI that colours otherwise does so whatever the tag is called.
"""

from collections.abc import Iterable
from itertools import combinations

COLOURS = (
    "#a6630c", "#c83243", "#b45091", "#8a63bf", "#434a93", "#137dae", "#04867d", "#308613", "#facb66", "#1f272d",
    "#445461", "#5f7281", "#8396a5", "#93320b", "#be501e", "#de7921", "#f2be88", "#115026", "#277c43", "#3ba65e",
    "#8ddda8", "#9e102c", "#c82d4c", "#e65b77", "#f792a6", "#0e538b", "#2272b4", "#4299e0", "#8acaff",
)  # fmt: skip
"""Of the UI, in its order."""

TRIED = 300
"""Names of tags that are tried."""


def colour(tag: str, row: str) -> str:
    """The colour of a row's group."""
    first = second = 0
    for letter in f"tag.{tag}.{row}":
        first = (first + ord(letter)) % 255
        second = (second + first) % 255
    return COLOURS[(first | second << 8) % len(COLOURS)]


def tag(rows: Iterable[str]) -> str:
    """The tag under which the colours of rows lie farthest apart: `row`, `row 2`, …; of equal ones the first."""
    names = sorted(rows)
    return max(("row", *(f"row {number}" for number in range(2, TRIED))), key=lambda name: _apart(name, names))


def _apart(name: str, rows: list[str]) -> tuple[int, int]:
    """How many colours there are, and the square of how near the nearest two are."""
    colours = [colour(name, row) for row in rows]
    return len(set(colours)), min((_distance(a, b) for a, b in combinations(colours, 2)), default=0)


def _distance(first: str, second: str) -> int:
    return sum((a - b) ** 2 for a, b in zip(bytes.fromhex(first[1:]), bytes.fromhex(second[1:]), strict=True))
