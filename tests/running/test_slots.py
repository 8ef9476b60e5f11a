"""How many tasks go side by side, and which GPUs they get."""

from collections.abc import Callable

import pytest

from pipeline.errors import UserError
from pipeline.params.rows import Row
from pipeline.running import slots
from pipeline.running.slots import Slots

MakeRow = Callable[..., Row]


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores and three GPUs."""
    monkeypatch.setattr(slots, "cores", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,1,7")


def gpu_row(make_row: MakeRow, devices: int = 1) -> Row:
    strategy = "ddp" if devices > 1 else "auto"
    return make_row(trainer={"accelerator": "gpu", "devices": devices, "strategy": strategy})


def test_each_core_and_each_gpu_has_one_process(make_row: MakeRow) -> None:
    """Broken: runs would share a core or a GPU that others leave idle, or GPUs wait for cores."""
    free, cpu, gpu = Slots(), make_row(), gpu_row(make_row)
    assert [free.take(cpu) for _ in range(3)] == [[0], [1], None]
    assert [free.take(gpu) for _ in range(4)] == [[0], [1], [2], None]
    free.give(cpu, [1])
    free.give(gpu, [0])
    assert free.take(cpu) == [1]
    assert free.take(gpu) == [0]


def test_a_run_on_several_devices_waits_for_all_of_them(make_row: MakeRow) -> None:
    """Broken: its processes would share a GPU; or one that is larger than the machine would wait for ever."""
    free = Slots()
    assert free.take(gpu_row(make_row, 2)) == [0, 1]
    assert free.take(gpu_row(make_row, 2)) is None
    wide = make_row(trainer={"accelerator": "cpu", "devices": 4, "strategy": "ddp"})
    assert free.take(wide) == [0, 1, 0, 1]
    assert free.take(make_row()) is None


def test_more_jobs_than_gpus_share_them_evenly(make_row: MakeRow) -> None:
    """Broken: `--jobs` would not fill a GPU with several runs, or would fill one and leave another."""
    free, gpu = Slots(jobs=5), gpu_row(make_row)
    assert [free.take(gpu) for _ in range(6)] == [[0], [1], [2], [0], [1], None]
    free.give(gpu, [2])
    assert free.take(gpu) == [2]


def test_gpus_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: runs would go to GPUs that a scheduler gave to others."""
    assert slots.gpus() == ["4", "1", "7"]
    for none in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", none)
        assert slots.gpus() == []


def test_a_wrong_number_of_jobs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a typing error would train nothing, or with a traceback."""
    monkeypatch.setenv("DISHARMONY_JOBS", "all")
    with pytest.raises(UserError, match="DISHARMONY_JOBS: found 'all'; a number"):
        slots.wanted_jobs()


def test_a_gpu_that_is_not_there_is_said(make_row: MakeRow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: who diagnoses at home what a GPU elsewhere has trained would get a division by zero."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UserError, match=r"^trainer\.accelerator: gpu, and there is none here"):
        Slots().take(gpu_row(make_row))
