"""The epoch that a run would have gone on with: its training images outside of training."""

from collections.abc import Iterator
from itertools import islice
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


class NextEpoch:
    """The epoch after the last that a row may train: the same augmentation and size of batches.

    Args:
        data: a folder that `prepare` wrote.
        row, seed: of the run.
        device: where the images lie.

    Attributes:
        train: the run's training images.
        batch: images that a batch norm sees at once in training.
    """

    def __init__(self, data: Path, row: Row, seed: int, device: torch.device) -> None:
        images = Images(data, row, seed)
        images.to(device)
        shares = 1 if row.trainer.sync_batchnorm else row.trainer.devices
        images.trainer = cast(pl.Trainer, Position(row.epochs, 0, shares))
        self.train, self.batch = images.train, row.batch // shares
        self._batches = TrainBatches(images)

    def batches(self, most: int | None = None) -> Iterator[Tensor]:
        """The same batches each time, uint8, or the first of them; of a run on several devices, the first one's."""
        return islice((images for images, _ in self._batches), most)
