"""What DVC knows of the rows: which of them are to be trained for some targets, and that they have been.

DVC's command `commit` reads and writes all of dvc.lock for each stage, which takes minutes for some
hundred rows. So this does what that command does, with DVC's objects, and writes dvc.lock once.
"""

import functools
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from pipeline import paths
from pipeline.errors import UserError
from pipeline.running import store
from pipeline.text import one_line

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage

KINDS = ("train", "train-tuned")
"""The stages that train rows. A tuned row can be told stale only once it is tuned, so these come last."""

RETRY_SECONDS = 1.0

P = ParamSpec("P")
R = TypeVar("R")

Inputs = dict[str, str]
"""The digests of what a stage depends on, by path, as dvc.lock holds them."""


@contextmanager
def _project() -> Iterator["Repo"]:
    """DVC's view of the project, while no other DVC process changes it; its bars, one a file, are hidden."""
    from dvc.logger import set_loggers_level
    from dvc.repo import Repo, lock_repo

    with set_loggers_level(logging.CRITICAL), Repo(str(paths.ROOT), _wait_for_lock=True) as repo, lock_repo(repo):
        yield repo


def _alone() -> AbstractContextManager[None]:
    """While somebody else of ours uses DVC, waits."""
    return store.held("repro", "running stages of DVC")


def _patient(act: Callable[P, R]) -> Callable[P, R]:
    """A function that asks or tells DVC, one at a time; it is called again as long as somebody's `dvc repro` is at a
    stage of these, which DVC itself would refuse."""

    @functools.wraps(act)
    def wait(*args: P.args, **kwargs: P.kwargs) -> R:
        from dvc.exceptions import DvcException
        from dvc.lock import LockError

        told = False
        with _alone():
            while True:
                try:
                    return act(*args, **kwargs)
                except LockError as error:
                    if not told:
                        print(f"waiting for another DVC process ({one_line(error)[:100]})", file=sys.stderr)
                    told = True
                    time.sleep(RETRY_SECONDS)
                except DvcException as error:
                    raise UserError(one_line(error)) from None

    return wait


@dataclass(frozen=True)
class Chain:
    """The stages that targets need, in the order in which DVC runs them.

    Attributes:
        stale: those that differ from dvc.lock.
        trains: those of each of KINDS.
        before: what these need, themselves left out.
    """

    stale: frozenset[str]
    trains: Mapping[str, list[str]]
    before: Mapping[str, list[str]]


@_patient
def chain(targets: Sequence[str]) -> Chain:
    """What DVC would do for targets, which depends on dvc.yaml and params.yaml alone, and what of it is to do by now.

    Args:
        targets: names of stages, as `dvc repro` takes them; none for all.

    Raises:
        UserError: there is no such stage, or DVC cannot read its files.
    """
    from dvc.repo.reproduce import plan_repro

    with _project() as project:
        graph = project.index.graph
        wanted = plan_repro(graph, [stage for target in targets or [None] for stage in project.stage.collect(target)])
        trains: dict[str, list[str]] = {}
        before: dict[str, list[str]] = {}
        for kind in KINDS:
            rows = [stage for stage in wanted if stage.addressing.startswith(f"{kind}@")]
            trains[kind] = [stage.addressing for stage in rows]
            needed = plan_repro(graph, rows) if rows else []
            before[kind] = [stage.addressing for stage in needed if stage not in rows]
        return Chain(frozenset(stage.addressing for stage in wanted if stage.status()), trains, before)


@_patient
def stale(names: Sequence[str]) -> dict[str, Inputs]:
    """Those of some stages that differ from dvc.lock, with what they depend on."""
    with _project() as project:
        return {name: _inputs(stage) for name, stage in _stages(project, names).items() if stage.status()}


@_patient
def record(done: Mapping[str, Inputs], locks: Mapping[str, str]) -> list[str]:
    """Writes the outputs of stages into DVC's cache and dvc.lock, as `dvc commit -f` does.

    Args:
        done: what they depended on, as `stale` gave it.
        locks: of those who write these outputs, and what they do. They are not held while this waits for DVC, whose
            stages wait for them.

    Returns:
        Stages that were not recorded, because they are gone or what they depend on has changed since.
    """
    with ExitStack() as stack:
        for name in sorted(locks):  # in one order, so that two do not wait for each other
            stack.enter_context(store.held(name, locks[name]))
        project = stack.enter_context(_project())
        stages = _stages(project, done)
        changed = [name for name in done if name not in stages or _inputs(stages[name]) != done[name]]
        recorded = [stage for name, stage in stages.items() if name not in changed]
        for stage in recorded:
            stage.save()
            stage.commit()
        if recorded:
            recorded[0].dvcfile.dump_stages(recorded, update_pipeline=False)
        return changed


def repro(targets: Sequence[str], quiet: bool = False) -> None:
    """Runs `dvc repro`, one at a time: of two, DVC would refuse the second as soon as they share a stage.

    Args:
        targets: names of stages; none for all.
        quiet: hides what DVC and its stages tell of themselves; errors and progress go to stderr all the same.

    Raises:
        UserError: a stage failed; DVC has said why.
    """
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", *(["--quiet"] if quiet else []), *targets]
    with _alone():
        process = subprocess.Popen(command, cwd=paths.ROOT, stdout=subprocess.DEVNULL if quiet else None)
        try:
            process.wait()
        except KeyboardInterrupt:  # which DVC gets too; killed, it would leave half a dvc.lock
            process.wait()
            raise
    if process.returncode:
        raise UserError("dvc repro failed, see above")


def _stages(project: "Repo", names: Iterable[str]) -> "dict[str, Stage]":
    """Stages by name, those that are still there; asked for one by one, DVC would read all its files for each."""
    known = {stage.addressing: stage for stage in project.index.stages}
    return {name: known[name] for name in names if name in known}


def _inputs(stage: "Stage") -> Inputs:
    stage.save_deps()
    return {dep.def_path: str(dep.hash_info) for dep in stage.deps}
