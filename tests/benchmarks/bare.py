"""Contestant: the bare PyTorch loop over a run's network, tensors and order of images, and nothing else.

What a run loses against it is the price of Lightning, metrics and hooks. It draws what a run draws, so that its
losses are those of the run.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from gate import Gate, compete
from torch import Tensor
from torch.nn import functional

from pipeline.images import draws
from pipeline.params.rows import Row
from pipeline.training import streams
from pipeline.training.devices import uses_gpu
from pipeline.training.module import Classifier, make_optimizer


def losses(row: Row, data: Path, seed: int, gate: Gate) -> Iterator[Tensor]:
    """Trains one step per item, without end, and yields its loss."""
    device = "cuda" if uses_gpu(row) else "cpu"
    images, labels = (part.to(device) for part in draws.read(data, seed).train[:])
    network = Classifier(row, data, seed).to(device).train()
    optimizer = make_optimizer(row.optimizer, network.parameters())
    half = torch.autocast(device, torch.bfloat16, enabled=row.trainer.precision == "bf16-mixed")
    epoch = 0
    while True:
        order = torch.randperm(len(images), generator=streams.generator(seed, "order", epoch))
        torch.manual_seed(streams.derive(seed, "dropout", epoch, 0))
        for batch in order[: len(images) // row.batch * row.batch].split(row.batch):
            gate.step()
            mine = batch.to(device)
            with half:
                loss = functional.cross_entropy(network(images[mine]), labels[mine])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.detach()
        epoch += 1


def train(row: dict[str, Any], data: Path, gate: Gate) -> None:
    torch.set_num_threads(1)
    if torch.cuda.is_available():
        gate.synchronize = torch.cuda.synchronize
    for _ in losses(Row.model_validate(row), data, 0, gate):
        pass


if __name__ == "__main__":
    compete(train)
