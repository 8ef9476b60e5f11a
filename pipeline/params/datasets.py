"""Where images come from: the block `datasets:` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.params.schema import Fraction, Model, Positive

Location = Annotated[str, Field(min_length=1, max_length=4096)]
"""Of files; no system has longer ones."""

MOST_PIXELS = 2**26
"""Of a picture, unless a data set says otherwise: 8192 × 8192."""


class _Dataset(Model):
    validation: Fraction = Field(
        0.1, description="fraction of all but the test images that selects and does not train; each seed draws its own"
    )
    train_size: Positive | None = Field(
        None, description="number of training images, of which each seed draws its own; null for all that are left"
    )
    size: Positive | None = Field(
        None, le=4096, description="images are resized to size × size pixels; null keeps them"
    )
    max_gib: float = Field(
        2.0, gt=0, description="GiB that all pixels come to at most, a byte each; all are in memory, for a while twice"
    )

    def shape(self) -> tuple[int, int, int]:
        """Images, channels and pixels of a side; 0 where the files alone can say it."""
        images, channels, side = self._native()
        return images, channels, self.size or side

    def _native(self) -> tuple[int, int, int]:
        return 0, 3, 0


class _Split(_Dataset):
    split_seed: int = Field(0, ge=0, description="seed of the choice of test images, which is the same for all seeds")


class _Files(_Dataset):
    max_pixels: Positive = Field(
        MOST_PIXELS, description="pixels of a picture at most, as its file has them; a large one takes much memory"
    )


class Digits(_Split):
    """scikit-learn's handwritten digits: 1797 grey images of 8×8 pixels, part of the package."""

    source: Literal["digits"]
    test: Fraction = Field(0.5, gt=0, description="fraction of all images that becomes the test set, per class")

    def _native(self) -> tuple[int, int, int]:
        return 1797, 1, 8


class Torchvision(_Files):
    """A data set that torchvision downloads and checks."""

    source: Literal["torchvision"]
    name: Literal["CIFAR10", "CIFAR100", "MNIST", "FashionMNIST"] = Field(description="torchvision's class name")
    path: Location | None = Field(
        None, description="as of a folder, with train/ and test/: read instead, where it is there"
    )

    def _native(self) -> tuple[int, int, int]:
        return (60000, 3, 32) if self.name.startswith("CIFAR") else (70000, 1, 28)


class Folder(_Split, _Files):
    """Images in a directory or archive: train/<class>/* and test/<class>/*, or <class>/* alone."""

    source: Literal["folder"]
    path: Location = Field(
        description="directory, .tar, .tar.gz, .tar.bz2, .tar.xz or .zip, with or without this ending; in the folder"
        " that DISHARMONY_IMAGES names (.images without it) or relative to the project; ~ allowed",
    )
    test: Fraction = Field(
        0.2, gt=0, description="fraction that becomes the test set where the images have no train/ and test/"
    )


Dataset = Annotated[Digits | Torchvision | Folder, Field(discriminator="source")]
