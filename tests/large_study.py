"""What the report of a large study takes: simulates one, writes its report, prints time, memory and sizes.

.venv/bin/python tests/large_study.py [ROWS SEEDS EPOCHS IMAGES]     100 30 100 10000, if left out
"""

import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from outputs import make_row, make_study, prepare, simulate, write_diagnosis
from rich.progress import track

from pipeline import paths, report
from pipeline.findings import measured
from pipeline.params.planned import PlannedStudy
from pipeline.params.rows import Row


def _simulate(root: Path, rows: int, seeds: int, epochs: int, images: int) -> PlannedStudy:
    """A study of so many rows from poor to good, some with published values, some with a run that failed."""
    paths.DATA = root / "data"
    prepare(root / "data" / "digits", images, [str(label) for label in range(10)])
    study: dict[str, Row] = {}
    for place in range(rows):
        changes = {"published": {"accuracy": 0.8}} if place % 4 == 0 else {}
        optimizer = {"name": "adam", "lr": 0.2 if place % 25 == 3 else 0.001}
        row = make_row(seeds=list(range(seeds)), epochs=epochs, optimizer=optimizer, **changes)
        study[f"row-{place:03d}-of-a-study"] = row
    # In processes of their own, so that the peak of memory is that of the report.
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        job = partial(_simulate_row, root)
        done = pool.map(job, study, study.values(), [0.7 + 0.2 * place / rows for place in range(rows)])
        for _ in track(done, "simulated", total=rows, transient=True):
            pass
    failed = [(name, seeds - 1) for name, row in study.items() if row.optimizer.lr > 0.1]
    write_diagnosis(root / "diagnosis", study, failed)
    return make_study(study)


def _simulate_row(root: Path, name: str, row: Row, accuracy: float) -> None:
    paths.DATA = root / "data"
    simulate(root / "runs" / name, row, accuracy)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths.STORE = root / "store"
        planned = _simulate(root, *map(int, sys.argv[1:] or (100, 30, 100, 10_000)))
        start, processor = time.perf_counter(), time.process_time()
        groups = measured.load(planned, root / "runs", root / "diagnosis")
        print(f"read    {time.perf_counter() - start:5.1f} s, {time.process_time() - processor:5.1f} s of a processor")
        report.write(planned, groups, root / "reports")
        print(f"written {time.perf_counter() - start:5.1f} s, {time.process_time() - processor:5.1f} s of a processor")
        print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB of memory at most")
        for path in sorted((root / "reports").rglob("*.*")):
            print(f"{path.stat().st_size:>10,} bytes  {path.relative_to(root)}")


if __name__ == "__main__":
    main()
