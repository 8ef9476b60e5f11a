"""Which images of a data set a seed trains on and selects by: its draw from the pool that `prepare` wrote.

A seed is a whole repetition, so it has training and validation images of its own, the same for all rows of that seed.
Test images are no part of the pool: they are the same for all seeds.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.images import prepared

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Subset:
    """Some of a file's images, which stay in the file's one copy per machine until a batch takes them out."""

    images: Tensor  #: of the whole file, uint8, n×C×H×W
    labels: Tensor  #: int64, N: of the subset alone
    rows: Tensor  #: int64, N: where the file has the subset's images

    @classmethod
    def of(cls, images: Tensor, labels: Tensor) -> "Subset":
        """All of these images."""
        return cls(images, labels, torch.arange(len(images), device=images.device))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Images and labels by their places in the subset."""
        return self.images[self.rows[which]], self.labels[which]

    def to(self, device: torch.device) -> "Subset":
        """Itself where it lies on the device, else a copy of the subset's own images there."""
        return self if self.labels.device == device else Subset.of(*(part.to(device) for part in self[:]))


@dataclass(frozen=True)
class Draw:
    """What a seed draws."""

    train: Subset
    validation: Subset


def read(path: Path, seed: int) -> Draw:
    """The draw of a seed.

    Args:
        path: a folder that `prepare` wrote.
        seed: of the run.

    Raises:
        UserError: absent or damaged.
    """
    counts = prepared.info(path).counts
    images, labels = prepared.pool(path)
    drawn = rows(labels.numpy(), counts["train"], counts["validation"], seed)
    return Draw(*(Subset(images, labels[part], part) for part in map(torch.from_numpy, drawn)))


def test(path: Path) -> Subset:
    """The test images of a data set, which are the same for all seeds.

    Raises:
        UserError: absent or damaged.
    """
    return Subset.of(*prepared.test(path))


def rows(labels: Rows, train: int, validation: int, seed: int) -> tuple[Rows, Rows]:
    """The rows of a pool that train and those that select, in rising order, classes in proportion.

    Args:
        labels: of the pool.
        train, validation: how many.
        seed: of the run.
    """
    order = shuffled("draw", seed, len(labels))
    selecting = pick(order, labels, validation)
    training = pick(order[~np.isin(order, selecting)], labels, train)
    return np.sort(training), np.sort(selecting)


def shuffled(purpose: str, seed: int, count: int) -> Rows:
    """The numbers below `count` at random, the same for equal arguments with any version of any library."""
    state = int.from_bytes(hashlib.sha256(f"{purpose}/{seed}".encode()).digest())
    # Raw bits, because only these stay the same when numpy changes its shuffling.
    return np.argsort(np.random.PCG64(state).random_raw(count), kind="stable")


def pick(order: Rows, labels: Rows, total: int) -> Rows:
    """The first rows of each class in an order, `total` in all, in proportion to the classes."""
    counts = np.bincount(labels[order])
    by_class = order[np.argsort(labels[order], kind="stable")]
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return by_class[rank < np.repeat(quotas(counts, total), counts)]


def quotas(counts: Rows, total: int) -> Rows:
    """How many of `total` images each class gives, in proportion to its count, by largest remainder; ties to the first.

    Args:
        counts: images of each class, at least `total` together.
        total: of the quotas.
    """
    whole, remainder = np.divmod(counts * total, max(1, counts.sum()))
    whole[np.argsort(-remainder, kind="stable")[: total - whole.sum()]] += 1
    return whole


def statistics(subset: Subset) -> tuple[Tensor, Tensor]:
    """Mean and population deviation per channel, on the scale 0..1, float32 C.

    Sums of whole numbers, hence exact whatever the order. A constant channel has deviation 1, so that dividing by it
    is safe.
    """
    counts = torch.zeros(subset.images.shape[1], 256, dtype=torch.int64)
    for some in subset.rows.split(4096):
        for channel, pixels in enumerate(subset.images[some].unbind(1)):
            counts[channel] += torch.bincount(pixels.flatten(), minlength=256)
    mean, std = [], []
    for channel in counts:
        number, total, squares = (int((channel * torch.arange(256) ** power).sum()) for power in (0, 1, 2))
        mean.append(total / number / 255)
        std.append(math.sqrt(number * squares - total**2) / number / 255 or 1.0)
    return torch.tensor(mean), torch.tensor(std)
