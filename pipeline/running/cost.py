"""What a run cost and on what machine: for the log only, since no clock and no host belong in an output.

It lies beside the run in the run store, so that a run which is logged later, because the server was away, is logged
with it.
"""

import math
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.params.rows import Row
from pipeline.running.environment import cpu_name
from pipeline.storage import read_json, read_notes, write_json

FILE = "cost.json"

MEASURED = ("seconds", "images_per_second")
MACHINE = ("cpu", "cores", "threads", "gpu", "torch", "python", "platform")


@dataclass(frozen=True)
class Cost:
    """What is known of a run's cost; empty of a run that was trained elsewhere.

    Args:
        measured: MEASURED: seconds of all epochs with their evaluation, but not of a run that was interrupted, and
            images a second of training alone.
        epochs: seconds of each epoch since the last start.
        machine: MACHINE, all or none, and `jobs`, the runs side by side.
    """

    measured: dict[str, float] = field(default_factory=dict)
    epochs: dict[str, float] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)


def write(folder: Path, row: Row, reports: Sequence[dict[str, Any]], jobs: int) -> None:
    """Notes what a run cost that was trained just now.

    Args:
        folder: of the run, finished or failed.
        row: what was trained.
        reports: what the run said after each epoch since its last start, see `run.train`.
        jobs: runs side by side on the machine.
    """
    spent = {key: sum(report[key] for report in reports) for key in ("images", "seconds", "training_seconds")}
    measured = {}
    if spent["training_seconds"]:
        measured["images_per_second"] = spent["images"] / spent["training_seconds"]
    if len(reports) == read_json(folder / "result.json")["epochs"]:
        measured["seconds"] = spent["seconds"]
    epochs = {str(report["epoch"]["epoch"]): report["seconds"] for report in reports}
    write_json(folder / FILE, vars(Cost(measured, epochs, machine(row) | {"jobs": str(jobs)})))


def read(folder: Path) -> Cost:
    """What a run cost, as far as its notes say it; they may come from anybody."""
    notes = {name: found for name, found in read_notes(folder / FILE).items() if isinstance(found, dict)}

    def numbers(name: str) -> dict[str, float]:
        found = notes.get(name, {}).items()
        return {key: value for key, value in found if isinstance(value, int | float) and abs(value) < math.inf}

    measured = {key: value for key, value in numbers("measured").items() if key in MEASURED}
    computer = {key: str(value) for key, value in notes.get("machine", {}).items() if key in (*MACHINE, "jobs")}
    return Cost(measured, numbers("epochs"), computer if set(MACHINE) <= computer.keys() else {})


def machine(row: Row) -> dict[str, str]:
    """What a row computes on: MACHINE, with the threads of a run."""
    import torch

    from pipeline.training.devices import uses_gpu

    gpu = f"{row.trainer.devices} × {torch.cuda.get_device_name()}" if uses_gpu(row) else "none"
    return {
        "cpu": cpu_name(),
        "cores": str(os.cpu_count()),
        "threads": str(row.trainer.devices),
        "gpu": gpu,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
