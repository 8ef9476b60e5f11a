"""What several tests help themselves with: an engine and a log that need no other process, and a free port."""

import socket
from collections.abc import Iterable
from typing import Any

from pipeline.errors import UserError
from pipeline.params.rows import Row
from pipeline.running.workers import Event, Events, Task


class InTurn:
    """An engine that does one task after the other in this process, and crashes where it is told to.

    Args:
        crashing: what rows say in `each` whose runs crash.
    """

    here = True

    def __init__(self, crashing: str = "") -> None:
        self.crashing = crashing
        self.done: list[Task] = []

    def check(self, name: str, row: Row) -> None:
        if name == "refused":
            raise UserError("refused: not here")

    def do_all(self, tasks: Iterable[Task]) -> Events:
        for task in tasks:
            self.done.append(task)
            yield Event(task, "start")
            if task.row.each == self.crashing:
                yield Event(task, "crash", "out of luck")
                continue
            lines: list[dict[str, Any]] = []
            task.work(lines.append)  # pyright: ignore[reportArgumentType]
            yield from (Event(task, "report", line) for line in lines)
            yield Event(task, "end")


class Unlogged:
    """A log that nobody keeps."""

    def begin(self, run: object) -> None: ...

    def epoch(self, run: object, line: object) -> None: ...

    def end(self, run: object) -> None: ...

    def sweep(self, study: str, name: str, keep: object) -> None: ...

    def trial(self, trial: object) -> None: ...


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
