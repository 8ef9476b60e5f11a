"""A contestant's side of a benchmark: it trains one slice when the referee says so, and says how long it took.

Standard library only, because contestants run in environments of their own.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Over(Exception):
    """The referee has seen enough of this training."""


class Gate:
    """Stands in a training loop and stops it between slices.

    Args:
        images: of one step.
        steps: of one slice.
        pause: called before each slice with what was measured of the last one, None before the first; it returns
            when the next one shall begin.

    Attributes:
        synchronize: waits until the device has done all steps.
    """

    def __init__(self, images: int, steps: int, pause: Callable[[dict[str, float] | None], None]) -> None:
        self.images, self.steps, self.pause = images, steps, pause
        self.synchronize: Callable[[], None] = lambda: None
        self._done = 0
        self._began = 0.0

    def step(self, count: int = 1) -> None:
        """Called before each step, or before a block of some that no end of a slice parts.

        Raises:
            Over: the training shall end.
        """
        if self._done % self.steps == 0:
            self.synchronize()
            seconds = time.perf_counter() - self._began
            self.pause({"images": self.images * self.steps, "seconds": seconds} if self._done else None)
            self._began = time.perf_counter()
        self._done += count


def compete(train: Callable[[dict[str, Any], Path, Gate], None]) -> None:
    """A contestant's main: trains each row that the command line names until the referee ends it.

    Args:
        train: trains a row without end and calls the gate before each step; given the row, the prepared data
            and the gate.
    """
    # The referee listens to standard output; whatever libraries print goes to standard error.
    referee, sys.stdout = sys.stdout, sys.stderr

    def pause(measured: dict[str, float] | None) -> None:
        referee.write(json.dumps(measured or "ready") + "\n")
        referee.flush()
        if sys.stdin.readline().strip() != "go":
            raise Over

    task = json.loads(sys.argv[1])
    for row in task["rows"]:
        try:
            train(row, Path(task["data"]), Gate(row["batch"], task["images"] // row["batch"], pause))
        except Over:
            continue
