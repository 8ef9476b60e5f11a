"""Contestant: a run as the train stage trains it, with Lightning, the Recorder and the logits of each epoch kept."""

import tempfile
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from gate import Gate, compete

from pipeline.params.rows import Row
from pipeline.training import run


class Slices(pl.Callback):
    """Stops a run at the gate before each step."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.gate.step()


def train(row: dict[str, Any], data: Path, gate: Gate) -> None:
    if torch.cuda.is_available():
        gate.synchronize = torch.cuda.synchronize
    with tempfile.TemporaryDirectory() as folder:
        run.fit(Row.model_validate(row), 0, data, Path(folder) / "resume.ckpt", lambda _: None, [Slices(gate)])


if __name__ == "__main__":
    compete(train)
