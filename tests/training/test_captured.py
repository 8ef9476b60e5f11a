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
