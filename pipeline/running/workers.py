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
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from pipeline import arithmetic
from pipeline.errors import UserError, of_the_disk
from pipeline.params.rows import Row
from pipeline.running import forkserver
from pipeline.running.slots import Slots, gpus, kind, wanted_jobs
from pipeline.training.devices import uses_gpu

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
        """Asks something, and waits for what the stage answers."""
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
        from pipeline.training import run

        run.train(self.row, self.seed, self.data, self.folder, report)


@dataclass(frozen=True)
class Event:
    """What happened to a task: `start`, `report` with what it reports, `question` with what it asks, `end`, `crash`
    with the error, or `killed` with how its worker ended; and `lost` with the reason, where it is done on other
    machines, when it starts again."""

    task: Task
    kind: str
    content: Any = None
    answer: Callable[[Any], None] | None = None  #: takes the answer to a question, which the worker waits for


Events = Generator[Event, None, None]
"""What happens to tasks, as it happens; to close it ends them."""


@dataclass
class _Crew:
    """The processes of one task and the pipe of the first of them."""

    task: Task
    places: list[int]
    processes: list[Any]
    pipe: Connection
    error: str | None = None
    done: bool = False

    def kill(self) -> None:
        for process in self.processes:
            process.kill()


def do_all(tasks: Iterable[Task | None], jobs: int | None = None) -> Events:
    """Does all tasks side by side on this machine, in their order, and says what happens.

    A crash of one stops no other. All workers end when this process does.

    Args:
        tasks: what to do, on CPUs or GPUs; None says that no more can be done before something happens.
        jobs: tasks side by side; None for `slots.wanted_jobs`, and one process per core or GPU where that is None.
    """
    slots, crews = Slots(jobs or wanted_jobs()), dict[Connection, _Crew]()
    queues: dict[str, deque[Task]] = {"cpu": deque(), "gpu": deque()}
    source, more = iter(tasks), True
    try:
        while more or any(queues.values()) or crews:
            more = more and _queue(source, queues)
            for queue in queues.values():
                while queue and (places := slots.take(queue[0].row)) is not None:
                    crew = _start(queue.popleft(), places)
                    crews[crew.pipe] = crew
                    yield Event(crew.task, "start")
            for pipe in wait(list(crews)) if crews else ():  # none would be waited for without end
                assert isinstance(pipe, Connection)
                crew = crews[pipe]
                try:
                    what, content = pipe.recv()
                except (
                    EOFError,
                    OSError,
                ):  # none of its processes is left; it may have ended in the middle of a message
                    del crews[pipe]
                    slots.give(crew.task.row, crew.places)
                    yield _end(crew)
                    continue
                if what != "done":
                    yield Event(crew.task, what, content, _answer(pipe) if what == "question" else None)
                    continue
                crew.done, crew.error = True, content
                crew.kill()  # the workers of a distributed run would wait for each other for ever
    finally:
        for crew in crews.values():
            crew.kill()


def _queue(source: Iterator[Task | None], queues: dict[str, deque[Task]]) -> bool:
    """Queues the tasks that can be done now; whether there may be more of them later."""
    for task in source:
        if task is None:
            return True
        queues[kind(task.row)].append(task)
    return False


def _answer(pipe: Connection) -> Callable[[Any], None]:
    def send(content: Any) -> None:
        with contextlib.suppress(OSError):  # killed meanwhile
            pipe.send(content)

    return send


def last_words(crash: Event) -> str:
    """Why a task crashed, in a line; of a bug the traceback is printed."""
    lines = crash.content.strip().splitlines()
    if len(lines) > 1:
        print(crash.content, file=sys.stderr)
    return lines[-1]


def _start(task: Task, places: list[int]) -> _Crew:
    context = forkserver.start()
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
        if kind(task.row) == "gpu":
            names = gpus()
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(names[place] for place in places)
        process = context.Process(target=_work, args=(task, rank, environment, send))
        process.start()
        processes.append(process)
    send.close()
    return _Crew(task, places, processes, receive)


def _end(crew: _Crew) -> Event:
    for process in crew.processes:
        process.join()
    codes = [process.exitcode for process in crew.processes]
    if not crew.done:
        crew.error = f"a worker ended with exit code {next((code for code in codes if code), 0)}"
        if -signal.SIGKILL in codes:
            crew.error += " (killed; out of memory?)"
    what = "killed" if not crew.done else "crash" if crew.error else "end"
    return Event(crew.task, what, crew.error)


def _work(task: Task, rank: int, environment: dict[str, str], pipe: Connection) -> None:
    """Runs in a worker."""
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        del os.environ[name]  # Lightning would take the job's tasks for the processes of this run
    os.environ.update(environment)
    arithmetic.choose(task.row.trainer.arithmetic)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    threading.Thread(target=_die_with_parent, daemon=True).start()

    from pipeline.running.store import result, run_lock, sound

    try:
        if rank > 0:
            task.work(Line(None))
            return  # the first one says when the run is over
        if "CUDA_VISIBLE_DEVICES" in environment and not uses_gpu(task.row):  # `auto`, which would take the CPU here
            raise UserError(f"CUDA_VISIBLE_DEVICES: {environment['CUDA_VISIBLE_DEVICES']}: no such GPU on this machine")
        sound(task.folder)
        with run_lock(task.folder):
            if result(task.folder) is None:
                task.work(Line(pipe))
        pipe.send(("done", None))
    except UserError as error:
        pipe.send(("done", str(error)))
    except BaseException as error:
        line = of_the_disk(error) if isinstance(error, OSError) else None
        pipe.send(("done", line or traceback.format_exc()))


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
