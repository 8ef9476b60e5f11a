"""What is shown while something goes on: a bar in a terminal; elsewhere a line per run of a row's training."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_SECONDS = 30.0
"""Where there is no terminal, a line at most this often says how far a row is."""


class RowProgress:
    """Progress of all runs of a row, counted in epochs. A context manager.

    Args:
        name: of the row.
        runs: how many runs train.
        epochs: of each run at most.
    """

    def __init__(self, name: str, runs: int, epochs: int) -> None:
        self.name, self.runs, self.epochs = name, runs, epochs
        self.done: dict[int, int] = {}
        console = Console(file=sys.stderr)
        self.terminal = console.is_terminal
        # 80 columns hold the longest row names with this.
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=14),
            TextColumn("{task.completed:.0f}/{task.total:.0f} epochs {task.fields[note]}"),
            TimeRemainingColumn(compact=True),
        )
        self._bar = Progress(*columns, console=console, transient=True, disable=not self.terminal)
        self._task = self._bar.add_task(name, total=runs * epochs, note="")
        self._spoke = time.monotonic()

    def __enter__(self) -> "RowProgress":
        self._bar.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._bar.stop()

    def epoch(self, seed: int, line: dict[str, Any]) -> None:
        """A run has finished an epoch."""
        self.done[seed] = int(line["epoch"])
        self._show(f"seed {seed} val {line['val_accuracy']:.3f}")

    def end(self, seed: int, text: str) -> None:
        """A run is over."""
        self.done[seed] = self.epochs  # early stopping counts as done
        self._bar.console.print(f"{self.name} seed {seed}: {text}", highlight=False, markup=False)
        self._show("")

    def _show(self, note: str) -> None:
        done = sum(self.done.values())
        self._bar.update(self._task, completed=done, note=note)
        if not self.terminal and time.monotonic() - self._spoke > LINE_SECONDS:
            self._spoke = time.monotonic()
            print(f"{self.name}: {done} of {self.runs * self.epochs} epochs; {note}", file=sys.stderr)


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
