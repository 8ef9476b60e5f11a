"""One run: the same bytes alone, resumed and on any number of cores; failures; what it never sees."""

import csv
import hashlib
import io
import json
import math
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pipeline.images import prepared
from pipeline.measures import inference
from pipeline.params.rows import Row
from pipeline.running import forkserver, workers
from pipeline.training import batches, run

FILES = ("result.json", "curves.csv", "logits.safetensors", "weights.safetensors")
MakeRow = Callable[..., Row]


class Killed(Exception):
    """Stands for a kill between two epochs."""


def trained(
    row: Row, seed: int, data: Path, folder: Path, report: Callable[[dict[str, Any]], None] = lambda _: None
) -> dict[str, str]:
    """Trains a run; the digests of its files."""
    folder.mkdir(exist_ok=True)
    run.train(row, seed, data, folder, report)
    return digests(folder)


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in FILES}


def curves(folder: Path) -> list[dict[str, str]]:
    with (folder / "curves.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_learns_and_writes_its_files(data: Path, make_row: MakeRow, tmp_path: Path) -> None:
    """Broken: training itself, or a file that later stages read."""
    trained(make_row(epochs=8), 0, data, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["status"] == "finished"
    assert result["test_accuracy"] > 0.9
    assert result["gap_accuracy"] == pytest.approx(result["final_train_accuracy"] - result["final_val_accuracy"])
    assert len(curves(tmp_path)) == result["epochs"] == 8
    logits = load_file(tmp_path / "logits.safetensors")["logits"]
    images, labels = prepared.test(data)
    assert (logits.argmax(1) == labels).double().mean().item() == result["test_accuracy"]
    model = inference.load(make_row(), data, 0, tmp_path / "weights.safetensors")
    with torch.inference_mode():
        torch.testing.assert_close(model(images.float()), logits)


SCHEDULES = {
    "none": {},
    "plateau": {"schedule": {"name": "plateau", "patience": 1, "factor": 0.5, "min_delta": 0.5}},
    "cosine": {"schedule": {"name": "cosine"}, "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9}},
    "step": {"schedule": {"name": "step", "milestones": [2]}, "optimizer": {"name": "rmsprop", "lr": 0.003}},
    "early stopping": {"early_stopping": {"patience": 3, "min_delta": 0.4}, "augment": "pad-crop-flip"},
    "last weights": {"keep": "last", "select_by": "accuracy"},
}


@pytest.mark.parametrize("case", SCHEDULES)
@pytest.mark.parametrize("killed_after", [1, 3])
def test_a_killed_run_resumes_to_the_same_bytes(
    case: str, killed_after: int, data: Path, make_row: MakeRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a resumed run would differ from an uninterrupted one, in its schedule, patience, order or dropout."""
    monkeypatch.setattr(run, "SAVE_SECONDS", 0.0)
    row = make_row(epochs=6, **SCHEDULES[case])
    whole = trained(row, 3, data, tmp_path / "whole")

    def kill(content: dict[str, Any]) -> None:
        if content["epoch"]["epoch"] == killed_after:
            raise Killed

    with pytest.raises(Killed):
        trained(row, 3, data, tmp_path / "killed", kill)
    seen: list[int] = []
    assert trained(row, 3, data, tmp_path / "killed", lambda content: seen.append(content["epoch"]["epoch"])) == whole
    assert seen[0] == killed_after + 1
    assert not (tmp_path / "killed" / "resume.ckpt").exists()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_block_of_steps_equals_single_steps(
    precision: str, data: Path, make_row: MakeRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: numbers would depend on how many steps Lightning is handed at a time. 20 steps: five epochs of four."""
    trainer = {"accelerator": "cpu", "precision": precision, "arithmetic": "native"}
    row = make_row(epochs=5, batch=24, augment="pad-crop-flip", trainer=trainer)
    found = []
    for block in (1, 3, 64):
        monkeypatch.setattr(batches, "BLOCK", block)
        found.append(trained(row, 0, data, tmp_path / str(block)))
    assert found[0] == found[1] == found[2]


def test_seeds_differ_and_repeat(data: Path, make_row: MakeRow, tmp_path: Path) -> None:
    """Broken: seeds would be copies of each other, or not reproducible."""
    first, again, other = (
        trained(make_row(), seed, data, tmp_path / name) for seed, name in ((0, "a"), (0, "b"), (1, "c"))
    )
    assert first == again
    assert first["weights.safetensors"] != other["weights.safetensors"]


@pytest.mark.usefixtures("worker_server")
def test_runs_side_by_side_give_the_bytes_of_runs_alone(data: Path, make_row: MakeRow, tmp_path: Path) -> None:
    """Broken: results would depend on how many runs train beside each other."""
    row = make_row(seeds=[0, 1])
    alone = [trained(row, seed, data, tmp_path / f"alone{seed}") for seed in row.seeds]
    tasks = [workers.Task(row, seed, data, tmp_path / f"beside{seed}") for seed in row.seeds]
    for task in tasks:
        task.folder.mkdir()
    events = list(workers.do_all(tasks, 2))
    assert [event.kind for event in events].count("end") == 2
    for seed, expected in zip(row.seeds, alone, strict=True):
        assert digests(tmp_path / f"beside{seed}") == expected


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"optimizer": {"name": "sgd", "lr": 1e12}, "each": "conv act"}, "not finite in epoch 1"),
        ({"optimizer": {"name": "sgd", "lr": 100.0}, "max_loss": 1.5}, "over max_loss 1.5 in epoch 1"),
    ],
)
def test_a_run_that_diverges_is_a_failed_result(
    changes: dict[str, Any], reason: str, data: Path, make_row: MakeRow, tmp_path: Path
) -> None:
    """Broken: divergence would end the stage, or be hidden among the finished runs."""
    run.train(make_row(**changes), 0, data, tmp_path, lambda _: None)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["status"] == "failed"
    assert reason in result["reason"]
    assert "test_accuracy" not in result
    assert len(curves(tmp_path)) == 1


