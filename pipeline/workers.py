"""Work side by side: one worker process per task and device, forked from a server that has imported torch.

Every worker computes with one thread, so its numbers do not depend on how many run beside it or on
the number of cores; cores are used by running several. A run on several devices is several workers
that know each other (`torch.distributed`), started here and not by Lightning, which would start the
whole program again.
"""

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from pipeline import forkserver
from pipeline.config import Row
from pipeline.devices import uses_gpu
from pipeline.errors import UserError

Report = Callable[[dict[str, Any]], None]
"""Takes what a worker says of its task while it works."""


class Line:
    """How a worker reaches its stage: a Report that can also ask. Workers of a run other than the first say nothing."""

    def __init__(self, pipe: Connection | None) -> None:
        self._pipe = pipe

    def __call__(self, content: dict[str, Any]) -> None:
        """Reports something."""
        if self._pipe:
            self._pipe.send(("report", content))

    def ask(self, content: dict[str, Any]) -> Any:
        """Asks something, and waits for what the stage's handler returns."""
        if self._pipe is None:
            return None
        self._pipe.send(("question", content))
        return self._pipe.recv()


@dataclass(frozen=True)
class Task:
    """What one worker does: here, to train a run. Other work is another class of tasks.

    Args:
        row: its trainer says where and on how many devices the work is done.
        seed: of all random numbers.
        data: a folder that `prepare` wrote.
        folder: the work is done when this holds a result, as `store.result` reads it.
    """

    row: Row
    seed: int
    data: Path
    folder: Path

    def work(self, report: Line) -> None:
        """Called in the worker; what it needs beyond this module it imports there."""
        from pipeline import run

        run.train(self.row, self.seed, self.data, self.folder, report)


@dataclass(frozen=True)
class Event:
    """What happened to a task: `start`, `report` or `question` with what it says, `end`, or with the error `crash`,
    after an exception, and `lost`, where the worker was killed."""

    task: Task
    kind: str
    content: Any = None


@dataclass
class _Crew:
    """The processes of one task and the pipe of the first of them."""

    task: Task
    slot: int
    processes: list[Any]
    pipe: Connection
    error: str | None = None
    done: bool = False


def default_jobs(row: Row) -> int:
    """How many runs fit side by side: DISHARMONY_JOBS, or the cores (GPUs) that one run leaves for others."""
    if wanted := os.environ.get("DISHARMONY_JOBS", ""):
        if not wanted.isdecimal() or wanted == "0":
            raise UserError(f"DISHARMONY_JOBS: found '{wanted}'; a number of runs side by side, 1 or more")
        return int(wanted)
    return max(1, len(_units(row)) // row.trainer.devices)


def _units(row: Row) -> list[int]:
    """The cores or GPUs that this process may use."""
    if uses_gpu(row):
        return list(range(torch.cuda.device_count()))
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def do_all(tasks: Iterable[Task | None], jobs: int, handle: Callable[[Event], Any]) -> None:
    """Does all tasks, `jobs` at a time, and hands on what happens.

    A crash of one stops no other. All workers end when this process does.

    Args:
        tasks: each is taken when a worker is free; None says that no other can begin before something happens.
        jobs: workers at most.
        handle: takes what happens; of a question it returns the answer.
    """
    waiting, slots = iter(tasks), list(range(jobs))
    crews: dict[Connection, _Crew] = {}
    more = True
    try:
        while more or crews:
            while more and slots:
                try:
                    task = next(waiting)
                except StopIteration:
                    more = False
                    break
                if task is None:
                    break
                crew = _start(task, slots.pop(0))
                crews[crew.pipe] = crew
                handle(Event(crew.task, "start"))
            for pipe in wait(list(crews)) if crews else ():  # none would be waited for without end
                assert isinstance(pipe, Connection)
                crew = crews[pipe]
                try:
                    kind, content = pipe.recv()
                except (EOFError, ConnectionResetError):
                    del crews[pipe]
                    slots.append(crew.slot)
                    handle(_end(crew))
                    continue
                if kind != "done":
                    answer = handle(Event(crew.task, kind, content))
                    if kind == "question":
                        with contextlib.suppress(OSError):  # killed meanwhile
                            pipe.send(answer)
                    continue
                crew.done, crew.error = True, content
                for process in crew.processes:  # those of a distributed run would wait for each other for ever
                    process.kill()
    finally:
        for crew in crews.values():
            for process in crew.processes:
                process.kill()


def last_words(crash: Event) -> str:
    """Why a task crashed, in a line; of a bug the traceback is printed."""
    lines = crash.content.strip().splitlines()
    if len(lines) > 1:
        print(crash.content, file=sys.stderr)
    return lines[-1]


def _start(task: Task, slot: int) -> _Crew:
    context = forkserver.context()
    receive, send = context.Pipe()
    devices = task.row.trainer.devices
    port = _free_port() if devices > 1 else 0
    processes = []
    for rank in range(devices):
        environment = {}
        if devices > 1:
            environment = {
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "WORLD_SIZE": str(devices),
                "NODE_RANK": "0",
                "LOCAL_RANK": str(rank),
            }
        if uses_gpu(task.row):
            units = _units(task.row)
            mine = [units[(slot * devices + index) % len(units)] for index in range(devices)]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, mine))
        process = context.Process(target=_work, args=(task, rank, environment, send))
        process.start()
        processes.append(process)
    send.close()
    return _Crew(task, slot, processes, receive)


def _end(crew: _Crew) -> Event:
    for process in crew.processes:
        process.join()
    codes = [process.exitcode for process in crew.processes]
    if not crew.done:
        crew.error = f"a worker ended with exit code {next((code for code in codes if code), 0)}"
        if -signal.SIGKILL in codes:
            crew.error += " (killed; out of memory?)"
    kind = "lost" if not crew.done else "crash" if crew.error else "end"
    return Event(crew.task, kind, crew.error)


def _work(task: Task, rank: int, environment: dict[str, str], pipe: Connection) -> None:
    """Runs in a worker."""
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    threading.Thread(target=_die_with_parent, daemon=True).start()

    from pipeline.store import result, run_lock

    try:
        if rank > 0:
            task.work(Line(None))
            return  # the first one says when the run is over
        with run_lock(task.folder):
            if result(task.folder) is None:
                task.work(Line(pipe))
        pipe.send(("done", None))
    except UserError as error:
        pipe.send(("done", str(error)))
    except BaseException:
        pipe.send(("done", traceback.format_exc()))


def _die_with_parent() -> None:
    """Ends this worker when its parent is gone, so that a killed stage leaves no second writer behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
