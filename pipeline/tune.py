"""Stage `tune@<row>`: the values of a row, chosen by their score on validation images."""

if __name__ == "__main__":
    from pipeline.running import forkserver

    forkserver.start()  # first: it imports what workers need while this process imports what it needs

import sys

from pipeline.errors import UserError, command
from pipeline.params import planned
from pipeline.running import store
from pipeline.tracking.tracker import Tracker
from pipeline.tuning.tuner import tune_row


@command
def main() -> None:
    if len(sys.argv) != 2:
        raise UserError("usage: pipeline/python -m pipeline.tune ROW")
    name = sys.argv[1]
    plan = planned.read_tuned(name)
    row = plan.row
    with store.held(store.tuning_lock(row.study, name), f"tuning row {name}"), Tracker() as tracker:
        tune_row(name, plan, tracker)


if __name__ == "__main__":
    main()
