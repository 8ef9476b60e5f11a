"""Stage `train@<row>`: all runs of a row, side by side, and the row's outputs; `launch` does the same for many rows."""

import sys

from pipeline.errors import UserError, command
from pipeline.params import planned
from pipeline.running.pool import ThisMachine, train_rows
from pipeline.tracking.tracker import Tracker


@command
def main() -> None:
    if len(sys.argv) != 2:
        raise UserError("usage: pipeline/python -m pipeline.train ROW")
    name = sys.argv[1]
    with Tracker() as tracker:
        problems = train_rows({name: planned.read_row(name)}, ThisMachine(), tracker)
    if problems:
        raise UserError(problems[name])


if __name__ == "__main__":
    main()
