"""What a stage needs before it trains, and what a machine needs to hold: seconds of start-up, and memory of workers."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import inputs
import psutil
from contest import ROOT

from pipeline.params.rows import Row
from pipeline.running import workers

TINY = {
    "study": "start",
    "dataset": "digits",
    "backbone": {"widths": [4], "convs": [1], "dense": [4]},
    "each": "conv act",
    "end": "pool",
    "head": "dense act",
    "optimizer": {"name": "sgd", "lr": 0.01},
    "epochs": 1,
    "batch": 20,
    "trainer": {"accelerator": "cpu"},
    "seeds": [0],
}
"""A row that trains three steps: its stage is nothing but start-up."""


@dataclass(frozen=True)
class StartUp:
    """Wall-clock seconds of a stage of a row that trains next to nothing."""

    run: float  #: until its run is trained, tested and written
    stage: float  #: until the stage has ended, all logged
    again: float  #: of a stage whose runs the run store holds


def start_up(repeats: int = 3) -> StartUp:
    """Medians over fresh run stores, in a copy of the project's code."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("models", "pipeline"):
            shutil.copytree(ROOT / name, folder / name)
        shutil.copy(ROOT / "dvc.yaml", folder)
        params = {
            "datasets": {"digits": {"source": "digits", "train_size": 60, "validation": 0.1}},
            "studies": {"start": {"title": "Start", "question": "?"}},
            "rows": {"tiny": TINY},
        }
        (folder / "params.yaml").write_text(json.dumps(params))
        for stage in (["plan"], ["prepare", "digits"]):
            _stage(folder, *stage)
        fresh = []
        for _ in range(repeats + 1):
            shutil.rmtree(folder / ".store", ignore_errors=True)
            fresh.append(_stage(folder, "train", "tiny"))
        again = [_stage(folder, "train", "tiny")[1] for _ in range(repeats)]
    runs, stages = (sorted(seconds)[repeats // 2] for seconds in zip(*fresh[1:], strict=True))
    return StartUp(runs, stages, sorted(again)[repeats // 2])


def _stage(folder: Path, *stage: str) -> tuple[float, float]:
    """Seconds until a run of the run store is finished, and until the stage is."""
    environment = os.environ | {"DVC_ROOT": str(folder)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    began = time.time()
    name, *arguments = stage
    subprocess.run(
        [sys.executable, "-m", f"pipeline.{name}", *arguments],
        cwd=folder, env=environment, check=True, capture_output=True,
    )  # fmt: skip
    ended = time.time()
    results = list((folder / ".store").glob("runs/*/result.json"))
    return max((path.stat().st_mtime for path in results), default=ended) - began, ended - began


@dataclass(frozen=True)
class Memory:
    """MiB of the workers of runs side by side; a page that several of them map counts in equal parts to each (PSS)."""

    data: float  #: the data set's file
    mapped: list[float]  #: what each worker maps of it
    whole: list[float]  #: of each worker


def memory(jobs: int, images: int = 50_000) -> Memory:
    """Trains small runs side by side on a large data set and looks at them between epochs. Linux only."""
    with TemporaryDirectory() as temporary:
        data = inputs.random_images(Path(temporary), images)
        changes = TINY | {"dataset": "random", "epochs": 5, "batch": 500, "seeds": list(range(jobs))}
        row = Row.model_validate(changes)
        tasks = [workers.Task(row, seed, data, Path(temporary) / f"benchmark-{seed}") for seed in row.seeds]
        for task in tasks:
            task.folder.mkdir()
        seen: set[int] = set()
        found: list[Memory] = []
        for event in workers.do_all(tasks, jobs):
            if event.kind == "crash":
                raise RuntimeError(event.content)
            seen.update({event.task.seed} if event.kind == "report" else ())
            if len(seen) == jobs and not found:
                found.append(_look(data / "fit.safetensors"))
    return found[0]


def _look(file: Path) -> Memory:
    found = []
    for process in psutil.Process().children(recursive=True):
        # A section per mapping: an address and the mapped file, then lines such as "Pss:   12 kB".
        sections = re.split(r"^(?=[0-9a-f]+-)", Path(f"/proc/{process.pid}/smaps").read_text(), flags=re.M)
        ours = [section for section in sections if str(file) in section.partition("\n")[0]]
        if ours:
            found.append((_mib("Pss", ours), _mib("Pss", sections)))
    mapped, whole = (list(part) for part in zip(*found, strict=True))
    return Memory(file.stat().st_size / 2**20, mapped, whole)


def _mib(key: str, sections: list[str]) -> float:
    return sum(int(kib) for text in sections for kib in re.findall(rf"^{key}:\s+(\d+) kB", text, re.M)) / 1024


def lines(start: StartUp, held: Memory | None) -> list[str]:
    """Both as Markdown."""
    text = [
        "| stage of a row that trains three steps | seconds | target |",
        "|---|---:|---:|",
        f"| until its run is trained, tested and written | {start.run:.1f} | under 5 |",
        f"| until the stage has ended, the run logged with its model | {start.stage:.1f} | |",
        f"| a stage whose runs are in the run store | {start.again:.1f} | under 5 |",
    ]
    if held:
        mapped, whole = (", ".join(f"{value:.0f}" for value in part) for part in (held.mapped, held.whole))
        text += [
            "",
            f"Memory of {len(held.mapped)} runs side by side on a data set of {held.data:.0f} MiB, shared pages counted"
            f" in equal parts (PSS): {mapped} MiB of the data set, together {sum(held.mapped) / held.data:.2f} times"
            f" its size; {whole} MiB in all.",
        ]
    return text
