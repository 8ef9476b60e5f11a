"""Batches of images for a run: by indexing tensors that lie on the device, without loader workers.

A data set that fits into memory needs no decoding while training, so a batch is an index
operation, and augmentation is one more on the whole batch.
"""

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.images import draws
from pipeline.images.draws import Subset
from pipeline.params.rows import Row
from pipeline.training import streams

EVALUATION_PIXELS = 2**19
"""Pixels per batch of an evaluation: 512 images of 32×32. Fixed, so that no row's setting reaches its test result."""

BLOCK = 64
"""Steps that Lightning is handed at a time: its loop costs about as much as the step of a small network."""


class Images(pl.LightningDataModule):
    """The training images of a seed and those that select; never the test images, unless the row selects on them.

    Args:
        path: a folder that `prepare` wrote.
        row: batch size, augmentation, and what selects.
        seed: of the draw of images, of their order and of the augmentation.
    """

    def __init__(self, path: Path, row: Row, seed: int) -> None:
        super().__init__()
        self.row = row
        self.seed = seed
        draw = draws.read(path, seed)
        self.train = draw.train
        self.select = draws.test(path) if row.select_on == "test" else draw.validation

    def setup(self, stage: str) -> None:
        assert self.trainer is not None
        self.to(self.trainer.strategy.root_device)

    def to(self, device: torch.device) -> None:
        """Brings all images to a device."""
        self.train, self.select = self.train.to(device), self.select.to(device)

    def train_dataloader(self) -> "Blocks":
        return Blocks(TrainBatches(self))

    def val_dataloader(self) -> "Batches | list[None]":
        return Batches(self.select) if len(self.select) else []


class Batches:
    """All images in order, for evaluation."""

    def __init__(self, subset: Subset) -> None:
        self.subset = subset
        self.size = max(1, EVALUATION_PIXELS // math.prod(subset.images.shape[2:]))

    def __len__(self) -> int:
        return math.ceil(len(self.subset) / self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return (self.subset[start : start + self.size] for start in range(0, len(self.subset), self.size))


class Choice(NamedTuple):
    """What a step trains on, before any pixel is touched."""

    rows: Tensor  #: int64 N: which of the training images
    crop: "Crop | None"  #: how each of them is augmented


class TrainBatches:
    """One epoch: a new order of the images, full batches only, each device its share of every batch."""

    def __init__(self, data: Images) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data.train) // self.data.row.batch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return map(self.taken, self.choices())

    def choices(self) -> Iterator[Choice]:
        """What each step of the epoch trains on; drawn on the CPU, so that all devices train on the same."""
        data, trainer = self.data, self.data.trainer
        assert trainer is not None
        epoch, size = trainer.current_epoch, data.row.batch
        order = torch.randperm(len(data.train), generator=streams.generator(data.seed, "order", epoch))
        crops = streams.generator(data.seed, "augment", epoch)
        share = slice(trainer.global_rank, None, trainer.world_size)
        for batch in order[: len(self) * size].split(size):
            # Augmentation is drawn for the whole batch on every device: the draws do not depend on the share.
            crop = Crop.draw(size, data.train.images.shape, crops) if data.row.augment == "pad-crop-flip" else None
            yield Choice(batch[share], crop and crop.share(share))

    def taken(self, choice: Choice) -> tuple[Tensor, Tensor]:
        """The images of a choice as they are trained on, N×C×H×W, and their labels, where the training images lie."""
        images, labels = self.data.train[choice.rows.to(self.data.train.labels.device)]
        return (choice.crop(images) if choice.crop else images), labels


class Blocks:
    """An epoch as Lightning takes it: blocks of what BLOCK steps train on, the last one of what is left.

    Attributes:
        batches: of the epoch.
    """

    def __init__(self, batches: TrainBatches) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return math.ceil(len(self.batches) / BLOCK)

    def __iter__(self) -> Iterator[Iterator[Choice]]:
        choices = self.batches.choices()
        return (islice(choices, BLOCK) for _ in range(len(self)))


class Crop:
    """Pad with black by an eighth of the width, crop the old size at random, flip left-right every second image.

    The customary augmentation of CIFAR-10 (Lee et al. 2015, arXiv 1409.5185: 4 pixels at 32×32),
    drawn for a whole batch at once.
    """

    def __init__(self, pad: int, top: Tensor, left: Tensor, flip: Tensor) -> None:
        self.pad, self.top, self.left, self.flip = pad, top, left, flip

    @classmethod
    def draw(cls, count: int, shape: torch.Size, generator: torch.Generator) -> "Crop":
        """Draws the crops of `count` images of a N×C×H×W tensor's shape."""
        pad = cls.padding(shape)
        top, left = torch.randint(0, 2 * pad + 1, (2, count), generator=generator)
        return cls(pad, top, left, torch.rand(count, generator=generator) < 0.5)

    @staticmethod
    def padding(shape: torch.Size) -> int:
        """Pixels on each side of images of a N×C×H×W tensor's shape."""
        return shape[3] // 8

    def share(self, part: slice) -> "Crop":
        """The crops of some of the images."""
        return Crop(self.pad, self.top[part], self.left[part], self.flip[part])

    def __call__(self, images: Tensor) -> Tensor:
        """Crops N×C×H×W images, each in its own way."""
        height, width = images.shape[2:]
        padded, place = functional.pad(images, (self.pad,) * 4), self.top.device
        columns = torch.arange(width, device=place).expand(len(images), -1)
        columns = torch.where(self.flip[:, None], width - 1 - columns, columns) + self.left[:, None]
        rows = torch.arange(height, device=place) + self.top[:, None]
        which = torch.arange(len(images), device=place)[:, None, None]
        where = [index.to(images.device) for index in (which, rows[:, :, None], columns[:, None, :])]
        # The index gives N×H×W×C, whose permutation is a channels-last tensor as it stands.
        return padded.permute(0, 2, 3, 1)[where[0], where[1], where[2]].permute(0, 3, 1, 2)
