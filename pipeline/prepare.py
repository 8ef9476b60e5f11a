"""Stage `prepare`: one data set as one file of uint8 images, labels and splits, the same bytes on every machine."""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from pipeline import paths
from pipeline.complaints import one_line
from pipeline.config import Digits, Folder, Torchvision
from pipeline.errors import UserError, command
from pipeline.plan import read_dataset
from pipeline.prepared import SPLITS, TEST, TRAIN, VALIDATION
from pipeline.sources import Images, describe, load

Rows = NDArray[np.int64]


def prepare(name: str, dataset: Digits | Torchvision | Folder, target: Path) -> str:
    """Loads and splits a data set and writes it; on any error nothing is written.

    Args:
        name: of the data set, for messages.
        dataset: as planned.
        target: the file to write.

    Returns:
        One line that says what was written.

    Raises:
        UserError: the source, or what is asked of it, is at fault.
    """
    images = load(name, dataset)
    tensors = split(images, dataset, name)
    counts = dict(zip(SPLITS, torch.bincount(tensors["split"], minlength=len(SPLITS)).tolist(), strict=True))
    about = {"classes": images.classes, "source": describe(dataset), "counts": counts}
    # One key only: safetensors writes several in random order.
    _write(target, tensors, {"dataset": json.dumps(about, sort_keys=True)})
    extent = "×".join(map(str, tensors["images"].shape[1:]))
    numbers = ", ".join(f"{count:,} {part}" for part, count in counts.items())
    return f"{name}: {numbers} images of {extent} in {len(images.classes)} classes"


def split(images: Images, dataset: Digits | Torchvision | Folder, name: str) -> dict[str, Tensor]:
    """Splits images by class, at random but the same for the same `split_seed`, with any version of any library.

    Args:
        images: of a source.
        dataset: with the shares of test and validation, the number of training images, and the seed.
        name: of the data set, for messages.

    Returns:
        `images`, `labels` and `split` as `prepared` describes them, in the order of the splits and within a split
        in that of the source; `mean` and `std` of the training images.

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
    rows = torch.from_numpy(np.concatenate([np.sort(part) for part in (train, validation, test)]))
    numbers = torch.tensor([TRAIN, VALIDATION, TEST], dtype=torch.uint8)
    parts = numbers.repeat_interleave(torch.tensor([len(train), len(validation), len(test)]))
    chosen = images.images[rows]
    mean, std = statistics(chosen[: len(train)])
    return {"images": chosen, "labels": images.labels[rows], "split": parts, "mean": mean, "std": std}


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


def _write(target: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.draft")
    try:
        save_file(tensors, draft, metadata)
        draft.chmod(0o644)  # safetensors lets nobody but the owner read it
        draft.replace(target)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{paths.shown(target)}: cannot be written ({one_line(error)})") from None
    finally:
        draft.unlink(missing_ok=True)


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.prepare", description=__doc__)
    parser.add_argument("name", help="a key of datasets")
    name = parser.parse_args().name
    print(prepare(name, read_dataset(name), paths.prepared(name)))


if __name__ == "__main__":
    main()
