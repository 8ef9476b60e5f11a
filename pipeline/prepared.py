"""The prepared file of a data set: what `prepare` writes and all later stages read.

    images  uint8 N×C×H×W    labels  int64 N    split  uint8 N
    mean    float32 C        std     float32 C

Rows are sorted by split, so a split is one slice of the file, which is mapped into memory: who reads
the training images touches no byte of the test images.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from pipeline.complaints import one_line
from pipeline.errors import UserError
from pipeline.paths import shown

if TYPE_CHECKING:
    from torch import Tensor

TRAIN, VALIDATION, TEST = 0, 1, 2
SPLITS = ("train", "validation", "test")
"""Names of the splits, in the order of their numbers."""


@dataclass(frozen=True)
class Info:
    """What there is to know of a data set without its images."""

    classes: list[str]
    source: str  #: where the images come from, in words
    mean: "Tensor"  #: float32, C: of the training pixels on the scale 0..1
    std: "Tensor"  #: float32, C: their deviation; 1 for a channel that is constant
    shape: tuple[int, int, int]  #: C, H, W
    counts: dict[str, int]  #: images of each split


def info(path: Path) -> Info:
    """All but images and labels.

    Raises:
        UserError: absent or damaged.
    """
    with _opened(path) as (file, about):
        shape = tuple(file.get_slice("images").get_shape()[1:])
        counts = {name: about["counts"][name] for name in SPLITS}
        return Info(about["classes"], about["source"], file.get_tensor("mean"), file.get_tensor("std"), shape, counts)


def read(path: Path, split: int) -> "tuple[Tensor, Tensor]":
    """The images, uint8 n×C×H×W, and labels, int64 n, of one split, as views into the mapped file.

    Args:
        path: a file that `prepare` wrote.
        split: TRAIN, VALIDATION or TEST.

    Raises:
        UserError: absent or damaged.
    """
    with _opened(path) as (file, about):
        counts = [about["counts"][name] for name in SPLITS]
        rows = slice(sum(counts[:split]), sum(counts[: split + 1]))
        if not (file.get_slice("split")[rows] == split).all():
            raise ValueError("the splits are not where they should be")
        return file.get_slice("images")[rows], file.get_slice("labels")[rows]


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The file and its description; whatever is wrong with either becomes one line."""
    stage = f"prepare@{path.stem}"
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["dataset"])
            if sum(about["counts"].values()) != file.get_slice("images").get_shape()[0]:
                raise ValueError("the counts do not add up")
            yield file, about
    except FileNotFoundError:
        raise UserError(f"{shown(path)}: not there; run 'dvc repro {stage}'") from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{shown(path)}: damaged ({one_line(error)}); run 'dvc repro -f {stage}'") from None
