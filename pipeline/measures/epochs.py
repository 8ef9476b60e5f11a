"""Epochs of a run's training images outside of training: the batches that it would have gone on with."""

from collections.abc import Iterator
from itertools import chain, islice
from itertools import count as naturals
from pathlib import Path
from typing import NamedTuple, cast

import pytorch_lightning as pl
import torch
from torch import Tensor

from pipeline.params.rows import Row
from pipeline.training.batches import Images, TrainBatches


class Position(NamedTuple):
    """What batches ask of a trainer: the epoch, and which share of each batch is a device's."""

    current_epoch: int
    global_rank: int
    world_size: int


class Epochs:
    """The epochs after the last that a row may train: the same order, augmentation and size of batches.

    Args:
        data: a folder that `prepare` wrote.
        row, seed: of the run.
        device: where the images lie.

    Attributes:
        train: the run's training images.
        batch: images that a batch norm sees at once in training.
    """

    def __init__(self, data: Path, row: Row, seed: int, device: torch.device) -> None:
        self._data, self._first = Images(data, row, seed), row.epochs
        self._data.to(device)
        self.train = self._data.train
        self._shares = 1 if row.trainer.sync_batchnorm else row.trainer.devices
        self.batch = row.batch // self._shares

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(TrainBatches(self._data))

    def batches(self, count: int) -> Iterator[Tensor]:
        """That many batches, uint8, of one epoch after the other; of a run on several devices, the first one's."""
        return islice(chain.from_iterable(self._epoch(number) for number in naturals()), count)

    def _epoch(self, number: int) -> Iterator[Tensor]:
        self._data.trainer = cast(pl.Trainer, Position(self._first + number, 0, self._shares))
        return (images for images, _ in TrainBatches(self._data))
