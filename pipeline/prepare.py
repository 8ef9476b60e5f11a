"""Stage `prepare`: one data set as files of uint8 images and labels by split, the same bytes on every machine."""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import paths
from pipeline.errors import UserError, command
from pipeline.images import prepared
from pipeline.images.prepared import SPLITS
from pipeline.images.sources import Images, describe, load
from pipeline.params.config import Digits, Folder, Torchvision
from pipeline.params.planned import read_dataset
from pipeline.text import one_line

Rows = NDArray[np.int64]


def prepare(name: str, dataset: Digits | Torchvision | Folder, target: Path) -> str:
    """Loads and splits a data set and writes it; on any error nothing is written.

    Args:
        name: of the data set, for messages.
        dataset: as planned.
        target: the folder to write.

    Returns:
        One line that says what was written.

    Raises:
        UserError: the source, or what is asked of it, is at fault.
    """
    found = load(name, dataset)
    parts = split(found, dataset, name)
    counts = {part: len(rows) for part, rows in zip(SPLITS, parts, strict=True)}
    chosen = torch.from_numpy(np.concatenate(parts))
    images, labels = found.images[chosen], found.labels[chosen]
    mean, std = statistics(images[: counts["train"]])
    about = {"classes": found.classes, "source": describe(dataset), "counts": counts}
    prepared.write(target, images, labels, about, mean=mean, std=std)
    extent = "×".join(map(str, images.shape[1:]))
    numbers = ", ".join(f"{count:,} {part}" for part, count in counts.items())
    return f"{name}: {numbers} images of {extent} in {len(found.classes)} classes"


def split(images: Images, dataset: Digits | Torchvision | Folder, name: str) -> list[Rows]:
    """Splits images by class, at random but the same for the same `split_seed`, with any version of any library.

    Args:
        images: of a source.
        dataset: with the shares of test and validation, the number of training images, and the seed.
        name: of the data set, for messages.

    Returns:
        The rows of the training, validation and test images, each in the order of the source.

    Raises:
        UserError: a share of no image, more images than there are, a class with no image to train on.
    """
    labels = images.labels.numpy()
    # Raw bits, because only these stay the same when numpy changes its shuffling.
    order = np.argsort(np.random.PCG64(dataset.split_seed).random_raw(len(labels)), kind="stable")
    if images.test is not None:
        test = np.flatnonzero(images.test.numpy())
    else:
        assert not isinstance(dataset, Torchvision)  # all of torchvision's have test images
        test = _share(order, labels, dataset.test, f"datasets.{name}.test")
    order = _without(order, test)
    validation = _share(order, labels, dataset.validation, f"datasets.{name}.validation")
    train = order = _without(order, validation)
    _check_classes(train, images, f"datasets.{name}", "all went to test and validation; it needs more images")
    if dataset.train_size is not None:
        train = _subset(order, images, dataset.train_size, f"datasets.{name}.train_size")
    return [np.sort(part) for part in (train, validation, test)]


def quotas(counts: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """How many of `total` images each class gives, in proportion to its count, by largest remainder; ties to the first.

    Args:
        counts: images of each class, at least `total` together.
        total: of the quotas.
    """
    whole, remainder = np.divmod(counts * total, max(1, counts.sum()))
    whole[np.argsort(-remainder, kind="stable")[: total - whole.sum()]] += 1
    return whole


def statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and population deviation per channel of uint8 N×C×H×W images, on the scale 0..1, float32 C.

    Sums of whole numbers, hence exact whatever the order. A constant channel has deviation 1, so that dividing by it
    is safe.
    """
    values = torch.arange(256)
    mean, std = [], []
    for channel in range(images.shape[1]):
        counts = torch.zeros(256, dtype=torch.int64)
        for some in images[:, channel].split(4096):
            counts += torch.bincount(some.flatten(), minlength=256)
        number, total, squares = (int((counts * values**power).sum()) for power in (0, 1, 2))
        mean.append(total / number / 255)
        std.append(math.sqrt(number * squares - total**2) / number / 255 or 1.0)
    return torch.tensor(mean), torch.tensor(std)


def _pick(order: Rows, labels: Rows, total: int) -> Rows:
    """The first rows of each class in an order, `total` in all, in proportion to the classes."""
    counts = np.bincount(labels[order])
    by_class = order[np.argsort(labels[order], kind="stable")]
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return by_class[rank < np.repeat(quotas(counts, total), counts)]


def _share(order: Rows, labels: Rows, fraction: float, key: str) -> Rows:
    total = round(fraction * len(order))
    if fraction and not total:
        raise UserError(f"{key}: {fraction} of {len(order)} images is no image; a larger share is needed")
    return _pick(order, labels, total)


def _subset(order: Rows, images: Images, size: int, key: str) -> Rows:
    classes = len(images.classes)
    if not classes <= size <= len(order):
        found = f"{len(order)} training images in {classes} classes"
        raise UserError(f"{key}: {size}, but there are {found}; {classes} to {len(order)} is possible")
    train = _pick(order, images.labels.numpy(), size)
    _check_classes(train, images, key, f"{size} is too few for classes of such unequal size")
    return train


def _without(order: Rows, gone: Rows) -> Rows:
    return order[~np.isin(order, gone)]


def _check_classes(train: Rows, images: Images, key: str, why: str) -> None:
    counts = np.bincount(images.labels.numpy()[train], minlength=len(images.classes))
    if not counts.all():
        raise UserError(f"{key}: class {one_line(images.classes[counts.argmin()])} has no training image; {why}")


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.prepare", description=__doc__)
    parser.add_argument("name", help="a key of datasets")
    name = parser.parse_args().name
    print(prepare(name, read_dataset(name), paths.prepared(name)))


if __name__ == "__main__":
    main()
