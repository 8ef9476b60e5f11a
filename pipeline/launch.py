"""Trains the stale rows of some DVC targets side by side over all of them, on this machine or on a Ray cluster.

    pipeline/python -m pipeline.launch report@vgg2 --jobs 8

It ends as `dvc repro report@vgg2` would, with the same bytes: first DVC brings up to date what the rows
depend on, then the runs of all stale rows go through one pool, and their outputs are recorded in
dvc.lock; then the same for tuned rows, which DVC tunes before, on this machine; then DVC goes on. A crash
stops nothing else. After a kill the same command resumes.
"""

import argparse
import os
import resource
import sys

from pipeline.errors import UserError, command, positive
from pipeline.params import planned
from pipeline.running import stages, store
from pipeline.running.pool import Engine, ThisMachine, train_rows
from pipeline.tracking.tracker import Tracker

FILES = 10_000
"""That may be open at once."""

WHAT = "Trains the stale rows that some stages need side by side, records them, and goes on as `dvc repro` does."


@command
def main() -> None:
    arguments = parse(sys.argv[1:])
    if arguments.jobs:
        os.environ["DISHARMONY_JOBS"] = str(arguments.jobs)  # also for the stages that DVC runs
    launch(arguments.targets, make_engine(arguments), arguments.quiet)


def parse(words: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="pipeline/python -m pipeline.launch", description=WHAT)
    parser.add_argument("targets", nargs="*", help="stages, as `dvc repro` takes them; none for all")
    parser.add_argument("--jobs", type=positive, help="runs side by side here; else one per core or GPU")
    parser.add_argument("--quiet", action="store_true", help="hide what DVC and its stages tell of themselves")
    parser.add_argument("--engine", choices=["local", "ray"], default="local", help="where runs are trained")
    ray = parser.add_argument_group("with --engine ray")
    ray.add_argument("--address", default="auto", help="of the cluster, HOST:PORT; auto finds that of this machine")
    ray.add_argument("--num-cpus", type=float, default=1.0, help="CPUs that one device of a run reserves")
    ray.add_argument("--num-gpus", type=float, default=0.0, help="GPUs that one device of a run reserves, such as 0.25")
    return parser.parse_args(words)


def make_engine(arguments: argparse.Namespace) -> Engine:
    """The engine that the command line names."""
    if arguments.engine == "local":
        return ThisMachine()
    from pipeline.running.cluster import Cluster

    return Cluster(arguments.address, arguments.num_cpus, arguments.num_gpus)


def launch(targets: list[str], engine: Engine, quiet: bool = False) -> None:
    """Brings targets up to date.

    Args:
        targets: stages, as `dvc repro` takes them; none for all.
        engine: where runs are trained.
        quiet: hides what DVC and its stages tell of themselves; errors and progress are shown all the same.

    Raises:
        UserError: rows have no outputs; all others are recorded, and no report is written.
    """
    _allow_files()
    if quiet:
        print("checking params.yaml and what is up to date", file=sys.stderr)
    chain = stages.chain(targets)
    if quiet and not chain.stale:
        return
    failed = 0
    for kind in stages.KINDS:
        if chain.trains[kind]:
            if chain.stale.intersection(chain.before[kind]):
                stages.repro(chain.before[kind], quiet)
            failed += _train(chain.trains[kind], engine, quiet)
    if failed:
        raise UserError(
            f"{failed} of the rows have no outputs, see above; all others are recorded, no report is written"
        )
    if quiet:
        print("measuring the trained networks and writing the report", file=sys.stderr)
    stages.repro(targets, quiet)


def _allow_files() -> None:
    """Lets this process open many files: each row has a lock, and macOS allows 256 unless more are asked for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _train(trains: list[str], engine: Engine, quiet: bool) -> int:
    """Trains and records those of some stages that are stale; how many rows have no outputs."""
    stale = {name.partition("@")[2]: (name, inputs) for name, inputs in stages.stale(trains).items()}
    if stale or not quiet:
        print(f"{len(stale)} of {len(trains)} rows to train", file=sys.stderr)
    if not stale:
        return 0
    rows = {row: planned.read_row(row) for row in stale}
    with Tracker() as tracker:
        problems = train_rows(rows, engine, tracker)
    done = {row: entry for row, entry in stale.items() if row not in problems}
    if done:
        if not quiet:
            print(f"recording {len(done)} rows in dvc.lock", file=sys.stderr)
        locks = {store.row_lock(rows[row].row.study, row): f"training row {row}" for row in done}
        for name in stages.record(dict(done.values()), locks):
            problems[name] = f"{name}: what it depends on has changed while it trained; launch again"
    for problem in problems.values():
        print(problem, file=sys.stderr)
    return len(problems)


if __name__ == "__main__":
    main()
