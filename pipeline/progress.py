"""What is shown while something goes on: one bar in a terminal; for stages a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_SECONDS = 30.0
"""Where there is no terminal, a line at most this often says how far a stage is."""


class StageProgress:
    """Progress of tasks side by side, counted in steps. A context manager.

    Args:
        name: of what is worked on.
        steps: of each task at most.
        unit: what a step is, in the plural.
    """

    def __init__(self, name: str, steps: Mapping[Any, int], unit: str) -> None:
        self.name, self.steps, self.unit, self.total = name, steps, unit, sum(steps.values())
        self.done: dict[Hashable, int] = {}
        console = Console(file=sys.stderr)
        self.terminal = console.is_terminal
        # 80 columns hold the longest row names with this.
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=9),
            TextColumn(f"{{task.completed:.0f}}/{{task.total:.0f}} {unit} {{task.fields[note]}}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
        )
        self._bar = Progress(*columns, console=console, transient=True, disable=not self.terminal or not steps)
        self._task = self._bar.add_task(name, total=self.total, note="")
        self._spoke = time.monotonic()

    def __enter__(self) -> "StageProgress":
        self._bar.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._bar.stop()

    def step(self, task: Hashable, done: int, note: str) -> None:
        """A task has done so many steps."""
        self.done[task] = done
        self._show(note)

    def end(self, task: Hashable, text: str = "", stays: bool = True) -> None:
        """A task is over; says so, if there is something to say; where `stays` is false, not in a terminal."""
        self.done[task] = self.steps[task]  # early stopping counts as done
        if text and (stays or not self.terminal):
            self.say(text)
        self._show("")

    def rename(self, name: str) -> None:
        """What is worked on from now on."""
        self.name = name
        self._bar.update(self._task, description=name)

    def say(self, text: str) -> None:
        """Prints a line that stays."""
        self._bar.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _show(self, note: str) -> None:
        done = sum(self.done.values())
        self._bar.update(self._task, completed=done, note=note)
        if not self.terminal and time.monotonic() - self._spoke > LINE_SECONDS:
            self._spoke = time.monotonic()
            print(f"{self.name}: {done} of {self.total} {self.unit}; {note}".rstrip("; "), file=sys.stderr)


@contextmanager
def bar(text: str, total: float | None) -> Iterator[Callable[[float], None]]:
    """A bar on stderr while something goes on, in a terminal only; the function takes how much of the total is done."""
    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    progress = Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with progress:
        task = progress.add_task(text, total=total)
        yield lambda done: progress.update(task, completed=done)
