"""Rows in training, many at once: what they are checked for, which runs they share, what a crash leaves."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from helping import InTurn, Unlogged

from pipeline import paths
from pipeline.errors import UserError
from pipeline.images import prepared
from pipeline.params.planned import PlannedRow
from pipeline.params.rows import Row
from pipeline.running import cost, pool, rows, store
from pipeline.running.logbook import LoggedRun
from pipeline.running.workers import Events, Task
from pipeline.storage import write_json

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": 128}, "rows.r.batch: 128, but stripes has 96 training images"),
        (
            {"backbone": {"widths": [4] * 4, "convs": [1] * 4, "dense": [8]}},
            "rows.r.backbone: its blocks need images of 16×16",
        ),
        pytest.param({"trainer": {"accelerator": "gpu"}}, "rows.r.trainer: 1 GPUs wanted, 0 found", marks=NO_GPU),
        pytest.param(
            {"trainer": {"precision": "16-mixed", "arithmetic": "native"}},
            "rows.r.trainer.precision: 16-mixed needs a GPU",
            marks=NO_GPU,
        ),
        pytest.param(
            {"trainer": {"accelerator": "auto", "devices": 2, "strategy": "ddp", "sync_batchnorm": True}},
            "rows.r.trainer.sync_batchnorm: needs GPUs",
            marks=NO_GPU,
        ),
    ],
)
def test_a_row_that_does_not_fit_is_refused(
    changes: dict[str, Any], words: str, data: Path, make_row: Callable[..., Row]
) -> None:
    """Broken: the row would fail in every worker with a traceback of torch's."""
    with pytest.raises(UserError) as caught:
        row = make_row(**changes)
        rows.check_fit("rows.r", row, prepared.info(data))
        rows.check_machine("rows.r", row)
    assert words in str(caught.value)


def test_failed_runs_are_named_in_the_summary() -> None:
    """Broken: the stage would not say that runs diverged."""
    finished = {"seed": 0, "status": "finished", "test_accuracy": 0.5, "best_epoch": 1, "epochs": 2}
    failed = {"seed": 1, "status": "failed", "reason": "training loss not finite in epoch 1"}
    assert rows.summary([finished, failed]) == (
        "1 of 2 runs finished, mean test accuracy 0.5000; seed 1 failed: training loss not finite in epoch 1"
    )


def train(rows: Mapping[str, Row], engine: pool.Engine) -> dict[str, str]:
    """Trains rows as planned, unlogged."""
    planned = {name: PlannedRow(row=row, code="c") for name, row in rows.items()}
    return pool.train_rows(planned, engine, Unlogged())


