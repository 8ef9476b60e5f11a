"""An image file of any kind as pixels: one way for data sets and for the pictures that a network shall classify."""

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.params.datasets import MOST_PIXELS
from pipeline.text import one_line

Pixels = NDArray[np.uint8]
"""One image: H×W where it is grey, H×W×3 where it has colour."""

Picture = Pixels | str
"""An image, or what is wrong with the file."""

Image.MAX_IMAGE_PIXELS = None
"""Pillow's own limit, under which `max_pixels` of a data set could not be raised."""

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "JPEG2000")
"""Not all that Pillow knows: some of its formats start other programs, and some take any bytes for an image."""


def decode(data: bytes, size: tuple[int, int] | None, grey: bool = False, most: int = MOST_PIXELS) -> Picture:
    """The pixels of an image file, upright, without transparency, 16 bits reduced to 8; or what is wrong with it.

    Args:
        data: content of the file.
        size: width and height to which it is brought, antialiased; None keeps its own.
        grey: whether colours become grey (ITU-R 601 luma); otherwise they stay, and grey stays grey.
        most: pixels of the file; more are not decoded.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if math.prod(image.size) > most:
                return (
                    f"{image.width:,}×{image.height:,} pixels; {most:,} at most are decoded (max_pixels of a data set)"
                )
            ImageOps.exif_transpose(image, in_place=True)
            plain = _plain(image)
            plain = plain.convert("L") if grey else plain
            return np.asarray(plain.resize(size, Image.Resampling.BILINEAR) if size else plain)
    except UnidentifiedImageError:
        return "corrupt or no image"
    except Exception as error:  # Pillow's readers raise whatever their parsers meet in broken bytes
        return f"corrupt or no image ({one_line(error) or type(error).__name__})"


def _plain(image: Image.Image) -> Image.Image:
    """The image in mode L or RGB."""
    if image.mode.startswith("I"):  # 16 bits; Pillow's own conversion would clip them
        return Image.fromarray((np.asarray(image).clip(0, 2**16 - 1) >> 8).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point pixels; 8 or 16 bits are right")
    return image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")


def channels_first(picture: Pixels) -> Pixels:
    """C×H×W, with C=1 for a grey image."""
    return picture[None] if picture.ndim == 2 else picture.transpose(2, 0, 1)


@contextmanager
def hushed() -> Iterator[None]:
    """Pillow's remarks on odd metadata are not shown; what it cannot decode is an error. For the main thread."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield
