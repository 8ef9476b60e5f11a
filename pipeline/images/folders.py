"""Images in folders named after their classes, in a directory or an archive, as one tensor."""

import math
import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline import paths
from pipeline.errors import UserError
from pipeline.images.archives import entries
from pipeline.images.members import DEPTH, Entry, Parts, inside
from pipeline.images.pictures import Picture, Pixels, channels_first, decode, hushed
from pipeline.params.datasets import Folder, Torchvision
from pipeline.text import one_line, printable

Show = Callable[[float], None]
"""Is told the share that has been read, 0 to 1."""

LARGE = 2**15
"""Bytes of a file from which decoding it on another thread saves more time than handing it over costs."""

THREADS = min(os.cpu_count() or 1, 8)
"""That decode large files, each of which may need a picture's memory a few times."""

SPLITS = ("train", "test")
NEEDED = "train/<class>/<file> and test/<class>/<file>, or <class>/<file>, is needed, at most one folder above"


def read(
    name: str, path: Path, dataset: Folder | Torchvision, show: Show
) -> tuple[Tensor, Tensor, Tensor | None, list[str]]:
    """Images of a directory or archive, sorted by split, class and file name.

    Args:
        name: of the data set, for messages.
        path: where the images lie, `train/<class>/<file>` and `test/<class>/<file>`, or `<class>/<file>`, with at most
            one folder above.
        dataset: with the size to which they are brought, antialiased, and what they may come to.
        show: for progress.

    Returns:
        Images, uint8 N×C×H×W with C=1 where all are grey; labels, int64 N, indices into the classes;
        which are test images, bool N, or None where the layout does not tell; the sorted classes.

    Raises:
        UserError: names the file at fault.
    """
    where = f"datasets.{name}.path: {printable(paths.shown(path))}"
    with hushed():
        pictures, folders = _collect(entries(where, path), dataset, show, f"datasets.{name}")
    layout = _layout(where, pictures, folders)
    for parts in layout.files:
        if isinstance(problem := pictures[parts], str):
            raise UserError(f"{inside(where, '/'.join(parts))}: {one_line(problem)}")
    index = {label: number for number, label in enumerate(layout.classes)}
    labels = torch.tensor([index[parts[-2]] for parts in layout.files])
    test = torch.tensor([parts[-3] == "test" for parts in layout.files]) if layout.split else None
    return _stack(pictures, layout.files), labels, test, layout.classes


def _collect(
    found: Iterable[Entry], dataset: Folder | Torchvision, show: Show, key: str
) -> tuple[dict[Parts, Picture], set[Parts]]:
    """Decodes every file, since only the last one completes the layout that tells which of them count.

    Returns:
        The pictures by path; all folders.
    """
    pictures: dict[Parts, Picture] = {}
    folders: set[Parts] = set()
    # By depth, because all files that count lie equally deep, and files beside the class folders less deep.
    first: dict[int, tuple[Parts, Pixels]] = {}
    held, channels = 0, 1
    for parts, picture in _decoded(found, dataset, show):
        folders.update(parts[:length] for length in range(1, min(len(parts), DEPTH + 1)))
        if picture is None:
            folders.add(parts)
            continue
        pictures[parts] = "is there twice" if parts in pictures else picture
        if not isinstance(picture, str):
            other, pixels = first.setdefault(len(parts), (parts, picture))
            if pixels.shape[:2] != picture.shape[:2]:
                # In place of its pixels, so that large photographs of all sizes do not fill the memory.
                differs = f"{_extent(picture)}, but {'/'.join(other)} has {_extent(pixels)}"
                pictures[parts] = f"{differs}; {key}.size makes all one size"
                continue
            held, channels = held + math.prod(picture.shape[:2]), max(channels, 3 if picture.ndim == 3 else 1)
            if held * channels > dataset.max_gib * 2**30:
                many = f"the pixels of {len(pictures):,} pictures and more come to over {dataset.max_gib:g} GiB"
                raise UserError(f"{key}.max_gib: {many}; {key}.size makes them smaller")
    return pictures, folders


