"""The prepared files of a data set: what `prepare` writes and all later stages read.

    <name>/fit.safetensors    images  uint8 n×C×H×W, labels  int64 n: training images, then validation images
                              mean    float32 C,     std     float32 C: of the training images
    <name>/test.safetensors   images, labels: test images

Test images have a file of their own, so that tuning, which is given the other alone, cannot reach them.
Files are mapped into memory: all processes of a machine share one copy.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from pipeline.errors import UserError
from pipeline.paths import shown
from pipeline.text import one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

TRAIN, VALIDATION, TEST = 0, 1, 2
SPLITS = ("train", "validation", "test")
"""Names of the splits, in the order of their numbers."""

FIT_FILE, TEST_FILE = "fit.safetensors", "test.safetensors"


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

    Args:
        path: a folder that `prepare` wrote.

    Raises:
        UserError: absent or damaged.
    """
    with _opened(path / FIT_FILE) as (file, about):
        shape = tuple(file.get_slice("images").get_shape()[1:])
        counts = {name: about["counts"][name] for name in SPLITS}
        return Info(about["classes"], about["source"], file.get_tensor("mean"), file.get_tensor("std"), shape, counts)


def read(path: Path, split: int) -> "tuple[Tensor, Tensor]":
    """The images, uint8 n×C×H×W, and labels, int64 n, of one split, as views into the mapped file.

    Args:
        path: a folder that `prepare` wrote.
        split: TRAIN, VALIDATION or TEST.

    Raises:
        UserError: absent or damaged.
    """
    return _read(path, split, "pt")


def read_arrays(path: Path, split: int) -> "tuple[NDArray[np.uint8], NDArray[np.int64]]":
    """The same as NumPy arrays, for stages that need no torch and do not wait for its import."""
    return _read(path, split, "numpy")


def _read(path: Path, split: int, framework: str) -> Any:
    with _opened(path / (TEST_FILE if split == TEST else FIT_FILE), framework) as (file, about):
        train = about["counts"]["train"]
        rows = {TRAIN: slice(0, train), VALIDATION: slice(train, None), TEST: slice(None)}[split]
        return file.get_tensor("images")[rows], file.get_tensor("labels")[rows]


def write(path: Path, images: "Tensor", labels: "Tensor", about: dict[str, Any], **statistics: "Tensor") -> None:
    """Writes a data set, all or nothing.

    Args:
        path: the folder to write; what was there is replaced.
        images, labels: sorted by split.
        about: `classes`, `source`, and `counts` of images by split.
        statistics: `mean` and `std` of the training images.

    Raises:
        UserError: the disk is full or not writable.
    """
    from safetensors.torch import save_file

    draft = path.with_name(f".{path.name}.draft")
    # One key only: safetensors writes several in random order.
    metadata = {"dataset": json.dumps(about, sort_keys=True)}
    fit = about["counts"]["train"] + about["counts"]["validation"]
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        save_file({"images": images[:fit], "labels": labels[:fit]} | statistics, draft / FIT_FILE, metadata)
        save_file({"images": images[fit:], "labels": labels[fit:]}, draft / TEST_FILE, metadata)
        for file in draft.iterdir():
            file.chmod(0o644)  # safetensors lets nobody but the owner read it
        shutil.rmtree(path, ignore_errors=True)
        draft.replace(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{shown(path)}: cannot be written ({one_line(error)})") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _opened(path: Path, framework: str = "pt") -> Iterator[tuple[Any, dict[str, Any]]]:
    """A file and its description; whatever is wrong with either becomes one line."""
    stage = f"prepare@{path.parent.name}"
    try:
        with safe_open(path, framework=framework) as file:
            about = json.loads(file.metadata()["dataset"])
            counts = [about["counts"][name] for name in SPLITS]
            if file.get_slice("images").get_shape()[0] != (
                counts[TEST] if path.name == TEST_FILE else counts[TRAIN] + counts[VALIDATION]
            ):
                raise ValueError("the counts do not add up")
            yield file, about
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{shown(path)}: not there; run 'dvc repro {stage}'") from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{shown(path)}: damaged ({one_line(error)}); run 'dvc repro -f {stage}'") from None
