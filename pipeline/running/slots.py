"""How many tasks go side by side on this machine, and on which GPUs."""

import itertools
import os

from pipeline.errors import UserError
from pipeline.params.rows import Row
from pipeline.training.devices import uses_gpu


class Slots:
    """The cores and the GPUs of this machine, and how many processes compute on each.

    Args:
        jobs: tasks side by side, several on a GPU where they are more; None gives each core and each GPU one process.
    """

    def __init__(self, jobs: int | None = None) -> None:
        self.jobs = jobs
        self._running = 0
        self._loads: dict[str, list[int]] = {}

    def take(self, row: Row) -> list[int] | None:
        """The cores or GPUs for the processes of a task, those with the least to do; None while it does not fit."""
        loads = self._of(row)
        free = self._running < self.jobs if self.jobs else loads.count(0) >= min(row.trainer.devices, len(loads))
        if not free:
            return None
        by_load = sorted(range(len(loads)), key=loads.__getitem__)
        places = [by_load[number % len(by_load)] for number in range(row.trainer.devices)]
        self._add(row, places, 1)
        return places

    def give(self, row: Row, places: list[int]) -> None:
        """Takes back what `take` gave."""
        self._add(row, places, -1)

    def _add(self, row: Row, places: list[int], number: int) -> None:
        self._running += number
        for place in places:
            self._of(row)[place] += number

    def _of(self, row: Row) -> list[int]:
        """How many processes compute on each core or GPU, by what the row computes on."""
        where = kind(row)
        if where == "gpu" and not gpus():
            raise UserError("trainer.accelerator: gpu, and there is none here; run this where there is one")
        return self._loads.setdefault(where, [0] * (len(gpus()) if where == "gpu" else cores()))


def fitting(row: Row) -> int:
    """How many tasks of a row go side by side: `wanted_jobs`, or as many as leave each core or GPU one process."""
    return wanted_jobs() or max(1, (len(gpus()) if kind(row) == "gpu" else cores()) // row.trainer.devices)


def kind(row: Row) -> str:
    """What a row computes on, cpu or gpu."""
    return "gpu" if uses_gpu(row) else "cpu"


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> list[str]:
    """The GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES takes."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        import torch

        return [str(gpu) for gpu in range(torch.cuda.device_count())]
    names = itertools.takewhile(lambda name: not name.strip().startswith("-"), visible.split(","))  # as CUDA reads it
    return [name for name in names if name]


def wanted_jobs() -> int | None:
    """How many tasks shall go side by side: DISHARMONY_JOBS, or None where it is not set.

    Raises:
        UserError: it is no such number.
    """
    wanted = os.environ.get("DISHARMONY_JOBS", "")
    if wanted and (not wanted.isdecimal() or int(wanted) == 0):
        raise UserError(f"DISHARMONY_JOBS: found '{wanted}'; a number of runs side by side, 1 or more")
    return int(wanted) if wanted else None