def _extent(picture: Pixels) -> str:
    return f"{picture.shape[1]}×{picture.shape[0]} pixels"


def _decoded(
    found: Iterable[Entry], dataset: Folder | Torchvision, show: Show
) -> Iterator[tuple[Parts, Picture | None]]:
    """Each path with its picture, None for a folder. Small files are decoded at once and large ones on threads."""
    extent = (dataset.size, dataset.size) if dataset.size else None
    waiting: deque[tuple[Parts, Future[Picture]]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for parts, data, done in found:
            show(done)
            if data is None:
                yield parts, None
            elif len(data) < LARGE:
                yield parts, decode(data, extent, most=dataset.max_pixels)
            else:
                waiting.append((parts, pool.submit(decode, data, extent, most=dataset.max_pixels)))
                if len(waiting) > 2 * THREADS:
                    large, future = waiting.popleft()
                    yield large, future.result()
        for large, future in waiting:
            yield large, future.result()


class _Layout(NamedTuple):
    """What the folders mean."""

    classes: list[str]
    files: list[Parts]  #: those in class folders, sorted by split, class and file name
    split: bool  #: whether there are train/ and test/


def _layout(where: str, files: Collection[Parts], folders: set[Parts]) -> _Layout:
    below: dict[Parts, list[str]] = {folder: [] for folder in ((), *folders)}
    for folder in sorted(folders):
        below[folder[:-1]].append(folder[-1])
    roots, split = _roots(where, below)
    classes = sorted({name for root in roots for name in below[root]})
    expected = [(*root, name) for root in roots for name in classes]
    _check_classes(where, expected, below, {file[:-1] for file in files})
    if len(classes) < 2:
        found = f"one class, {one_line(classes[0])}" if classes else "no class folders"
        raise UserError(f"{where}: {found}; {NEEDED}, of two classes or more")
    rank: dict[Parts, int] = {folder: number for number, folder in enumerate(expected)}
    counted = sorted((file for file in files if file[:-1] in rank), key=lambda file: (rank[file[:-1]], file[-1]))
    return _Layout(classes, counted, split)


def _roots(where: str, below: dict[Parts, list[str]]) -> tuple[list[Parts], bool]:
    """The folders that hold class folders, and whether they are train/ and test/."""
    top = below[()]
    base: Parts = (top[0],) if len(top) == 1 and top[0] not in SPLITS and below[(top[0],)] else ()
    # A class may be called train, so folders of that name are splits only where they hold folders.
    splits = [name for name in SPLITS if below.get((*base, name))]
    if not splits:
        return [base], False
    missing = [name for name in SPLITS if name not in splits]
    if missing:
        raise UserError(f"{where}: class folders in {splits[0]}/, but none in {missing[0]}/; {NEEDED}")
    others = [name for name in below[base] if name not in SPLITS]
    if others:
        raise UserError(f"{inside(where, '/'.join((*base, others[0])))}: a folder beside train/ and test/; {NEEDED}")
    return [(*base, name) for name in splits], True


def _check_classes(where: str, expected: Iterable[Parts], below: dict[Parts, list[str]], filled: set[Parts]) -> None:
    """Every class must have a folder in every split, with files and no folders in it."""
    for folder in expected:
        named = inside(where, "/".join(folder))
        if folder not in below:
            raise UserError(f"{named}: no such folder; a class must be in train/ and in test/")
        if below[folder]:
            raise UserError(f"{named}/{below[folder][0]}: a folder too deep; {NEEDED}")
        if folder not in filled:
            raise UserError(f"{named}: a class without images")


def _stack(pictures: dict[Parts, Picture], files: list[Parts]) -> Tensor:
    """Files of one size as N×C×H×W. Takes each out of `pictures`, so that few are in memory twice."""
    height, width = np.shape(pictures[files[0]])[:2]
    channels = 3 if any(np.ndim(pictures[file]) == 3 for file in files) else 1
    images = np.empty((len(files), channels, height, width), np.uint8)
    for image, file in zip(images, files, strict=True):
        image[:] = channels_first(np.asarray(pictures.pop(file)))
    return torch.from_numpy(images)
