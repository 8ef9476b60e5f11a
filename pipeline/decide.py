"""Adds seeds to a study until every claim that it tests is decided, and says what that costs before it starts.

    pipeline/python -m pipeline.decide STUDY                  which claims are open, and what the next look would cost
    pipeline/python -m pipeline.decide STUDY --go [OPTIONS]   trains and judges, look by look, until none is open

A look is a number of seeds at which claims are judged. `studies.<study>.looks` fixes them before the first run, and
each has the same share of the 5 % of wrong verdicts, so that stopping when all is decided decides no more often by
chance (findings/decisions.py). The new seeds are written to `studies.<study>.rows.seeds`, comments stay; OPTIONS go to
pipeline.launch, which trains and reports. A kill loses nothing: the same command goes on.
"""

import argparse
import itertools
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline import paths
from pipeline.errors import UserError, command
from pipeline.findings.decisions import Decision
from pipeline.findings.measured import Result
from pipeline.findings.verdicts import judge_available
from pipeline.params.reading import read_params
from pipeline.params.rows import TunedRow
from pipeline.params.studies import Params
from pipeline.running import cost, slots, store
from pipeline.storage import draft_of
from pipeline.text import nearest

WHAT = "Adds seeds to a study until every claim is decided; without --go it only says what the next look would cost."


@dataclass(frozen=True)
class Look:
    """Where a study stands, and what the next look at it would take.

    Args:
        study: its name.
        seeds: that its rows have.
        tuning: seeds on which its rows were tuned, and may not train.
        claims: how many it tests.
        open: names of those that are undecided.
        unjudged: why each of those that lack what they are judged by does, by name.
        upcoming: seeds of the next look; None after the last.
        runs: that are to be trained until then.
        seconds: that these take, by what the runs so far took; None where that is not known.
    """

    study: str
    seeds: list[int]
    tuning: frozenset[int]
    claims: int
    open: list[str]
    unjudged: dict[str, str]
    upcoming: int | None
    runs: int
    seconds: float | None

    @property
    def more(self) -> list[int]:
        """The seeds to add: the lowest that are free."""
        missing = max(0, (self.upcoming or 0) - len(self.seeds))
        free = (seed for seed in itertools.count() if seed not in self.tuning.union(self.seeds))
        return list(itertools.islice(free, missing))

    def __str__(self) -> str:
        start = f"{self.study}, {len(self.seeds)} seeds: "
        unjudged = "".join(f"; {name} is not judged: {why}" for name, why in self.unjudged.items())
        if not self.open:
            return f"{start}{'no claim is open' if unjudged else f'all {self.claims} claims are decided'}{unjudged}"
        told = f"{start}{len(self.open)} of {self.claims} claims are open: {', '.join(self.open)}{unjudged}"
        if self.upcoming is None:
            return f"{told}; that was the last look"
        took = "nobody knows how long, since no run so far noted it" if self.seconds is None else _time(self.seconds)
        return f"{told}\nthe next look, at {self.upcoming} seeds, takes {self.runs} more runs: {took}"


def _time(seconds: float) -> str:
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"about {seconds / size:.0f} {unit}"
    return f"about {seconds:.0f} seconds"


def check(params: Params, study: str) -> None:
    """Whether seeds can be added to a study.

    Raises:
        UserError: it does not exist, fixes no looks, or its rows have seeds of their own.
    """
    if study not in params.studies:
        raise UserError(f"studies: no study '{study}'{nearest(study, params.studies)}")
    if not params.studies[study].looks:
        raise UserError(f"studies.{study}.looks: missing; write the numbers of seeds to judge at, such as [5, 10, 20]")
    for name, row in params.of_study(study).items():
        if row.seeds != params.studies[study].rows.get("seeds", []):
            key = f"{'rows' if name in params.rows else 'tuned'}.{name}.seeds"
            raise UserError(f"{key}: seeds are added to studies.{study}.rows.seeds; write them there alone")


def look(params: Params, study: str) -> Look:
    """Where a study stands.

    Raises:
        UserError: as `check`, or it has no results.
    """
    check(params, study)
    looks, rows = params.studies[study].looks, params.of_study(study)
    seeds: list[int] = params.studies[study].rows.get("seeds", [])
    verdicts, results, complaints = judge_available(params, study)
    if complaints:
        raise UserError(complaints[0])
    missing = [name for name in rows if name not in results]
    if missing:
        raise UserError(f"{missing[0]}: no results; run 'pipeline/python -m pipeline.launch report@{study}' first")
    upcoming = next((one for one in looks if one > len(seeds)), None)
    added = (upcoming or len(seeds)) - len(seeds)
    is_open = [verdict.case.name for verdict in verdicts if verdict.decision is Decision.UNDECIDED]
    unjudged = {one.case.name: one.reason for one in verdicts if one.decision is Decision.NOT_RUN}
    seconds = _seconds(list(results.values()), added)
    tuning = frozenset(seed for row in rows.values() if isinstance(row, TunedRow) for seed in row.tuning.seeds)
    return Look(study, seeds, tuning, len(verdicts), is_open, unjudged, upcoming, added * len(rows), seconds)


def _seconds(results: Sequence[Result], added: int) -> float | None:
    """What more runs of every row take on this machine, as many side by side as fit."""
    times = {result.name: _times(result) for result in results}
    known = [time for found in times.values() for time in found]
    if not known:
        return None

    def one(result: Result) -> float:
        found = times[result.name] or known
        return sum(found) / len(found) / slots.fitting(result.row)

    return added * sum(map(one, results))


def _times(result: Result) -> list[float]:
    """Seconds of a row's runs, of those that noted them."""
    digests = {"data": result.spec["data"], "code": result.spec["code"]}
    keys = (store.run_key(store.run_spec(result.row, run.seed, **digests)) for run in result.runs)
    found = (cost.read(paths.STORE / "runs" / key).measured.get("seconds") for key in keys)
    return [seconds for seconds in found if seconds is not None]


def add_seeds(path: Path, study: str, seeds: Sequence[int]) -> None:
    """Appends seeds to those of a study's rows, as DVC would write it; comments stay."""
    from dvc.utils.serialize import modify_yaml

    with draft_of(path) as draft:  # DVC by itself would leave half a file where it is killed
        draft.write(path.read_bytes())
        draft.flush()
        with modify_yaml(draft.name) as content:
            content["studies"][study]["rows"]["seeds"].extend(seeds)


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="pipeline/python -m pipeline.decide", description=WHAT)
    parser.add_argument("study")
    parser.add_argument("--go", action="store_true", help="train; further options go to pipeline.launch")
    arguments, options = parser.parse_known_args()
    if options and not arguments.go:
        parser.error(f"{options[0]}: options for pipeline.launch go with --go")
    check(read_params(paths.PARAMS), arguments.study)  # before days of training
    while True:
        if arguments.go:
            _train(arguments.study, options)
        found = look(read_params(paths.PARAMS), arguments.study)
        print(found, flush=True)
        if not (arguments.go and found.open and found.upcoming):
            return
        add_seeds(paths.PARAMS, found.study, found.more)


def _train(study: str, options: Sequence[str]) -> None:
    """Trains what is missing of a study, and writes its report; nothing where nothing is."""
    launch = [sys.executable, "-m", "pipeline.launch", f"report@{study}", *options]
    if subprocess.run(launch, cwd=paths.ROOT, check=False).returncode:
        raise UserError(f"{study}: not all is trained, see above; the same command goes on from here")


if __name__ == "__main__":
    main()
