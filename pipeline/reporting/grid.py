"""Rows that are a grid, such as learning rate × activation × norm: found by their settings, shown in colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.findings.measured import Result
from pipeline.reporting.charts import BLUE, WIDTH
from pipeline.reporting.reproduction_sections import flat
from pipeline.text import beginning

FEWEST = 6
"""Rows that are worth a grid."""

FULL = 0.6
"""Share of the cells that must have a row."""


@dataclass(frozen=True)
class Grid:
    """Rows by two coordinates.

    Args:
        across: what differs from column to column, a key of params.yaml.
        columns: its values, rising.
        lines: rows by column, by a name for what the rows of a line share.
    """

    across: str
    columns: Sequence[float]
    lines: dict[str, dict[float, Result]]


def grid(results: Sequence[Result]) -> Grid | None:
    """The grid that rows of one data set make, if they make one: the fullest, by the number that differs from column
    to column."""
    settings = [flat(result.row.model_dump(exclude={"study", "published", "seeds"})) for result in results]
    keys = dict.fromkeys(key for setting in settings for key in setting)
    differing = [key for key in keys if len({repr(setting.get(key)) for setting in settings}) > 1]
    found = [_by(key, differing, results, settings) for key in differing if _numeric(key, settings)]
    full = [each for each in found if each]
    return max(full, key=lambda made: (_filled(made), _named(made))) if full and len(results) >= FEWEST else None


def _numeric(key: str, settings: Sequence[dict[str, Any]]) -> bool:
    return all(type(setting.get(key)) in (int, float) for setting in settings)


def _by(across: str, differing: Sequence[str], results: Sequence[Result], settings: Sequence[Any]) -> Grid | None:
    """The grid with this number from column to column; what follows from it, as a rate from a batch, is no line. Where
    more than numbers does, as an optimizer of another kind with another rate, the number does not tell columns apart.
    """
    others = [
        key for key in differing if len({(s[across], repr(s.get(key))) for s in settings}) > _count(across, settings)
    ]
    if not all(_numeric(key, settings) for key in differing if key not in others):
        return None
    lines: dict[str, dict[float, Result]] = {}
    for result, setting in zip(results, settings, strict=True):
        line = lines.setdefault(repr([setting.get(key) for key in others]), {})
        if setting[across] in line:
            return None
        line[setting[across]] = result
    columns = sorted({setting[across] for setting in settings})
    named = {_shared(list(line.values())): line for line in lines.values()}
    made = Grid(across, columns, named)
    return made if len(named) == len(lines) > 1 and _filled(made) >= FULL else None


def _count(key: str, settings: Sequence[dict[str, Any]]) -> int:
    return len({setting[key] for setting in settings})


def _filled(made: Grid) -> float:
    return sum(map(len, made.lines.values())) / (len(made.lines) * len(made.columns))


def _named(made: Grid) -> int:
    """How many rows have their column in their name: of a batch and the rate in proportion to it, what the study is
    about."""
    cells = [(column, row) for line in made.lines.values() for column, row in line.items()]
    return sum(row.label.endswith(f"-{column:g}") for column, row in cells)


def _shared(line: Sequence[Result]) -> str:
    """What the names of a line's rows begin with."""
    if len(line) == 1:
        return line[0].label
    return beginning([result.label for result in line])


def shares(made: Grid) -> dict[str, float]:
    """How far each row's mean accuracy lies between the lowest and the highest, by the row's name."""
    means = {row.name: row.accuracy.mean for line in made.lines.values() for row in line.values()}
    low, high = min(means.values()), max(means.values())
    return {name: (mean - low) / (high - low or 1) for name, mean in means.items()}


def grid_figure(made: Grid, texts: dict[str, str]) -> Figure:
    """The grid as a picture.

    Args:
        made: the grid.
        texts: what stands in a row's cell.
    """
    depth, columns = shares(made), len(made.columns)
    left, height = 2.4, 0.36
    figure = Figure(figsize=(WIDTH, height * (len(made.lines) + 2)))
    axes = figure.add_axes((0, 0, 1, 1))
    side = (WIDTH - left) / columns
    for place, column in enumerate(made.columns):
        axes.text(left + side * (place + 0.5), 1.5 * height, f"{column:g}", ha="center", va="center", fontsize=10)
    axes.text(left + side * columns / 2, 0.5 * height, made.across, ha="center", va="center", fontsize=10)
    for number, (name, line) in enumerate(made.lines.items(), 2):
        axes.text(left - 0.1, height * (number + 0.5), name, ha="right", va="center", fontsize=10, parse_math=False)
        for column, row in line.items():
            x, y = left + side * made.columns.index(column), height * number
            cell = Rectangle((x + 0.02, y + 0.02), side - 0.04, height - 0.04, linewidth=0)
            axes.add_patch(cell).set(facecolor=BLUE, alpha=0.05 + 0.55 * depth.get(row.name, 0))
            axes.text(x + side / 2, y + height / 2, texts[row.name], ha="center", va="center", fontsize=9)
    axes.set(xlim=(0, WIDTH), ylim=(height * (len(made.lines) + 2), 0))
    axes.set_axis_off()
    return figure
