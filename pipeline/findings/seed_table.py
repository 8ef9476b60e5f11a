"""A study's numbers by row and seed in one table, reports/<study>/results.csv: what git keeps of the outputs.

The outputs themselves are DVC's, and a clone of the repository has none of them. With this table a reviewer can train
again and compare seed by seed, see `verify`.
"""

import csv
import io
import math
from collections.abc import Iterable

from pipeline.errors import UserError
from pipeline.findings.measured import Result, Run
from pipeline.params.quantities import CLASS

FILE = "results.csv"

START = ("first_train_loss", "first_val_loss")
"""Losses of the first epoch, nats: training images in training mode while the weights change, and the images that
select after it. Runs that begin with the same weights, images and masks begin alike; roundings come apart later."""

Table = dict[str, dict[int, Run]]
"""Runs by row and seed."""


def of(results: Iterable[Result]) -> Table:
    """The table of what was measured, in the order of the results; without accuracies by class, which are many."""
    return {result.name: {run.seed: _with_start(result, run) for run in result.runs} for result in results}


def _with_start(result: Result, run: Run) -> Run:
    numbers = {name: value for name, value in run.numbers.items() if not name.startswith(CLASS)}
    if run.failure is None:
        place = result.finished.index(run.seed)
        curves = {name: result.curves[name.removeprefix("first_")][place] for name in START}
        numbers |= {name: curve[0] for name, curve in curves.items() if curve and math.isfinite(curve[0])}
    return Run(run.seed, run.failure, numbers)


def write(table: Table) -> str:
    """The table as CSV; numbers with all their digits."""
    runs = [(row, run) for row, by_seed in table.items() for run in by_seed.values()]
    columns = sorted({column for _, run in runs for column in run.numbers})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "seed", "status", "reason", *columns])
    for row, run in runs:
        status = "finished" if run.failure is None else "failed"
        cells = [repr(run.numbers[column]).removesuffix(".0") if column in run.numbers else "" for column in columns]
        writer.writerow([row, run.seed, status, run.failure or "", *cells])
    return text.getvalue()


def read(text: str, source: str) -> Table:
    """The table that `write` wrote.

    Args:
        source: what to call it in a message.

    Raises:
        UserError: it is damaged.
    """
    table: Table = {}
    try:
        for line in csv.DictReader(io.StringIO(text), strict=True):
            row, seed, status, reason = (line.pop(key) for key in ("row", "seed", "status", "reason"))
            numbers = {key: float(value) for key, value in line.items() if value}
            table.setdefault(row, {})[int(seed)] = Run(int(seed), reason if status == "failed" else None, numbers)
    except (csv.Error, KeyError, TypeError, ValueError):
        raise UserError(f"{source}: damaged") from None
    return table
