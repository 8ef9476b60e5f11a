"""From typing to answer: what commands take on a study, beside the bare loop's time of the same steps on all cores.

pipeline/python tests/benchmarks/waiting.py [--study quickstart] [--rounds 5] [--seeds N] [--epochs N] [--output FILE]
"""

import argparse
import ctypes
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bare
import hardware
import psutil
from contest import ROOT
from gate import Gate
from ruamel.yaml import YAML

from pipeline.images import prepared
from pipeline.params import planned
from pipeline.params.rows import Row
from pipeline.running import forkserver, slots
from pipeline.storage import write_atomically
from pipeline.training import run

PR_SET_CHILD_SUBREAPER = 36
"""Of prctl(2)."""

TARGETS = {
    "run.train": "≤ 1.4 ×",
    "launch": "≤ 2.5 ×",
    "dvc repro -f": "≤ 3 ×",
    "nothing to do": "≤ 2 s",
    "plan": "≤ 1.5 s",
    "train, stored": "≤ 1.5 s",
    "diagnose": "≤ 15 % of a training of 15 epochs",
}


@dataclass(frozen=True)
class Span:
    """What something took: wall-clock seconds, and CPU seconds of all its processes."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Job:
    """A run of the study."""

    row: Row
    seed: int
    data: Path


@dataclass
class Project:
    """A copy of the project in which commands run, with a study of some seeds and epochs.

    Args:
        folder: of the copy, empty.
        study: that is trained.
        seeds: of each row; None for its own.
        epochs: of each row; None for its own.
    """

    folder: Path
    study: str
    seeds: int | None
    epochs: int | None
    jobs: list[Job] = field(default_factory=list)

    def __post_init__(self) -> None:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, listed.split("\0")):
            if not name.startswith(("tests/", "reports/")) and name != "dvc.lock":
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.folder / name)
        subprocess.run(["git", "init", "-q"], cwd=self.folder, check=True)
        yaml = YAML()
        path = self.folder / "params.yaml"
        content: Any = yaml.load(path)
        study = content["studies"][self.study]
        for holder in [study.get("rows"), *content["rows"].values()]:
            if holder and (holder is study.get("rows") or holder.get("study") == self.study):
                self._shorten(holder)
        yaml.dump(content, path)
        self.command("dvc", "repro", "plan")
        names = list(planned.PlannedStudy.model_validate_json(self._planned("studies", self.study)).rows)
        rows = {name: planned.PlannedRow.model_validate_json(self._planned("rows", name)).row for name in names}
        self.rows = names
        self.command("dvc", "repro", *{f"prepare@{row.dataset}" for row in rows.values()})
        self.jobs = [Job(row, seed, self.folder / "data" / row.dataset) for row in rows.values() for seed in row.seeds]

    def _shorten(self, holder: Any) -> None:
        if self.seeds and "seeds" in holder:
            holder["seeds"] = list(range(self.seeds))
        if self.epochs and "epochs" in holder:
            holder["epochs"] = self.epochs

    def _planned(self, kind: str, name: str) -> bytes:
        return (self.folder / "plan" / kind / f"{name}.json").read_bytes()

    def command(self, *words: str) -> Span:
        """Runs one as a user would."""
        outer = {
            key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "DISHARMONY_", "MLFLOW"))
        }
        others = children()
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=self.folder, env=outer | {"DISHARMONY_PYTHON": sys.executable},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(done.stdout)
        wall = time.perf_counter() - began
        while left := children() - others:  # such as the server of its workers, which ends by itself
            os.waitpid(left.pop(), 0)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Span(wall, cpu)

    def forget(self) -> None:
        """As if nothing had been trained."""
        for name in (".store", ".mlflow", "runs", "diagnosis", "reports", ".dvc/cache"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        lock = self.folder / "dvc.lock"
        kept = re.split(r"(?m)^(?=  [^\s-])", lock.read_text())
        lock.write_text("".join(part for part in kept if not part.startswith(("  train", "  diagnose", "  report"))))


def bare_run(job: Job) -> float:
    """Trains the steps of a run and nothing else; CPU seconds."""
    began = time.process_time()
    steps = job.row.epochs * (prepared.info(job.data).counts["train"] // job.row.batch)
    gate = Gate(job.row.batch, steps + 1, lambda measured: None)
    for _ in islice(bare.losses(job.row, job.data, job.seed, gate), steps):
        pass
    return time.process_time() - began


def whole_run(job: Job) -> float:
    """Trains a run as a worker does; CPU seconds."""
    began = time.process_time()
    with TemporaryDirectory() as folder:
        run.train(job.row, job.seed, job.data, Path(folder), lambda report: None)
    return time.process_time() - began


def side_by_side(work: Callable[[Job], float], jobs: list[Job]) -> Span:
    """Does all jobs on all cores, in processes that have imported what they need and computed once before."""
    cores = slots.cores()
    with forkserver.start().Pool(cores) as pool:
        pool.map(work, jobs[:1] * cores, chunksize=1)
        began = time.perf_counter()
        cpu = sum(pool.map(work, jobs, chunksize=1))
        return Span(time.perf_counter() - began, cpu)


def measure(project: Project, rounds: int) -> dict[str, list[Span]]:
    """All spans by what was done; each round does all, every second one in the other order."""
    study, row = project.study, project.rows[0]

    def fresh(*words: str) -> Span:
        project.forget()
        return project.command(*words)

    work: dict[str, Callable[[], Span]] = {
        "bare loop": lambda: side_by_side(bare_run, project.jobs),
        "run.train": lambda: side_by_side(whole_run, project.jobs),
        "launch": lambda: fresh("pipeline.launch", f"report@{study}"),
        "diagnose": lambda: project.command("dvc", "repro", "-f", "-s", f"diagnose@{study}"),
        "nothing to do": lambda: project.command("dvc", "repro", f"report@{study}"),
        "train, stored": lambda: project.command("pipeline.train", row),
        "plan": lambda: project.command("pipeline.plan"),
        "dvc repro -f": lambda: fresh("dvc", "repro", "-f", f"report@{study}"),
    }
    found: dict[str, list[Span]] = {name: [] for name in work}
    project.command("dvc", "repro", f"report@{study}")  # what only a first time takes
    for number in range(rounds):
        for name in list(work)[:: -1 if number % 2 else 1]:
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
            found[name].append(work[name]())
    return found


def table(found: dict[str, list[Span]]) -> list[str]:
    """Medians as Markdown, and those of the ratios to the bare loop of the same round."""
    text = ["| what | seconds | × bare loop | CPU seconds | × bare loop | to reach |", "|---|---:|---:|---:|---:|---|"]
    base = found["bare loop"]
    for name, spans in found.items():
        cells = [name]
        for figure in ("wall", "cpu"):
            cells.append(f"{statistics.median(getattr(one, figure) for one in spans):.1f}")
            pairs = zip(spans, base, strict=True)
            cells.append(
                f"{statistics.median(getattr(one, figure) / getattr(other, figure) for one, other in pairs):.2f}"
            )
        text.append(f"| {' | '.join([*cells, TARGETS.get(name, '')])} |")
    return text


def children() -> set[int]:
    """The processes that have this one for a parent."""
    return {child.pid for child in psutil.Process().children()}


def adopt_orphans() -> None:
    """Makes this process the parent of what commands leave behind, so that its CPU time is counted."""
    if sys.platform == "linux" and ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise SystemExit("prctl: refused")


def main() -> None:
    parser = argparse.ArgumentParser(description="What commands take, beside the bare loop")
    parser.add_argument("--study", default="quickstart")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, help="of each row; else its own")
    parser.add_argument("--epochs", type=int, help="of each row; else its own")
    parser.add_argument("--output", type=Path, help="a file to write; else it is printed alone")
    arguments = parser.parse_args()
    adopt_orphans()
    with TemporaryDirectory() as temporary:
        project = Project(Path(temporary).resolve(), arguments.study, arguments.seeds, arguments.epochs)
        found = measure(project, arguments.rounds)
    runs = f"{len(project.jobs)} runs of `{arguments.study}` on {slots.cores()} cores"
    text = [
        "# From typing to answer",
        "",
        *hardware.header(),
        f"- {runs}; medians of {arguments.rounds} rounds, ratios within a round",
        "",
        *table(found),
    ]
    if arguments.output:
        write_atomically(arguments.output, ("\n".join(text) + "\n").encode())
    print("\n".join(text))


if __name__ == "__main__":
    main()
