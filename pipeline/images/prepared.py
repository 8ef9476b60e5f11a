"""The prepared files of a data set: what `prepare` writes and all later stages read.

    <name>/fit.safetensors    images  uint8 n×C×H×W, labels  int64 n: the pool from which each seed draws its training
                              and validation images, see draws.py
    <name>/test.safetensors   images, labels: test images

Test images have a file of their own, so that tuning, which is given the other alone, cannot reach them.
Files are mapped into memory: all processes of a machine share one copy.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
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

COUNTS = ("pool", "train", "validation", "test")
"""What is counted of a data set: images in the pool, those of it that a seed trains on and selects by, test images."""

FIT_FILE, TEST_FILE = "fit.safetensors", "test.safetensors"


@dataclass(frozen=True)
class Info:
    """What there is to know of a data set without its images."""

    classes: list[str]
    shape: tuple[int, int, int]  #: C, H, W
    counts: dict[str, int]  #: images by COUNTS


def info(path: Path) -> Info:
    """All but images and labels.

    Args:
        path: a folder that `prepare` wrote.

    Raises:
        UserError: absent or damaged.
    """
    with _opened(path / FIT_FILE) as (file, about):
        return Info(about["classes"], tuple(file.get_slice("images").get_shape()[1:]), about["counts"])


def pool(path: Path) -> "tuple[Tensor, Tensor]":
    """The images that train and select, uint8 n×C×H×W, and their labels, int64 n, as views into the mapped file.

    Args:
        path: a folder that `prepare` wrote.

    Raises:
        UserError: absent or damaged.
    """
    return _read(path / FIT_FILE, "pt")


def test(path: Path) -> "tuple[Tensor, Tensor]":
    """The same of the test images."""
    return _read(path / TEST_FILE, "pt")


def test_arrays(path: Path) -> "tuple[NDArray[np.uint8], NDArray[np.int64]]":
    """The test images as NumPy arrays, for stages that need no torch and do not wait for its import."""
    return _read(path / TEST_FILE, "numpy")


def _read(path: Path, framework: str) -> Any:
    with _opened(path, framework) as (file, _):
        return file.get_tensor("images"), file.get_tensor("labels")


def digest(path: Path, files: Iterable[str] = (FIT_FILE, TEST_FILE)) -> str:
    """MD5 of all that can change a number: images, labels, classes and counts, wherever the images come from.

    Args:
        path: a folder that `prepare` wrote.
        files: those of its files that count.

    Raises:
        UserError: absent or damaged.
    """
    whole = hashlib.md5()
    for name in files:
        with _opened(path / name, "numpy") as (file, about):
            tensors = {key: file.get_tensor(key) for key in ("images", "labels")}
            shapes = {key: [str(tensor.dtype), *tensor.shape] for key, tensor in tensors.items()}
            whole.update(json.dumps([about, shapes], sort_keys=True).encode())
            for tensor in tensors.values():
                whole.update(tensor)
    return whole.hexdigest()


def write(
    path: Path, fit: "tuple[Tensor, Tensor]", test: "tuple[Tensor, Tensor]", classes: list[str], train: int, select: int
) -> None:
    """Writes a data set, all or nothing.

    Args:
        path: the folder to write; what was there is replaced.
        fit: images and labels of the pool.
        test: images and labels that test.
        classes: names.
        train, select: how many images of the pool a seed trains on, and how many it selects by.

    Raises:
        UserError: the disk is full or not writable.
    """
    from safetensors.torch import save_file

    draft = path.with_name(f".{path.name}.draft")
    counts = dict(zip(COUNTS, (len(fit[1]), train, select, len(test[1])), strict=True))
    # One key only: safetensors writes several in random order.
    metadata = {"dataset": json.dumps({"classes": classes, "counts": counts}, sort_keys=True)}
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for name, (images, labels) in ((FIT_FILE, fit), (TEST_FILE, test)):
            save_file({"images": images, "labels": labels}, draft / name, metadata)
            (draft / name).chmod(0o644)  # safetensors lets nobody but the owner read it
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
            pool, train, validation, test = (about["counts"][name] for name in COUNTS)
            found = file.get_slice("images").get_shape()[0]
            if found != (test if path.name == TEST_FILE else pool) or train + validation > pool:
                raise ValueError("the counts do not add up")
            yield file, about
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{shown(path)}: not there; run '.venv/bin/dvc repro {stage}'") from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{shown(path)}: damaged ({one_line(error)}); run '.venv/bin/dvc repro -f {stage}'") from None
