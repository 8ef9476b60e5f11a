"""A tuning: which trials are missing, and what happens to those that run.

Trials run side by side, each in a worker of its own; an Optuna storage holds them, so that a killed stage
goes on, and so that several machines can share a tuning. Workers are given the file of training and
validation images; test images lie in another, which nobody opens here.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from optuna.trial import FrozenTrial
from optuna.trial import Trial as Proposal

from pipeline import paths
from pipeline.errors import UserError
from pipeline.images import prepared
from pipeline.params import space
from pipeline.params.planned import PlannedTuning
from pipeline.params.rows import TunedRow
from pipeline.progress import StageProgress
from pipeline.running import cost, rows, slots, store, workers
from pipeline.running.logbook import LoggedTrial, unlogged_trials
from pipeline.tuning import search, tuned
from pipeline.tuning.objective import TrialTask
from pipeline.tuning.trials import Trials

POLL_SECONDS = 1.0
"""Where only other machines have trials, their state is looked at so often."""

LOSSES = 3
"""A place whose worker is killed so often fails the stage; it would be killed for ever."""


class Log(Protocol):
    """What is told of trials; `tracking.tracker` is one."""

    def trial(self, trial: LoggedTrial) -> None:
        """A trial is over."""


def tune_row(name: str, planned: PlannedTuning, tracker: Log) -> None:
    """Runs what is missing of a tuning and writes its outputs. The caller holds the tuning's lock.

    Raises:
        UserError: a trial crashed, the storage cannot be reached, or the row does not fit the data or the machine.
    """
    row = planned.row
    tuning = Tuning(name, planned)
    attempt = store.Attempt("tunings", row.study, name)
    if store.is_forced(os.environ.get("DVC_STAGE"), attempt):
        tuning.clear()
    attempt.begin()
    tuning.run(tracker)
    best = tuned.write(name, row, tuning.results(), paths.TUNED / name)
    attempt.complete()
    print(f"{name}: trial {best.place} of {row.tuning.trials} is best, {scored(row, best)}", file=sys.stderr)


def scored(row: TunedRow, trial: tuned.Trial) -> str:
    """A trial's score and values in a few words."""
    if trial.score is None:
        return f"failed: {trial.reason}"
    values = ", ".join(f"{path} {_short(value)}" for path, value in trial.values.items())
    state = "pruned at " if trial.state == "pruned" else ""
    return f"{state}{row.tuning.objective} {trial.score:.4f} with {values}"


