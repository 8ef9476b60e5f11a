"""The benchmarks: contestants train the same thing, the referee counts what they did, and `make bench-gpu` works."""

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import bare
import limits
import pytest
from contest import Contest, Entrant, Team, median, ratio
from gate import Gate

from pipeline.params.rows import Row
from pipeline.training import run

MakeRow = Callable[..., Row]
BENCHMARKS = Path(__file__).parent / "benchmarks"


def test_the_bare_loop_trains_what_a_run_trains(data: Path, make_row: MakeRow, tmp_path: Path) -> None:
    """Broken: the benchmark would compare two different trainings."""
    row = make_row(epochs=2)
    module, _, recorder = run.fit(row, 3, data, tmp_path / "resume.ckpt", lambda _: None)
    assert module.failure is None
    gate = Gate(row.batch, steps=1, pause=lambda answer: None)
    losses = [loss.item() for loss in islice(bare.losses(row, data, 3, gate), 6)]
    epochs = [sum(losses[:3]) / 3, sum(losses[3:]) / 3]
    assert epochs == pytest.approx([line["train_loss"] for line in recorder.curves], rel=1e-6)


CONTESTANT = """
from gate import compete

def train(row, data, gate):
    while True:
        print("what libraries say is not for the referee")
        gate.step()

compete(train)
"""


def test_the_referee_counts_slices_and_names_who_failed(make_row: MakeRow, tmp_path: Path) -> None:
    """Broken: images would be counted wrongly, one contestant could end all others' measurements, or hang them."""
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(CONTESTANT)
    bad.write_text("raise SystemExit('no such package')\n")
    crew = Team(str(good), 2, 64)
    entrants = [Entrant("two", crew, 2), Entrant("one", crew, 1), Entrant("bad", Team(str(bad), 1, 64), 1)]
    calls: list[None] = []
    with Contest(entrants, [make_row(batch=8), make_row(batch=32)], tmp_path) as measured:
        for _ in range(2):
            slices = measured.next_row(3, lambda: calls.append(None))
            assert {name: len(found) for name, found in slices.items()} == {"two": 3, "one": 3}
            assert median(slices["two"]) > 0
            assert ratio(slices["two"], slices["two"]) == 1
    assert measured.failures == {"bad": "no such package"}
    assert len(calls) == 2 * (3 + 1) * 3


def test_an_image_needs_the_operations_of_its_layers(make_row: MakeRow) -> None:
    """Broken: the share of a device's limits would be stated wrongly."""
    row = make_row(each="conv", end="pool", head="dense", backbone={"widths": [4], "convs": [1], "dense": [5]})
    need = limits.need(row, shape=(1, 8, 8), classes=3)
    convolution, dense, classifier = 8 * 8 * 4 * 9, 4 * 4 * 4 * 5, 5 * 3
    # Forward, and backward for weights and inputs; images need no gradient.
    assert need.operations == 2 * (2 * convolution + 3 * dense + 3 * classifier)
    values = [(64, 256), (256, 64), (64, 5), (5, 3)]  # before and after each layer
    assert need.bytes == 2 * sum(3 * before + 2 * after for before, after in values)


@pytest.mark.integration
def test_all_of_the_gpu_benchmark_works_in_small() -> None:
    """Broken: `make bench-gpu` would fail on the first machine that has a GPU."""
    environment = os.environ | {"PYTHONPATH": str(BENCHMARKS.parent.parent), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "bench_gpu.py"), "--cpu"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "failed (" not in done.stdout, done.stdout
    for words in ("Lightning script", "2 × bf16", "of the lower limit", "ours / bare"):
        assert words in done.stdout
    assert "–" not in done.stdout, done.stdout  # an entrant without figures