@pytest.fixture
def project(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, whose data sets are all the same."""
    for name in ("RUNS", "STORE", "MLFLOW"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    monkeypatch.setattr(paths, "prepared", lambda dataset: data)
    return tmp_path


def test_rows_that_are_one_network_share_their_runs(project: Path, make_row: Callable[..., Row]) -> None:
    """Broken: the same run would be trained twice at once, by two writers of one folder; or a row had no outputs."""
    rows = {"a": make_row(epochs=1, seeds=[0, 1]), "b": make_row(epochs=1, seeds=[1, 2]), "c": make_row(epochs=2)}
    engine = InTurn()
    assert train(rows, engine) == {}
    assert [(task.row.epochs, task.seed) for task in engine.done] == [(1, 0), (1, 1), (1, 2), (2, 0)]
    weights = [(project / "runs" / "s" / row / "weights" / "seed-1.safetensors").read_bytes() for row in "ab"]
    assert weights[0] == weights[1]


def test_a_crash_stops_no_other_row(project: Path, make_row: Callable[..., Row]) -> None:
    """Broken: a night's launch would end at its first broken row, or call that done."""
    rows = {name: make_row(epochs=1) for name in ("refused", "good")} | {
        "broken": make_row(epochs=1, each="conv act"),
        "large": make_row(epochs=1, batch=128),
    }
    problems = train(rows, InTurn(crashing="conv act"))
    assert problems == {
        "refused": "refused: not here",
        "broken": "broken: 1 of 1 runs crashed; the first: seed 0: out of luck",
        "large": "rows.large.batch: 128, but stripes has 96 training images",
    }
    assert [path.name for path in (project / "runs" / "s").iterdir()] == ["good"]


def test_a_row_that_another_process_trains_is_waited_for_last(project: Path, make_row: Callable[..., Row]) -> None:
    """Broken: a launch would train what is being trained, fail at it, or keep all other rows waiting for it."""
    rows = {"busy": make_row(epochs=1), "free": make_row(epochs=2)}
    lock = store.Lock(store.row_lock("s", "busy"), wait=False)
    engine = InTurn()
    with lock:
        launched = threading.Thread(target=lambda: train(rows, engine))
        launched.start()
        while not (project / "runs" / "s" / "free" / "metrics.json").exists():
            time.sleep(0.01)
        assert [task.row.epochs for task in engine.done] == [2]
    launched.join()
    assert [task.row.epochs for task in engine.done] == [2, 1]
    assert (project / "runs" / "s" / "busy" / "metrics.json").exists()


def test_a_row_that_is_over_is_free(project: Path, make_row: Callable[..., Row]) -> None:
    """Broken: a study that is done in the first hour of a launch would be called in training for days."""
    seen = []

    class Watching(InTurn):
        def do_all(self, tasks: Iterable[Task]) -> Events:
            for event in super().do_all(tasks):
                if event.kind == "start":
                    seen.append([store.is_training("s", name) for name in ("first", "second")])
                yield event

    assert train({"first": make_row(epochs=1), "second": make_row(epochs=2)}, Watching()) == {}
    assert seen == [[True, True], [False, True]]


def test_a_row_that_cannot_be_written_stops_no_other(project: Path, make_row: Callable[..., Row]) -> None:
    """Broken: one answer of a disk or a file server would end all that trains beside it, for days."""
    (project / "runs" / "s").mkdir(parents=True)
    (project / "runs" / "s" / "first").write_text("in the way")
    problems = train({"first": make_row(epochs=1), "second": make_row(epochs=2)}, InTurn())
    assert list(problems) == ["first"]
    assert problems["first"].startswith("first: not written: ")
    assert (project / "runs" / "s" / "second" / "metrics.json").exists()


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    """One bit of the middle changed."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def zero(content: bytes) -> bytes:
    return bytes(len(content))


@pytest.mark.parametrize("file", ["curves.csv", "logits.safetensors", "weights.safetensors", "result.json"])
def test_a_damaged_run_is_set_aside_and_trained_again(
    file: str, project: Path, make_row: Callable[..., Row], capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: what a disk has cut or changed would be collected as a result, with exit status 0, or end every later
    start of the row with a traceback."""
    row = {"a": make_row(epochs=1)}
    assert train(row, InTurn()) == {}
    outputs = {path: path.read_bytes() for path in (project / "runs" / "s" / "a").rglob("*") if path.is_file()}
    (folder,) = (project / "store" / "runs").iterdir()
    for change in (cut, flip, zero):
        capsys.readouterr()
        (folder / file).write_bytes(change((folder / file).read_bytes()))
        engine = InTurn()
        assert train(row, engine) == {}
        assert len(engine.done) == 1
        named = [line for line in capsys.readouterr().err.splitlines() if "set aside as" in line]
        assert len(named) == 1 and f"{folder.name}/{file}: damaged" in named[0]
        assert (project / "store" / "damaged" / folder.name / file).exists()
        assert {path: path.read_bytes() for path in outputs} == outputs


def test_a_damaged_run_is_no_obstacle_to_others(
    project: Path, make_row: Callable[..., Row], capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: a cut file of one run would end the training of every other row of the project."""
    assert train({"a": make_row(epochs=1)}, InTurn()) == {}
    (folder,) = (project / "store" / "runs").iterdir()
    for name, lines in ("result.json", 0), ("logged.json", 1):  # of a damaged result, who logs it says so
        logged = rows.describe("a", make_row(epochs=1), "d", "c")[0]
        write_json(folder / "logged.json", {})
        LoggedRun(logged.study, "a", logged.row, 0, folder.name, "d", "c").mark("pending")
        (folder / name).write_bytes(cut((folder / name).read_bytes()))
        capsys.readouterr()
        assert train({"b": make_row(epochs=2)}, InTurn()) == {}
        named = [line for line in capsys.readouterr().err.splitlines() if f"{folder.name}/{name}: damaged" in line]
        assert len(named) == lines


def test_every_row_of_a_shared_run_is_logged_with_its_cost(project: Path, make_row: Callable[..., Row]) -> None:
    """Broken: of two rows that are the same network MLflow would show one; or costs would be those of a part."""

    class Log(Unlogged):
        def __init__(self) -> None:
            self.ended: list[LoggedRun] = []

        def end(self, run: object) -> None:
            assert isinstance(run, LoggedRun)
            self.ended.append(run)

    log, row = Log(), make_row(epochs=2)
    planned = {name: PlannedRow(row=row, code="c") for name in "ab"}
    assert pool.train_rows(planned, InTurn(), log) == {}
    assert [run.title for run in log.ended] == ["a seed 0", "b seed 0"]
    folder = log.ended[0].folder
    spent = cost.read(folder)
    assert spent.machine["jobs"] == "1" and spent.measured.keys() == {"seconds", "images_per_second"}
    report = {"epoch": {"epoch": 2.0}, "images": 96, "seconds": 1.0, "training_seconds": 1.0}
    cost.write(folder, row, [report], 1)  # of a run that went on after a kill
    assert "seconds" not in cost.read(folder).measured
