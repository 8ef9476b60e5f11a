"""Stage `prepare`: one data set as files of uint8 images and labels, the same bytes on every machine.

Images lie in an order that follows from themselves alone: by a digest of their pixels, then by class. So the same
images give the same files wherever they come from, and no batch of an evaluation holds a single class.
"""

import argparse
import hashlib
import itertools
from pathlib import Path

import numpy as np
import torch

from pipeline import paths
from pipeline.errors import UserError, command
from pipeline.images import draws, prepared
from pipeline.images.draws import Rows
from pipeline.images.sources import Images, load
from pipeline.params.datasets import Digits, Folder, Torchvision
from pipeline.params.planned import read_dataset
from pipeline.text import one_line


def prepare(name: str, dataset: Digits | Torchvision | Folder, target: Path) -> str:
    """Loads a data set, parts its test images from the others and writes it; on any error nothing is written.

    Args:
        name: of the data set, for messages.
        dataset: as planned.
        target: the folder to write.

    Returns:
        One line that says what was written.

    Raises:
        UserError: the source, or what is asked of it, is at fault.
    """
    found = canonical(load(name, dataset))
    parts = split(found, dataset, name)
    train, validation = drawn(found, parts[0], dataset, name)
    pool, test = ((found.images[rows], found.labels[rows]) for rows in map(torch.from_numpy, parts))
    prepared.write(target, pool, test, found.classes, train, validation)
    extent = "×".join(map(str, found.images.shape[1:]))
    numbers = f"{train:,} train, {validation:,} validation, {len(test[1]):,} test images"
    told = f"{name}: {numbers} of {extent} in {len(found.classes)} classes"
    twice = seen_before(found, *parts)
    return f"{told}; {twice:,} test images are also among the others, pixel by pixel" if twice else told


def seen_before(images: Images, pool: Rows, test: Rows) -> int:
    """How many test images are equal to one of the pool.

    Args:
        images: in canonical order, in which equal ones are neighbours.
        pool, test: their rows.
    """
    other = [not torch.equal(*pair) for pair in itertools.pairwise(images.images)]
    kinds = np.cumsum([0, *other])
    return int(np.isin(kinds[test], kinds[pool]).sum())


def canonical(images: Images) -> Images:
    """The same images in an order that is theirs, whatever that of their source: classes by name, then images by a
    digest of their pixels, by class and by whether they test. What is equal in all of these is exchangeable."""
    names = sorted(images.classes)
    labels = torch.tensor([names.index(name) for name in images.classes])[images.labels]
    digests = [hashlib.sha256(image).digest() for image in images.images.numpy()]
    order = torch.tensor(sorted(range(len(labels)), key=lambda row: (digests[row], int(labels[row]))))
    test = None if images.test is None else images.test[order]
    return Images(images.images[order], labels[order], test, names)


def split(images: Images, dataset: Digits | Torchvision | Folder, name: str) -> tuple[Rows, Rows]:
    """Parts the test images from the pool of all others: as published, or by class and at random by `split_seed`.

    Args:
        images: of a source.
        dataset: with the share of test images and the seed.
        name: of the data set, for messages.

    Returns:
        The rows of the pool and of the test images, in rising order.

    Raises:
        UserError: a share of no image.
    """
    labels = images.labels.numpy()
    if images.test is not None:
        test = np.flatnonzero(images.test.numpy())
    else:
        assert not isinstance(dataset, Torchvision)  # all of torchvision's have test images
        count = _share(dataset.test, len(labels), f"datasets.{name}.test")
        test = np.sort(draws.pick(draws.shuffled("test", dataset.split_seed, len(labels)), labels, count))
    return np.setdiff1d(np.arange(len(labels)), test), test


def drawn(images: Images, pool: Rows, dataset: Digits | Torchvision | Folder, name: str) -> tuple[int, int]:
    """How many images of the pool every seed trains on, and how many it selects by.

    Raises:
        UserError: a share of no image, more images than there are, a class with no image to train on.
    """
    key, classes = f"datasets.{name}", len(images.classes)
    validation = _share(dataset.validation, len(pool), f"{key}.validation")
    train, why = len(pool) - validation, "all went to test and validation; it needs more images"
    if dataset.train_size is not None:
        key, most, train = f"{key}.train_size", train, dataset.train_size
        why = f"{train} is too few for classes of such unequal size"
        if not classes <= train <= most:
            found = f"{most} training images in {classes} classes"
            raise UserError(f"{key}: {train}, but there are {found}; {classes} to {most} is possible")
    labels = images.labels.numpy()[pool]
    training, _ = draws.rows(labels, train, validation, seed=0)  # all seeds draw as many of each class
    counts = np.bincount(labels[training], minlength=classes)
    if not counts.all():
        raise UserError(f"{key}: class {one_line(images.classes[counts.argmin()])} has no training image; {why}")
    return train, validation


def _share(fraction: float, images: int, key: str) -> int:
    total = round(fraction * images)
    if fraction and not total:
        raise UserError(f"{key}: {fraction} of {images} images is no image; a larger share is needed")
    return total


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.prepare", description=__doc__)
    parser.add_argument("name", help="a key of datasets")
    name = parser.parse_args().name
    print(prepare(name, read_dataset(name), paths.prepared(name)))


if __name__ == "__main__":
    main()
