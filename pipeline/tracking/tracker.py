"""The process that logs, as a stage sees it.

MLflow is imported in a process of its own, forked from the workers' server. So a slow server slows no
training, a broken one ends none, and a stage that has nothing to log does not wait for the import.
What could not be logged stays marked in the run store, and is logged at the next start of a stage. A stage that is over
waits `WAIT_SECONDS` for a server, whatever that does, and while it works it does not wait at all.
"""

import contextlib
import queue
import signal
import socket
import sys
import threading
import time
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from pipeline.running import forkserver
from pipeline.running.logbook import LoggedRun, LoggedTrial, mark_study, tracking_uri
from pipeline.text import one_line, redact

PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
"""Of servers that MLflow logs to, by the scheme of their address without its driver."""

CLOSE = ("runs that were not ended", "close")
"""The last message."""

WAIT_SECONDS = 30.0
"""So long a stage that is over waits for a tracking server in all; a file of this machine's takes the time it takes."""


QUIET_SECONDS = 5.0
"""Then a line says that it waits."""


class Tracker:
    """Sends what happens to the process that logs it. A context manager: on leaving it waits until all is
    logged, and says in one line what was not."""

    def __init__(self) -> None:
        self._pipe: Connection | None = None
        self._process: Any = None

    def begin(self, run: LoggedRun) -> None:
        """A run starts or goes on."""
        run.mark("pending")
        self._send(run.title, "begin", run)

    def epoch(self, run: LoggedRun, line: dict[str, Any]) -> None:
        """A run has finished an epoch; `line` is one of curves.csv, and `epoch_seconds`, which only the log knows."""
        self._send(run.title, "epoch", run, line, now())

    def end(self, run: LoggedRun) -> None:
        """A run is over: all of its folder is logged."""
        run.mark("pending")
        self._send(run.title, "end", run, now())

    def sweep(self, study: str, name: str, keep: set[str]) -> None:
        """Marks the runs of a study that a kill has left running, but for those of this row with a key in `keep`."""
        self._send(f"interrupted runs of {name}", "sweep", study, name, keep)

    def trial(self, trial: LoggedTrial) -> None:
        """A trial of a tuning is over."""
        trial.mark("pending")
        self._send(trial.title, "trial", trial, now())

    def summarize(self, study: str) -> None:
        """A study's report is written: it and the outputs that it stands on are logged."""
        mark_study(study, "pending")
        if problem := _unreachable():  # found out without the imports of MLflow, which take longer than a report
            _say_unlogged(problem)
        else:
            self._send(f"report on {study}", "summarize", study)

    def _send(self, what: str, action: str, *arguments: object) -> None:
        if self._pipe is None:
            context = forkserver.start()
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,))
            self._process.start()
            theirs.close()
        with contextlib.suppress(OSError):  # it has ended; on leaving this is said
            self._pipe.send((what, action, *arguments))

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pipe is None:
            return
        self._send(*CLOSE)
        problem, quiet = None, min(QUIET_SECONDS, WAIT_SECONDS)
        try:
            answered = self._pipe.poll(quiet)
            if not answered:
                print("logging to MLflow goes on", file=sys.stderr)
                answered = self._pipe.poll(WAIT_SECONDS - quiet if _server() else None)
            if answered:
                problem = self._pipe.recv()
            else:
                problem = f"its server took more than {WAIT_SECONDS:g} s"
                self._process.kill()
        except (EOFError, OSError):
            problem = "the process that logs has ended"
        except KeyboardInterrupt:  # at its end Python would wait for the process, and that for its server
            self._process.kill()
            raise
        finally:
            self._process.join()
        if problem:
            _say_unlogged(problem)


def _say_unlogged(problem: str) -> None:
    print(
        f"not logged to {redact(tracking_uri())}: {redact(problem)}; the results are safe, and logged later by:"
        " pipeline/python -m pipeline.log",
        file=sys.stderr,
    )


def _unreachable() -> str | None:
    """Why nobody answers at the address of the tracking server; None where somebody does, or there is no server."""
    server = _server()
    if server is None:
        return None
    try:
        with socket.create_connection(server, timeout=2):
            return None
    except OSError as error:
        return one_line(error)


def _server() -> tuple[str, int] | None:
    """Host and port of the tracking server; None where there is none."""
    address = urlsplit(tracking_uri())
    port = PORTS.get(address.scheme.partition("+")[0])
    with contextlib.suppress(ValueError):  # no port, as after a password with a slash in it
        return (address.hostname, address.port or port) if port and address.hostname else None
    return None


def _serve(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the stage ends it
    inbox: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, inbox), daemon=True).start()
    from pipeline.tracking import mlflow_log

    mlflow_log.serve(inbox, pipe)


def _receive(pipe: Connection, inbox: "queue.SimpleQueue[tuple[Any, ...]]") -> None:
    """Takes in what the stage sends, which would wait for a full pipe while a server keeps this process waiting."""
    message: tuple[Any, ...] = ()
    while message != CLOSE:
        try:
            message = pipe.recv()
        except EOFError:  # the stage was killed
            message = CLOSE
        inbox.put(message)


def now() -> int:
    """Milliseconds, as MLflow counts time."""
    return int(time.time() * 1000)
