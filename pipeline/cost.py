"""What a run cost and on what machine: for the log only, since no clock and no host belong in an output.

It lies beside the run in the run store, `cost.json`, so that a run which is logged later, because the
server was away, is logged with it.
"""

import os
import platform
from collections import Counter
from pathlib import Path
from typing import Any

from pipeline.config import Row
from pipeline.storage import read_json, write_json


def write(folder: Path, row: Row, spent: Counter[str], jobs: int) -> None:
    """Notes what a run cost that was trained just now.

    Args:
        folder: of the run, finished or failed.
        row: what was trained.
        spent: `epoch`s, `images` that were trained on, `seconds`, and `training_seconds`, which leave out the
            evaluation of each epoch; all of them since the last start.
        jobs: runs side by side on the machine.
    """
    measured = {}
    if spent["training_seconds"]:
        measured["images_per_second"] = spent["images"] / spent["training_seconds"]
    if spent["epoch"] == read_json(folder / "result.json")["epochs"]:  # not of a run that was resumed
        measured["seconds"] = spent["seconds"]
    write_json(folder / "cost.json", {"measured": measured, "machine": machine(row) | {"jobs": str(jobs)}})


def read(folder: Path) -> tuple[dict[str, float], dict[str, str]]:
    """What a run cost and its machine; nothing where the run was trained elsewhere."""
    content: dict[str, Any] = read_json(folder / "cost.json") or {"measured": {}, "machine": {}}
    return content["measured"], content["machine"]


def machine(row: Row) -> dict[str, str]:
    """What a row computes on: `cpu`, `cores`, `threads` of a run, `gpu`, and versions."""
    import torch

    from pipeline.devices import uses_gpu

    gpu = f"{row.trainer.devices} × {torch.cuda.get_device_name()}" if uses_gpu(row) else "none"
    return {
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "threads": str(row.trainer.devices),
        "gpu": gpu,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _cpu() -> str:
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