def _short(value: space.Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@dataclass
class _Running:
    """A trial that one of this process's workers has."""

    identity: int
    proposal: Proposal
    steps: set[int] = field(default_factory=set)
    reports: list[dict[str, Any]] = field(default_factory=list)


class Tuning:
    """A tuning: which trials are missing, and what happens to those that run.

    Args:
        name: of the row.
        planned: the row and its code.

    Raises:
        UserError: the row, with some value of its space, does not fit the data or the machine.
    """

    def __init__(self, name: str, planned: PlannedTuning) -> None:
        self.name, self.row = name, planned.row
        row = planned.row
        self.data = paths.prepared(row.dataset)
        self.info = prepared.info(self.data)
        for where, corner in [(f"tuned.{name}", row), *space.corners(f"tuned.{name}", row)]:
            rows.check_fit(where, corner, self.info)
        rows.check_machine(f"tuned.{name}", row)
        self.known = search.distributions(row, row.tuning)
        self.key = store.run_key(
            {
                "row": row.training(),
                "data": prepared.digest(self.data, [prepared.FIT_FILE]),
                "code": planned.search,
            }
        )
        self.trials = Trials(f"{row.study}/{name}/{self.key[:12]}", search.direction(row.tuning))
        self._jobs = min(slots.fitting(row), row.tuning.parallel)
        self._running: dict[int, _Running] = {}
        self._losses: Counter[int] = Counter()
        self._crash: str | None = None
        self._afresh = False

    def clear(self) -> None:
        """Forgets all trials."""
        for place, trial in self.trials.held().items():
            store.clear(self._folder(place, trial.params))
        self.trials.clear()
        self._afresh = True

    def results(self) -> list[tuned.Trial]:
        """The finished trials in the order of their places."""
        return [_result(place, trial) for place, trial in self.trials.held().items() if trial.state.is_finished()]

    def run(self, tracker: Log) -> None:
        """Returns when every place has a finished trial.

        Raises:
            UserError: a trial crashed.
        """
        steps = dict.fromkeys(range(self.row.tuning.trials), self.row.tuning.epochs * len(self.row.tuning.seeds))
        self.trials.sweep()
        with self.trials, StageProgress(self.name, steps, "epochs") as progress:
            for trial in unlogged_trials(self.key):
                tracker.trial(trial)
            for finished in self.results():
                progress.end(finished.place)
            with closing(workers.do_all(self._tasks(), self._jobs)) as events:
                for event in events:
                    self._see(event, progress, tracker)
        if self._crash:
            raise UserError(f"{self.name}: {self._crash}")

    def _tasks(self) -> Iterator[TrialTask | None]:
        """The trials that are missing, each as soon as those are finished from which it is proposed."""
        told = False
        while not self._crash:
            held = self.trials.held()
            if len(held) == self.row.tuning.trials and all(trial.state.is_finished() for trial in held.values()):
                return
            task = self._next(held) if len(self._running) < self._jobs else None
            if task or self._running:
                yield task
                continue
            if not told:
                others = sorted({trial.user_attrs["owner"] for trial in held.values() if not trial.state.is_finished()})
                print(f"{self.name}: waiting for trials of {', '.join(others)}", file=sys.stderr)
                told = True
            time.sleep(POLL_SECONDS)
            self.trials.sweep()

    def _next(self, held: Mapping[int, FrozenTrial]) -> TrialTask | None:
        """Claims the first free place, unless its trial cannot be proposed yet or another process is faster."""
        tuning = self.row.tuning
        place = next((place for place in range(tuning.trials) if place not in held), None)
        if place is None:
            return None
        past = [held[before] for before in range(place)]
        if not all(trial.state.is_finished() for trial in past[: max(0, place - tuning.parallel + 1)]):
            return None
        proposal = search.propose(tuning, self.known, past)
        _, absent = space.split(self.row, tuning.space)
        identity = self.trials.claim(place, proposal.params, self.known, {"left_out": absent})
        if identity is None:
            return None
        self._running[place] = _Running(identity, proposal)
        folder = self._folder(place, proposal.params)
        if self._afresh:  # also what a trial has left that was given back
            store.clear(folder)
        return TrialTask(self.row, place, self.data, folder, tuning, proposal.params)

    def _folder(self, place: int, values: Mapping[str, Any]) -> Path:
        return store.run_folder(store.run_key({"tuning": self.key, "place": place, "values": dict(values)}), "trials")

    def _see(self, event: workers.Event, progress: StageProgress, tracker: Log) -> None:
        """Takes what happens to a trial; what it asks is whether to end."""
        place = event.task.seed
        running = self._running[place]
        if event.answer:
            event.answer(self._judge(running, event.content["step"], event.content["value"]))
        elif event.kind == "report":
            running.reports.append(event.content)
            line, seed = event.content["epoch"], event.content["place"]
            done = seed * self.row.tuning.epochs + int(line["epoch"])
            progress.step(place, done, f"trial {place} val {line['val_accuracy']:.3f}")
        elif event.kind == "end":
            del self._running[place]
            if running.reports:
                cost.write(event.task.folder, self.row, running.reports, self._jobs)
            logged = self._logged(place, running, event.task.folder)
            logged.mark("pending")
            if not self._finish(running, store.result(event.task.folder)):
                progress.say(f"{self.name} trial {place}: taken over by a machine that thought this one lost")
                return
            tracker.trial(logged)
            trial = _result(place, self.trials.held()[place])
            progress.end(place, f"{self.name} trial {place}: {scored(self.row, trial)}")
        elif event.kind != "start":
            del self._running[place]
            self._give_back(running, event)

    def _logged(self, place: int, running: _Running, folder: Path) -> LoggedTrial:
        values = running.proposal.params
        return LoggedTrial(self.row.study, self.name, self.row, self.key, place, values, folder.name)

    def _judge(self, running: _Running, step: int, value: float) -> bool:
        running.steps.add(step)
        running.proposal.report(value, step)
        self.trials.report(running.identity, step, value)
        return running.proposal.should_prune()

    def _finish(self, running: _Running, outcome: dict[str, Any]) -> bool:
        """Ends a trial; whether it was still this process's."""
        for step, value in outcome["steps"]:  # of a trial that had ended before a kill
            if step not in running.steps:
                self._judge(running, step, value)
        about = {key: outcome[key] for key in ("state", "score", "epochs", "images", "reason")}
        place = running.proposal.number
        noted = running.proposal.study.get_trials(deepcopy=False)[place].system_attrs
        chance = search.chance(self.row.tuning, len(self.info.classes))
        value = chance if outcome["state"] == "failed" else outcome["score"]
        return self.trials.finish(running.identity, outcome["state"] == "pruned", value, about, noted)

    def _give_back(self, running: _Running, event: workers.Event) -> None:
        self.trials.give_back(running.identity)
        place = event.task.seed
        self._losses[place] += 1
        if event.kind == "crash" or self._losses[place] == LOSSES:
            self._crash = f"trial {place} crashed: {workers.last_words(event)}"


def _result(place: int, trial: FrozenTrial) -> tuned.Trial:
    about = {key: trial.user_attrs[key] for key in ("state", "score", "epochs", "images", "reason")}
    return tuned.Trial(place=place, values=trial.params, **about)