def test_best_weights_are_those_of_the_selecting_epoch(data: Path, make_row: MakeRow, tmp_path: Path) -> None:
    """Broken: the tested weights would not be the selected ones."""
    trained(make_row(epochs=6, optimizer={"name": "adam", "lr": 0.05}), 0, data, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    losses = [float(line["val_loss"]) for line in curves(tmp_path)]
    assert result["best_epoch"] == losses.index(min(losses)) + 1
    assert result["final_val_loss"] == pytest.approx(min(losses), rel=1e-6)


def test_selection_reads_the_test_images_only_where_the_row_says_so(
    data: Path, make_row: MakeRow, tmp_path: Path
) -> None:
    """Broken: a row would be tuned on its test images without saying so."""
    from pipeline.training.batches import Images

    honest, leaking = Images(data, make_row(), 0), Images(data, make_row(select_on="test"), 0)
    pool, test = ({image.numpy().tobytes() for image in read(data)[0]} for read in (prepared.pool, prepared.test))
    selecting = [{image.numpy().tobytes() for image in images.select[:][0]} for images in (honest, leaking)]
    assert len(selecting[0]) == 30 and selecting[0] < pool and not selecting[0] & test
    assert selecting[1] == test


@pytest.mark.usefixtures("worker_server")
def test_distributed_training_equals_one_process(data: Path, make_row: MakeRow, tmp_path: Path) -> None:
    """Broken: two devices would train on other batches, or on samples seen twice, than one device does."""
    plain = {"each": "conv act", "end": "pool", "head": "dense act", "batch": 24, "epochs": 5, "keep": "last"}
    optimizer = {"name": "sgd", "lr": 0.05, "momentum": 0.9}
    steps = 5 * (96 // 24)
    assert steps == 20
    one = make_row(**plain, optimizer=optimizer)
    two = make_row(**plain, optimizer=optimizer, trainer={"accelerator": "cpu", "devices": 2, "strategy": "ddp"})
    trained(one, 0, data, tmp_path / "one")
    (tmp_path / "two").mkdir()
    events = list(workers.do_all([workers.Task(two, 0, data, tmp_path / "two")], 1))
    assert [event.kind for event in events] == ["start", *["report"] * 5, "end"], events[-1].content
    weights = [load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two")]
    for key, value in weights[0].items():
        torch.testing.assert_close(weights[1][key], value, rtol=0, atol=1e-5)
    for first, second in zip(curves(tmp_path / "one"), curves(tmp_path / "two"), strict=True):
        assert math.isclose(float(first["train_loss"]), float(second["train_loss"]), abs_tol=1e-4)
    assert len(load_file(tmp_path / "two" / "logits.safetensors")["logits"]) == 33


class Cut(workers.Task):
    """Is killed within a message, of which the first four bytes say that it is a long one."""

    def work(self, report: workers.Line) -> None:
        assert report._pipe
        os.write(report._pipe.fileno(), (100_000).to_bytes(4))
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.usefixtures("worker_server")
def test_a_crash_ends_one_run_and_says_why(data: Path, make_row: MakeRow, tmp_path: Path) -> None:
    """Broken: one broken run would take the others with it, or vanish without a word."""
    tasks = [
        workers.Task(make_row(), 0, tmp_path / "absent", tmp_path / "bad"),
        Cut(make_row(), 1, data, tmp_path / "cut"),
        workers.Task(make_row(), 2, data, tmp_path / "good"),
    ]
    for task in tasks:
        task.folder.mkdir()
    events = list(workers.do_all(tasks, 2))
    ends = [next(event for event in reversed(events) if event.task.seed == seed) for seed in range(3)]
    assert [event.kind for event in ends] == ["crash", "killed", "end"]
    assert "absent/fit.safetensors" in ends[0].content
    assert "exit code -9 (killed; out of memory?)" in ends[1].content
    assert (tmp_path / "good" / "result.json").exists()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_workers_keep_the_memory_that_they_free() -> None:
    """Broken: each step would wait for the system to hand out its activations anew, page by page."""
    faults = """
import resource
for step in range(12):
    if step == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(40_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    environment = os.environ | forkserver.ENVIRONMENT
    printed = subprocess.run([sys.executable, "-c", faults], env=environment, capture_output=True, check=True).stdout
    pages = 40_000_000 / os.sysconf("SC_PAGESIZE")
    assert int(printed) < pages / 10


class Planted:
    """Runs a command where it is unpickled as Python does by itself."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def flipped(content: bytes) -> bytes:
    """The content with one bit of its middle changed."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def planted(mark: Path) -> bytes:
    """A state, behind its own digest, that holds somebody's command."""
    content = io.BytesIO()
    torch.save({"state_dict": {}, "planted": Planted(mark)}, content)
    return hashlib.md5(content.getvalue()).digest() + content.getvalue()


BROKEN = {
    "a command": None,
    "a bit": flipped,
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_state_is_set_aside_and_the_run_starts_again(
    case: str,
    data: Path,
    make_row: MakeRow,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Broken: a state in a copied store could run a command, or one that a disk has changed would end a row for ever or
    change its numbers."""
    monkeypatch.setattr(run, "SAVE_SECONDS", 0.0)
    row = make_row()
    whole = trained(row, 3, data, tmp_path / "whole")

    def kill(content: dict[str, Any]) -> None:
        if content["epoch"]["epoch"] == 2:
            raise Killed

    with pytest.raises(Killed):
        trained(row, 3, data, tmp_path / "killed", kill)
    state, mark = tmp_path / "killed" / "resume.ckpt", tmp_path / "mark"
    change = BROKEN[case]
    state.write_bytes(change(state.read_bytes()) if change else planted(mark))
    seen: list[int] = []
    assert trained(row, 3, data, tmp_path / "killed", lambda content: seen.append(content["epoch"]["epoch"])) == whole
    assert seen == [1, 2, 3, 4]
    assert not mark.exists()
    (line,) = capfd.readouterr().err.splitlines()
    assert "resume.ckpt: " in line and "set aside as" in line and line.endswith("and done again")
