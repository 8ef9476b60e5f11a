"""Recipes of rows are those of their names: optimizers, rates by epoch, when a run stops and which weights it keeps."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from pipeline.measures.next_epoch import NextEpoch
from pipeline.params import optimizers
from pipeline.params.rows import Row
from pipeline.training import module, run

MakeRow = Callable[..., Row]
Torchs = Callable[[list[nn.Parameter]], torch.optim.Optimizer]

OPTIMIZERS: dict[str, tuple[dict[str, Any], Torchs]] = {
    "sgd": (
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        lambda weights: torch.optim.SGD(weights, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    ),
    "adam": (
        {"lr": 0.1, "beta1": 0.8, "beta2": 0.9, "eps": 0.1, "weight_decay": 0.1},
        lambda weights: torch.optim.Adam(weights, 0.1, (0.8, 0.9), 0.1, weight_decay=0.1),
    ),
    "adamw": (
        {"lr": 0.1, "weight_decay": 0.1},
        lambda weights: torch.optim.AdamW(weights, 0.1, weight_decay=0.1),
    ),
}


def stepped(make: Torchs) -> Tensor:
    """Weights after three steps down the same slope."""
    weight = nn.Parameter(torch.linspace(-1, 2, 7))
    optimizer = make([weight])
    for _ in range(3):
        optimizer.zero_grad()
        (weight**3).sum().backward()
        optimizer.step()
    return weight.detach()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_is_torchs_with_all_that_the_row_says(name: str) -> None:
    """Broken: weight decay, Nesterov's momentum or the betas of a row would be read and not used."""
    values, torchs = OPTIMIZERS[name]
    spec: Any = TypeAdapter(optimizers.Optimizer).validate_python({"name": name} | values)
    torch.testing.assert_close(stepped(lambda weights: module.make_optimizer(spec, weights)), stepped(torchs))


HALF = math.cos(math.pi / 4)
SCHEDULES: dict[str, tuple[dict[str, Any], list[float], list[float]]] = {
    "step": ({"milestones": [1, 3], "factor": 0.5}, [1.0] * 4, [1, 0.5, 0.5, 0.25]),
    "cosine": ({"min_lr": 0.2}, [1.0] * 4, [1, 0.6 + 0.4 * HALF, 0.6, 0.6 - 0.4 * HALF]),
    "plateau": (
        {"factor": 0.5, "patience": 2, "cooldown": 1, "min_lr": 0.3, "min_delta": 0.1},
        [5.0, 4.85, 4.7, *[4.65] * 6],
        [*[1.0] * 5, *[0.5] * 3, 0.3],
    ),
}
"""Values of a row, validation losses by epoch, and the rates in force."""


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_sets_the_rates_that_the_row_says(name: str) -> None:
    """Broken: a rate would fall an epoch late, too far, or by another curve than the report says."""
    values, losses, expected = SCHEDULES[name]
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], 1.0)
    spec: Any = TypeAdapter(optimizers.Schedule).validate_python({"name": name} | values)
    schedule: Any = module.make_schedule(spec, optimizer, 4)
    rates = []
    for loss in losses:
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step(*[loss] * (name == "plateau"))
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize(("by", "values"), [("loss", [1, 0.5, 0.45, 0.44]), ("accuracy", [0.1, 0.5, 0.55, 0.56])])
def test_a_run_stops_after_so_many_epochs_without_gain(by: str, values: list[float], make_row: MakeRow) -> None:
    """Broken: it would stop early or late, or where the accuracy rises."""
    stopping = run._early_stopping(make_row(select_by=by, early_stopping={"patience": 2, "min_delta": 0.1}))
    trainer = SimpleNamespace(
        callback_metrics={}, should_stop=False, current_epoch=0, fast_dev_run=False, world_size=1,
        strategy=SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision),
    )  # fmt: skip
    for place, value in enumerate(values, 1):
        assert not trainer.should_stop, place
        trainer.callback_metrics[f"val_{by}"] = torch.tensor(value)
        stopping._run_early_stopping_check(cast(Any, trainer))
    assert trainer.should_stop


@pytest.mark.parametrize(
    "changes", [{"select_by": "loss"}, {"select_by": "accuracy"}, {"select_by": "accuracy", "keep": "last"}]
)
def test_the_kept_weights_are_those_that_the_row_says(
    changes: dict[str, str], data: Path, make_row: MakeRow, tmp_path: Path
) -> None:
    """Broken: other weights would be tested than those of the best epoch, the first of equals, or of the last."""
    row = make_row(epochs=8, optimizer={"name": "adam", "lr": 0.05}, **changes)
    run.train(row, 0, data, tmp_path, lambda _: None)
    result = json.loads((tmp_path / "result.json").read_text())
    with (tmp_path / "curves.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    values = [float(line[f"val_{row.select_by}"]) for line in lines]
    best = values.index(max(values) if row.select_by == "accuracy" else min(values)) + 1
    best = 8 if row.keep == "last" else best
    assert result["best_epoch"] == best
    assert result["final_val_accuracy"] == float(lines[best - 1]["val_accuracy"])
    for key in ("accuracy", "loss"):
        assert result[f"gap_{key}"] == pytest.approx(result[f"final_train_{key}"] - result[f"final_val_{key}"])


@pytest.mark.parametrize(("devices", "batch"), [(1, 32), (2, 16)])
def test_a_norm_is_measured_with_the_images_that_it_saw(
    devices: int, batch: int, data: Path, make_row: MakeRow
) -> None:
    """Broken: of a run on two devices, statistics would be run again in twice as large batches as it trained in."""
    row = make_row(trainer={"accelerator": "cpu", "devices": devices, "strategy": "ddp" if devices > 1 else "auto"})
    epoch = NextEpoch(data, row, 0, torch.device("cpu"))
    assert (epoch.batch, len(next(epoch.batches(1)))) == (batch, batch)
