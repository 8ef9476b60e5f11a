"""A step captured on a GPU against the plain one; on a CPU, what goes into it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pipeline.params.rows import Row
from pipeline.training import captured, run, streams
from pipeline.training.batches import Choice, Crop

MakeRow = Callable[..., Row]
SHAPE = torch.Size([9, 3, 16, 16])


@pytest.mark.parametrize("augmented", [True, False])
def test_a_choice_survives_its_way_to_the_gpu(augmented: bool) -> None:
    """Broken: a captured step would train on other images, or crop them in another way, than a plain one."""
    draws = streams.generator(0, "test")
    crop = Crop.draw(5, SHAPE, draws) if augmented else None
    rows = torch.randint(0, 9, (5,), generator=draws)
    back = captured._unpacked(captured._packed(Choice(rows, crop)), SHAPE)
    images = torch.rand(5, *SHAPE[1:], generator=draws)
    assert torch.equal(back.rows, rows)
    assert (back.crop is None) == (crop is None)
    if crop and back.crop:
        assert torch.equal(back.crop(images), crop(images))


def test_a_graph_reads_the_rate_in_force() -> None:
    """Broken: a run that goes on with what a CPU has saved would crash at each start, or keep the rate at which it was
    recorded, as would one of a torch whose schedules put other tensors in place of the old ones."""
    weights = [torch.nn.Parameter(torch.ones(2))]
    saved, optimizer = torch.optim.Adam(weights, 0.1), torch.optim.Adam(weights, torch.tensor(0.1), capturable=True)
    weights[0].grad = torch.ones(2)
    saved.step()
    optimizer.load_state_dict(saved.state_dict())
    (rate,) = captured.settle(optimizer, torch.device("cpu"))
    (group,) = optimizer.param_groups
    assert group["capturable"] and group["lr"] is rate and rate == torch.tensor(0.1)
    for changed in (0.05, torch.tensor(0.05)):
        rate.fill_(0.1)
        group["lr"] = changed
        captured.refill(optimizer, [rate])
        assert group["lr"] is rate and rate == torch.tensor(0.05)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_what_a_cpu_began_a_gpu_goes_on_with(
    optimizer: str, data: Path, make_row: MakeRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a run that another machine began, or this one before a kill, would end in a crash at each start."""
    monkeypatch.setattr(run, "SAVE_SECONDS", 0)
    row = make_row(optimizer={"name": optimizer, "lr": 0.003}, schedule={"name": "plateau", "patience": 1})
    state = tmp_path / "resume.ckpt"
    run.fit(row, 0, data, state, lambda _: None)  # its last epoch is in no state
    there = row.model_copy(update={"trainer": row.trainer.model_copy(update={"accelerator": "gpu"})})
    epochs: list[float] = []
    module, _, _ = run.fit(there, 0, data, state, lambda said: epochs.append(said["epoch"]["epoch"]))
    assert (module.failure, epochs) == (None, [4])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"augment": "pad-crop-flip", "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9}},
        {"schedule": {"name": "cosine"}, "optimizer": {"name": "rmsprop", "lr": 0.003}},
        {"trainer": {"accelerator": "gpu", "precision": "bf16-mixed", "arithmetic": "native"}},
    ],
)
def test_captured_steps_train_what_plain_steps_train(
    changes: dict[str, Any], data: Path, make_row: MakeRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a GPU would train something else than the row says: stale images, rates or dropout masks. 24 steps of
    8 epochs, so that the rate changes and dropout is seeded anew while the graph is replayed."""
    row = make_row(**{"trainer": {"accelerator": "gpu"}, "keep": "last", "epochs": 8} | changes)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    replays = []
    replay = torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", lambda graph: (replays.append(1), replay(graph)))
    weights = []
    for name in ("captured", "plain"):
        (tmp_path / name).mkdir()
        run.train(row, 0, data, tmp_path / name, lambda _: None)
        weights.append(load_file(tmp_path / name / "weights.safetensors"))
        monkeypatch.setattr(captured, "possible", lambda module: False)
    assert len(replays) == 24 - captured.WARM_UP
    for key, value in weights[0].items():
        torch.testing.assert_close(weights[1][key], value, rtol=1e-4, atol=1e-5)
