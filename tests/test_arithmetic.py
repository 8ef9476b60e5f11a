"""Which arithmetic workers compute with."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline import arithmetic
from pipeline.running import workers
from pipeline.storage import read_json, write_json

pytestmark = [
    pytest.mark.usefixtures("worker_server"),
    pytest.mark.skipif(not arithmetic.applies(), reason="only x86-64 Linux with AVX2 has portable arithmetic"),
]


@dataclass(frozen=True)
class Look(workers.Task):
    """Says what a worker computes with."""

    def work(self, report: workers.Line) -> None:
        import torch

        found = {name: os.environ.get(name) for name in arithmetic.TORCH | arithmetic.NUMPY}
        write_json(self.folder / "result.json", found | {"torch": torch.backends.cpu.get_cpu_capability()})


def test_rows_of_both_kinds_share_a_server_and_each_computes_as_it_says(make_row, tmp_path: Path) -> None:
    """Broken: native rows would be held to AVX2, or portable ones get other bytes on the next machine."""
    rows = {kind: make_row(trainer={"accelerator": "cpu", "arithmetic": kind}) for kind in ("portable", "native")}
    tasks = [Look(row, 0, tmp_path, tmp_path / kind) for kind, row in rows.items()]
    for task in tasks:
        task.folder.mkdir()
    assert {event.kind for event in workers.do_all(tasks)} == {"start", "end"}
    portable, native = (read_json(task.folder / "result.json") for task in tasks)
    assert portable == arithmetic.TORCH | arithmetic.NUMPY | {"torch": "AVX2"}
    assert {name: native[name] for name in arithmetic.TORCH} == dict.fromkeys(arithmetic.TORCH)
    assert {name: native[name] for name in arithmetic.NUMPY} == arithmetic.NUMPY
