"""Kills a small study again and again while it trains, and checks that nothing is lost, doubled or left running.

    .venv/bin/python tests/soak.py --kills 200 --target train --seed 0

A study of one second on the built-in digits is trained in a copy of the project, once in peace. Then it is started over
and over, by `dvc repro` or by `launch`, and from a random moment on the first of a chosen kind is killed with SIGKILL:
the whole process group, DVC, a stage, a worker, or the process that logs to MLflow. Whatever goes on by itself is
waited for; then no process may be left. When a start ends well, all outputs and dvc.lock must have the bytes of the one
in peace, and MLflow one finished run for each row and seed and none that goes on; then all is removed and it begins
anew. Prints a line a kill and a table at the end; exit status 1 if anything was not as it should be. A kill takes some
30 CPU seconds.
"""

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
from test_pipeline import Project

VICTIMS = ("group", "dvc", "stage", "worker", "logger")

PATIENCE = 1800
"""Seconds until what still runs after a kill counts as hanging; the machine may be busy."""


def kind(process: psutil.Process) -> str | None:
    """What a process of a start is; None for the server that workers are forked from, and for helpers."""
    words = process.cmdline()
    if "dvc" in words:
        return "dvc"
    if any(word.startswith("pipeline.") for word in words):
        return "stage"
    parent = process.parent()
    if "multiprocessing.forkserver" in " ".join(words) and parent and parent.cmdline() == words:
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        return "logger" if "sqlalchemy" in maps else "worker"
    return None


def alive(session: int) -> list[psutil.Process]:
    """The processes of a start that run."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def kill(process: "subprocess.Popen[bytes]", wanted: str) -> str | None:
    """Kills the first process of a kind that a start has, or the whole group; what was killed, if it came to that."""
    while process.poll() is None:
        if wanted == "group":
            os.killpg(process.pid, signal.SIGKILL)
            return wanted
        for one in alive(process.pid):
            with contextlib.suppress(psutil.Error, OSError):
                if kind(one) == wanted:
                    one.kill()
                    return wanted
        time.sleep(0.1)
    return None


class Soak:
    """A study that is killed.

    Args:
        folder: for the copy of the project.
        target: what DVC is to bring up to date.
    """

    def __init__(self, folder: Path, target: str) -> None:
        self.project, self.target = Project(folder), target
        row = self.project.params["rows"]["a"] | {"epochs": 60, "seeds": [0, 1]}
        self.project.params["rows"] = {"a": row, "b": row | {"each": "conv act", "seeds": [0]}}
        del self.project.params["studies"]["other"]
        self.project.write()
        self.problems: list[str] = []

    def start(self, by: str) -> "subprocess.Popen[bytes]":
        """Starts the study; a start goes on with what the one before has left."""
        words = ["-m", "dvc", "repro", self.target] if by == "dvc repro" else ["-m", "pipeline.launch", self.target]
        return subprocess.Popen(
            ["pipeline/python", *words], cwd=self.project.folder, env=self.project.environment(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def state(self) -> tuple[dict[str, str], str, list[tuple[str, str, str, str]]]:
        """All that has to be the same: outputs, dvc.lock, and the runs in MLflow."""
        return self.project.outputs(), self.project.lock(), self.project.logged()

    def forget(self) -> None:
        """Removes what training has made; the images and the plan stay."""
        for name in ("runs", "diagnosis", "reports", ".store", ".mlflow", ".dvc/cache/runs"):
            shutil.rmtree(self.project.folder / name, ignore_errors=True)
        lock = self.project.folder / "dvc.lock"
        head, *stages = re.split(r"(?m)^(?=  [^\s-])", lock.read_text())
        lock.write_text(head + "".join(stage for stage in stages if stage.startswith(("  plan", "  prepare"))))

    def end(self, process: "subprocess.Popen[bytes]") -> int:
        """Waits for what goes on after a kill; the exit status."""
        try:
            status = process.wait(PATIENCE)
            deadline = time.monotonic() + 30
            while (left := alive(process.pid)) and time.monotonic() < deadline:
                time.sleep(0.5)
        except subprocess.TimeoutExpired:
            status, left = -1, alive(process.pid)
        if left:
            self.problems.append(f"left running: {[process.cmdline() for process in left]}")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        return status


def main() -> None:
    parser = argparse.ArgumentParser(description="Kills a small study again and again while it trains")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--target", default="train", help="what DVC is to bring up to date")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and victims")
    arguments = parser.parse_args()
    choose, killed, whole, going_on = random.Random(arguments.seed), Counter[str](), 0, 0
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        soak = Soak(Path(folder), arguments.target)
        began = time.monotonic()
        assert soak.end(soak.start("dvc repro")) == 0, "it does not even run in peace"
        seconds = time.monotonic() - began  # of a whole start, as the machine is busy now
        in_peace = soak.state()
        soak.forget()
        while killed.total() < arguments.kills and not soak.problems:
            began, process = time.monotonic(), soak.start(by := choose.choice(["dvc repro", "launch"]))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(choose.uniform(0, seconds / (1 + going_on % 3)))  # what was done before is not done again
            victim = kill(process, choose.choice(VICTIMS))
            if victim:
                killed[victim] += 1
            elif not going_on:
                seconds = time.monotonic() - began
            status, going_on = soak.end(process), going_on + 1
            if status == 0:
                whole, going_on = whole + 1, 0
                soak.problems += [
                    f"not as in peace: {what}"
                    for what, found, wanted in zip(("outputs", "dvc.lock", "runs"), soak.state(), in_peace, strict=True)
                    if found != wanted
                ]
                soak.forget()
            print(
                f"{killed.total():3} {by:9} {victim or 'nothing'} killed, status {status}", *soak.problems, flush=True
            )
        if not soak.problems and (soak.end(soak.start("dvc repro")) or soak.state() != in_peace):
            soak.problems.append("the last start does not end as in peace")
    print(*(f"{victim}: {killed[victim]} kills" for victim in VICTIMS), f"{whole + 1} starts ended well", sep="\n")
    sys.exit("\n".join(soak.problems) or 0)


if __name__ == "__main__":
    main()
