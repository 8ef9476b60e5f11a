"""Contestant: a run as the train stage trains it, with Lightning, the Recorder and the logits of each epoch kept."""

import math
import tempfile
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from gate import Gate, compete

from pipeline.params.rows import Row
from pipeline.training import batches, run


class Slices(pl.Callback):
    """Stops a training at the gate before each of Lightning's batches, which may be blocks of steps."""

    def __init__(self, gate: Gate, steps: int = 1) -> None:
        self.gate, self.steps = gate, steps

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.gate.step(self.steps)


def train(row: dict[str, Any], data: Path, gate: Gate) -> None:
    if torch.cuda.is_available():
        gate.synchronize = torch.cuda.synchronize
    batches.BLOCK = math.gcd(batches.BLOCK, gate.steps)
    slices = Slices(gate, batches.BLOCK)
    with tempfile.TemporaryDirectory() as folder:
        run.fit(Row.model_validate(row), 0, data, Path(folder) / "resume.ckpt", lambda _: None, [slices])


if __name__ == "__main__":
    compete(train)
