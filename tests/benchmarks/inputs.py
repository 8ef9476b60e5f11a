"""What benchmarks train: rows of params.yaml, on random images, which take as long as any others."""

from pathlib import Path

import torch

from pipeline.images import prepared
from pipeline.params.reading import read_params
from pipeline.params.rows import Row

ROWS = {"bn": "vgg2-bn-sgd", "dropout": "vgg2-dropout-sgd", "both": "vgg2-both-sgd"}
"""The networks that are timed, by the rows whose layers and optimizer they have."""


def row(name: str, batch: int, **trainer: object) -> Row:
    """A row of ROWS with another batch and other settings of its trainer."""
    found = read_params().rows[ROWS[name]]
    return Row.model_validate(found.model_dump() | {"batch": batch, "trainer": {"accelerator": "cpu"} | trainer})


def random_images(folder: Path, train: int, validation: int = 10, test: int = 10) -> Path:
    """Prepares random images of CIFAR-10's shape; the folder of the data set."""
    draws = torch.Generator().manual_seed(0)
    pool, total = train + validation, train + validation + test
    images = torch.randint(0, 256, (total, 3, 32, 32), generator=draws, dtype=torch.uint8)
    labels = torch.arange(total) % 10
    fit, rest = (images[:pool], labels[:pool]), (images[pool:], labels[pool:])
    prepared.write(folder / "random", fit, rest, [str(name) for name in range(10)], train, validation)
    return folder / "random"
