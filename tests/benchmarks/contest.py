"""The referee: contestants train short slices in turn, so that all meet the same state of a shared machine.

Each entrant is one or more processes that train the same row side by side. Once all stand ready, they train a slice
each, one entrant after the other, round after round; the order rotates. What is reported are medians over rounds, and
ratios are taken within each round before.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import psutil

from pipeline.params.rows import Row

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


@dataclass(frozen=True)
class Team:
    """Equal processes of one contestant.

    Args:
        script: of the contestant, in this folder.
        count: of processes.
        images: of a slice, per process; a multiple of every batch.
        python: that runs them.
        environment: variables added to this process's.
        changes: to the row's trainer.
    """

    script: str
    count: int
    images: int
    python: str = sys.executable
    environment: dict[str, str] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entrant:
    """What is measured under one name: so many processes of a team, side by side."""

    name: str
    team: Team
    count: int


@dataclass(frozen=True)
class Slice:
    """One entrant's slice: images per second, summed over its processes, and images per second of CPU time."""

    rate: float
    cpu_rate: float


class Failed(Exception):
    """A contestant has ended; the last line that it wrote says why."""


class _Process:
    """One contestant, waiting at its gate between slices."""

    def __init__(self, team: Team, rows: list[Row], data: Path) -> None:
        specs = [row.model_dump() for row in rows]
        specs = [spec | {"trainer": spec["trainer"] | team.changes} for spec in specs]
        task = json.dumps({"rows": specs, "images": team.images, "data": str(data)})
        self._errors = TemporaryFile("w+")  # noqa: SIM115 (it lives as long as the process)
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}"} | team.environment
        self._process = subprocess.Popen(
            [team.python, str(HERE / team.script), task],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=environment,
        )  # fmt: skip

    def say(self, word: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()

    def hear(self) -> Any:
        """What the contestant answers.

        Raises:
            Failed: it has ended.
        """
        assert self._process.stdout
        if line := self._process.stdout.readline():
            return json.loads(line)
        self._errors.seek(0)
        raise Failed((self._errors.read().strip().splitlines() or ["ended without a word"])[-1][:200])

    def cpu_seconds(self) -> float:
        """CPU time of the process and all that it has started."""
        total = 0.0
        family = psutil.Process(self._process.pid)
        for member in [family, *family.children(recursive=True)]:
            times = member.cpu_times()
            total += times.user + times.system
        return total

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._errors):
            if file:
                with contextlib.suppress(BrokenPipeError):  # what was said to a process that had ended
                    file.close()


class Contest:
    """All teams on one list of rows. A context manager, which ends their processes.

    Args:
        entrants: who trains; entrants of one team share its processes.
        rows: to train, one after the other.
        data: prepared images, enough for all slices of a row.
    """

    def __init__(self, entrants: list[Entrant], rows: list[Row], data: Path) -> None:
        self.entrants = entrants
        self.failures: dict[str, str] = {}
        teams = {id(entrant.team): entrant.team for entrant in entrants}
        self._crews = {key: [_Process(team, rows, data) for _ in range(team.count)] for key, team in teams.items()}

    def __enter__(self) -> "Contest":
        return self

    def __exit__(self, *args: object) -> None:
        for crew in self._crews.values():
            for process in crew:
                process.kill()

    def next_row(self, rounds: int, progress: Callable[[], None]) -> dict[str, list[Slice]]:
        """Trains the next row.

        Args:
            rounds: that are measured, after one that is not.
            progress: called after each slice.

        Returns:
            The slices of each entrant that has not failed, one per round.
        """
        for key, crew in self._crews.items():
            self._try(key, lambda crew=crew: [process.hear() for process in crew])  # "ready"
        slices: dict[str, list[Slice]] = {entrant.name: [] for entrant in self.entrants}
        for number in range(rounds + 1):
            first = number % len(self.entrants)
            for entrant in self.entrants[first:] + self.entrants[:first]:
                measured = self._try(id(entrant.team), lambda entrant=entrant: self._slice(entrant))
                if measured and number:
                    slices[entrant.name].append(measured)
                progress()
        for key, crew in self._crews.items():
            self._try(key, lambda crew=crew: [process.say("over") for process in crew])
        return {name: found for name, found in slices.items() if len(found) == rounds}

    def _slice(self, entrant: Entrant) -> Slice:
        crew = self._crews[id(entrant.team)][: entrant.count]
        before = sum(process.cpu_seconds() for process in crew)
        for process in crew:
            process.say("go")
        heard = [process.hear() for process in crew]
        spent = sum(process.cpu_seconds() for process in crew) - before
        rate = sum(answer["images"] / answer["seconds"] for answer in heard)
        return Slice(rate, sum(answer["images"] for answer in heard) / max(spent, 0.01))

    def _try(self, key: int, action: Callable[[], Any]) -> Any:
        """What an action with a team's processes returns; None once one of them has failed, and why is kept."""
        names = [entrant.name for entrant in self.entrants if id(entrant.team) == key]
        if self.failures.keys() & set(names):
            return None
        try:
            return action()
        except (Failed, OSError, psutil.NoSuchProcess) as error:
            self.failures |= dict.fromkeys(names, str(error))
            return None


def median(slices: list[Slice], figure: str = "rate") -> float:
    """The median of one figure, `rate` or `cpu_rate`, over rounds."""
    return statistics.median(getattr(one, figure) for one in slices)


def ratio(slices: list[Slice], others: list[Slice], figure: str = "rate") -> float:
    """The median over rounds of the ratio within a round."""
    pairs = zip(slices, others, strict=True)
    return statistics.median(getattr(one, figure) / getattr(other, figure) for one, other in pairs)


def needed_images(entrants: list[Entrant], rounds: int) -> int:
    """Images of an epoch that ends after all slices of a row."""
    teams = {id(entrant.team): entrant.team for entrant in entrants}
    slices = {key: sum(id(entrant.team) == key for entrant in entrants) * (rounds + 1) for key in teams}
    return max(team.images * (slices[key] + 1) for key, team in teams.items())
