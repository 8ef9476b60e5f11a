"""Where images come from: scikit-learn's digits, torchvision's data sets, a directory or archive of images."""

import contextlib
import io
import math
import socket
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pipeline import paths
from pipeline.errors import UserError
from pipeline.images import archives, folders
from pipeline.params.datasets import Digits, Folder, Torchvision
from pipeline.progress import bar
from pipeline.text import one_line, printable

STALLED = 60.0
"""Seconds without a byte after which a download is given up."""


@dataclass(frozen=True)
class Images:
    """All images of a source."""

    images: Tensor  #: uint8, N×C×H×W
    labels: Tensor  #: int64, N: indices into the classes
    test: Tensor | None  #: bool, N: the source's own test images; None where it has none
    classes: list[str]


def load(name: str, dataset: Digits | Torchvision | Folder) -> Images:
    """Reads or downloads all images of a data set.

    Args:
        name: of the data set, for messages.
        dataset: what to read, and the size to which images are brought.

    Raises:
        UserError: the images cannot be had, or are not what a data set needs.
    """
    if isinstance(dataset, Digits):
        images = _digits()
    elif files := _from_files(name, dataset):
        return files
    elif isinstance(dataset, Torchvision):
        images = _torchvision(name, dataset)
    else:
        sought = f"neither in {paths.shown(paths.IMAGES)} nor in the project"
        raise UserError(f"datasets.{name}.path: {printable(dataset.path)}: no such file or directory, {sought}")
    if dataset.size is None:
        return images
    total = math.prod(images.images.shape[:2]) * dataset.size**2 / 2**30
    if total > dataset.max_gib:
        most = f"{total:,.1f} GiB of pixels, and max_gib is {dataset.max_gib:g}"
        raise UserError(f"datasets.{name}.size: {dataset.size}, which makes {most}")
    return replace(images, images=_resize(images.images, dataset.size))


def _from_files(name: str, dataset: Torchvision | Folder) -> Images | None:
    """The images of a directory or archive; None where it is not there."""
    where = f"datasets.{name}.path: {printable(dataset.path)}"
    path = archives.find(where, dataset.path) if dataset.path else None
    if path is None:
        return None
    with bar(f"{name}: reading", 1.0) as show:
        images = Images(*folders.read(name, path, dataset, show))
    if isinstance(dataset, Torchvision) and images.test is None:
        raise UserError(f"{where}: no train/ and test/, which {dataset.name} has")
    return images


def _digits() -> Images:
    from sklearn.datasets import load_digits

    pixels, labels = map(np.asarray, load_digits(return_X_y=True))
    # A pixel of these counts the dark ones of 4×4 in the scan: 0 to 16.
    images = torch.from_numpy(np.rint(pixels * 255 / 16).astype(np.uint8)).view(-1, 1, 8, 8)
    return Images(images, torch.from_numpy(labels).long(), None, [str(digit) for digit in range(10)])


def _torchvision(name: str, dataset: Torchvision) -> Images:
    from torchvision import datasets

    kind = getattr(datasets, dataset.name)
    try:
        with bar(f"{name}: downloading {dataset.name}", None), _quiet():
            halves = [kind(paths.DOWNLOADS, train=train, download=True) for train in (True, False)]
    except Exception as error:  # of network, disk, archive formats and torchvision's own checks
        reason = textwrap.shorten(one_line(error) or type(error).__name__, 200, placeholder=" …")
        raise UserError(
            f"datasets.{name}: {dataset.name} could not be downloaded or read ({reason}); put torchvision's files"
            f" under {paths.DOWNLOADS}, or use {{source: folder, path: …}} or {{source: digits}}"
        ) from None
    pixels = np.concatenate([np.asarray(half.data) for half in halves])
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    labels = torch.cat([torch.as_tensor(half.targets) for half in halves])
    test = torch.arange(len(labels)) >= len(halves[0].targets)
    # As folders of these images would be called: MNIST's "0 - zero" is 0, and no name holds a slash.
    classes = [name.partition(" - ")[0].replace("/", "-") for name in halves[0].classes]
    return Images(torch.from_numpy(np.ascontiguousarray(pixels)), labels.long(), test, classes)


def _resize(images: Tensor, size: int) -> Tensor:
    """N×C×H×W images at size × size pixels, antialiased as those of folders are."""
    resized = torch.empty(*images.shape[:2], size, size, dtype=torch.uint8)
    for image, target in zip(images.flatten(0, 1), resized.flatten(0, 1), strict=True):
        channel = Image.fromarray(image.numpy()).resize((size, size), Image.Resampling.BILINEAR)
        target.copy_(torch.from_numpy(np.array(channel)))
    return resized


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """torchvision's bars, remarks and warnings are not shown, and a dead connection ends."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALLED)
    try:
        nowhere = io.StringIO()
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        socket.setdefaulttimeout(timeout)
